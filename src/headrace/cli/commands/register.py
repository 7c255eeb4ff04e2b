"""`headrace register`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import tell
from headrace.cli.terminal.versions import say_version
from headrace.errors import UsageError
from headrace.operate.register import register
from headrace.project import project


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST|NAMED", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option(
    "--model", metavar="NAME", shell_complete=complete.models, help="Register the artifact as a model of this name."
)
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=complete.datasets,
    help="Register the artifact as a dataset of this name.",
)
@click.option("--note", metavar="TEXT", default="", help="A note on this version.")
@click.option(
    "--alias", "aliases", multiple=True, metavar="NAME", help="Point this alias at the new version; may be given again."
)
@click.option(
    "--preparation",
    metavar="TASK[.PART]",
    help="The preparation to register with the model, if the model was made with several preparations.",
)
@options.forced
@options.as_json
@options.config
def command(
    run_id: str,
    task: str | None,
    model: str | None,
    dataset: str | None,
    note: str,
    aliases: tuple[str, ...],
    preparation: str | None,
    why: str | None,
    forced: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Makes an artifact the next version of a name, and prints the version's address. If the artifact is registered
    under that name already, its version keeps its number. `headrace gc` keeps the run that made the artifact. If a
    model was made with exactly one preparation of `prepare.clean`, this preparation is registered with the model.

    There are four ways to name the artifact. RUN and TASK mean the output of a run's task; add a part, `TASK.PART`, for
    one of several outputs (for a model, the default is the part `model`). RUN alone means the run's model. DIGEST is
    the artifact's digest or the beginning of it. NAMED is the address of another version, such as `model:NAME:3`.

    If the alias `production` is given and the model has an endpoint, the endpoint's requests go to this version, as
    after `headrace promote`. If this version takes other columns than the version that was `production` before, the
    command warns: clients may still send the columns of the earlier version.

    If `--alias` is given, and a report on the artifact has not passed its gates or can't be read, the command refuses,
    and nothing is registered. With `--force --why "..."`, it registers the artifact and points the aliases at the
    version anyway. Without `--force`, `--why` only says why the aliases move. The reason is recorded in both cases.
    `--force` is also needed to register a table or a report as a model, or a model or a report as a dataset.
    """
    if (model is None) == (dataset is None):
        what = "`--model` and `--dataset` are both given" if model else "`--model` or `--dataset` is needed"
        raise UsageError(what, hint="give one of `--model NAME` and `--dataset NAME`")
    if why is not None and not aliases and forced is None:
        raise UsageError("`--why` says why an alias moves, and no alias is given", hint="add `--alias NAME`")
    found = project.load(overlay=config)
    version = register(
        found,
        (run_id, task),
        "dataset" if model is None else "model",
        model or dataset or "",
        note=note,
        aliases=aliases,
        preparation=preparation,
        why=why,
        forced=forced,
    )
    say_version(version, as_json=as_json)
    if version.passed is False and not as_json:
        tell(f"the version's report says {version.verdict}", label="note:")
    return 0
