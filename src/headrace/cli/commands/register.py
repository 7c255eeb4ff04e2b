"""`headrace register`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.errors import UsageError
from headrace.operate.versions import register
from headrace.project import project


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST|NAMED", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("--model", metavar="NAME", shell_complete=complete.models, help="Register it as a model of this name.")
@click.option("--dataset", metavar="NAME", shell_complete=complete.datasets, help="Register it as a dataset.")
@click.option("--note", metavar="TEXT", default="", help="A word on this version.")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Point this alias at it; may be given again.")
@click.option("--preparation", metavar="TASK[.PART]", help="What prepares rows for it, where it was made from several.")
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
    forced: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Registers the output of a run's TASK (or TASK.PART of several outputs; without a part, a model is the field
    `model`), the model of a run without TASK, the artifact with a digest, or another version. It becomes the next
    version of that name, and its address is printed. A registered artifact keeps its number. `headrace gc` keeps
    the run that made it. If a model was made from one preparation of `prepare.clean`, that is registered with it.

    If a report on it says no or can't be read, no alias is pointed at it, unless `--force --why "..."` says why.
    The reason is recorded. The same goes for things that can't be a model (a table, a report) or a dataset (a
    model, a report).
    """
    if (model is None) == (dataset is None):
        raise UsageError("say what it is", hint="give one of `--model NAME` and `--dataset NAME`")
    found = project.load(overlay=config)
    version = register(
        found,
        (run_id, task),
        "dataset" if model is None else "model",
        model or dataset or "",
        note=note,
        aliases=aliases,
        preparation=preparation,
        forced=forced,
    )
    if as_json:
        say_json(version)
        return 0
    say(f"{version.kind}:{version.name}:{version.version}")
    if version.passed is False:
        tell(f"its report says {version.verdict}", label="note:")
    return 0
