"""Options and arguments that several commands take, and the functions that read their values."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from headrace.cli import complete
from headrace.cli.empty_arguments import empty
from headrace.cli.terminal.terminal import tell
from headrace.errors import UsageError
from headrace.project.project import Project
from headrace.spec.duration import seconds
from headrace.spec.policy import OURS, Policy

Function = TypeVar("Function", bound=Callable[..., Any])
MOST = (1 << 31) - 1
"""The highest count that an option accepts. No ledger has more rows."""
COUNT = click.IntRange(1, MOST)


class _File(click.Path):
    """The click type of a path. It refuses an empty value, which Python would take for the current folder, and `-`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" and param is not None:
            raise empty(param)
        if value == "-":
            raise UsageError("`-` is not a file", hint="give a path: stdin and stdout can't be used here")
        return super().convert(value, param, ctx)


FILE = _File(path_type=Path)
PARAMETERS = {"ignore_unknown_options": True}
"""The context settings of a command that takes a pipeline's parameters as options."""


def forced(function: Function) -> Function:
    """Add the options `--force` and `--why` to a command, and pass `why` and `forced` to it.

    `why` is the text of `--why`, or None. `forced` is the same text if `--force` is given, else None. `--force` needs
    `--why`.
    """

    @functools.wraps(function)
    def call(*args: Any, force: bool, why: str | None, **kwargs: Any) -> Any:
        if (force or why is not None) and not (why and why.strip()):
            what = "`--force` needs a reason" if why is None else "`--why` is empty"
            raise UsageError(what, hint=f'say why: `{"--force " if force else ""}--why "..."`')
        return function(*args, why=why, forced=why if force else None, **kwargs)

    for option in (
        click.option("--why", metavar="TEXT", help="The reason; it is recorded with each move."),
        click.option("--force", is_flag=True, help="Do what would be refused otherwise; needs `--why`."),
    ):
        call = option(call)
    return call  # type: ignore[return-value]


why = click.option("--why", metavar="TEXT", help="The reason; it is recorded.")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, errors included.")


def _config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """Return the `--config` that is given after the command's name. If there is none, return the one that is given
    before that name, or before the name of a subcommand. If there is none at all, return None."""
    above = context.parent
    while value is None and above is not None:
        value, above = above.params.get("config"), above.parent
    return value


config = click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    callback=_config,
    help="A TOML file whose settings take precedence over `headrace.toml`.",
)
run_id = click.argument("run_id", metavar="RUN", shell_complete=complete.runs)
task = click.argument("task", metavar="TASK", shell_complete=complete.tasks)
asking_task = click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
reason = click.option("--why", metavar="TEXT", required=True, help="The reason; it is recorded.")
later = click.option("--later", is_flag=True, help="Only record the decision: the run's next driver obeys it.")
pool = click.option(
    "--pool",
    metavar="NAMES",
    shell_complete=complete.pools,
    help="Run attempts in this pool of `headrace.toml`, or in several pools, the best first: `--pool laptop,gpu`.",
)

_WORDS = f"{__name__}.words"

_PIPELINE = (
    click.argument(
        "words",
        nargs=-1,
        type=click.UNPROCESSED,
        metavar="NAME [--PARAMETER VALUE]...",
        shell_complete=complete.pipelines,
    ),
    click.option(
        "--param",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the pipeline. Only needed if the parameter has the same name as one of these options.",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="STAGE",
        help="Run only this stage and the stages that it needs; may be given again.",
    ),
    click.option(
        "--force",
        multiple=True,
        metavar="STAGE",
        help="Run this stage even if its results could be reused; may be given again.",
    ),
    click.option("--timeout", metavar="TIME", help="End the run after this time, such as `90s` or `6h`."),
    pool,
)


class PipelineCommand(click.Command):
    """A command whose arguments name a pipeline. Besides its own options, it takes the pipeline's parameters as
    options."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = complete.parameters(ctx.params.get("words") or ()) if incomplete.startswith("--") else []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)] + super().shell_complete(
            ctx, incomplete
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Keep a copy of them for `--help`, because click handles `--help` before it has parsed
        all arguments.

        Raises:
            UsageError: an argument is wrong, and a parameter of the pipeline has the same name as an option that was
                given. The hint says how to give the parameter. For other wrong arguments, click's own error is raised.
        """
        ctx.meta[_WORDS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if (hint := _is_ours(ctx)) is None:
                raise
            raise UsageError(error.format_message(), hint=hint) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Add the docstring and the parameters of the named pipeline to the help. They are read from the pipeline's
        file without importing it."""
        super().format_epilog(ctx, formatter)
        words = [word for word in ctx.meta.get(_WORDS, ()) if word != "--help"]
        found = complete.named_pipelines(words)
        if not found and words and not words[0].startswith("-"):
            with formatter.section(f"Pipeline {words[0]}"):
                formatter.write_text("No file defines it by that name, so what it takes can't be listed.")
        for pipeline in found:
            with formatter.section(f"Pipeline {pipeline.name}"):
                formatter.write_text(pipeline.doc or "It has no docstring.")
                named = [
                    f"--param {name}=..." if name in OURS else f"--{name.replace('_', '-')}"
                    for name in pipeline.parameters
                ]
                if named:
                    formatter.write_dl(list(zip(named, pipeline.about, strict=True)))
                else:
                    formatter.write_text("It takes no parameters.")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If the user may have mixed up options and the pipeline's parameters, give a hint.

        A parameter that the pipeline doesn't have may be a misspelt option of the command. An option may have been
        meant as a parameter of the same name.
        """
        if any(ctx.params.get(name) for name in ("only", "force", "timeout", "pool")) and (hint := _is_ours(ctx)):
            tell(hint, label="note:")
        try:
            return super().invoke(ctx)
        except UsageError as error:
            error.hint = _is_ours(ctx) or error.hint
            ours = [name for parameter in self.params for name in parameter.opts if name.startswith("--")]
            for word in ctx.params["words"]:
                name = word.partition("=")[0]
                near = difflib.get_close_matches(name, ours, 1, 0.7)
                if near and f"no parameter `{name.lstrip('-').replace('-', '_')}`" in error.message:
                    error.hint = f"did you mean `{near[0]}`?"
            raise


def _is_ours(ctx: click.Context) -> str | None:
    """Return a hint on how to give a parameter of the pipeline, if an option of the same name was given. Else return
    None."""
    words = ctx.meta[_WORDS]
    options = {word[2:].partition("=")[0] for word in words if word.startswith("--")} & OURS
    options -= {word.partition("=")[0] for before, word in pairwise(words) if before == "--param"}
    pipelines = complete.named_pipelines(words) if options else []
    parameters = {name for pipeline in pipelines for name in pipeline.parameters}
    for name in sorted(options & parameters):
        return f"`--{name}` is an option of the command; the pipeline's parameter is given as `--param {name}=...`"
    return None


def pipeline(function: Function) -> Function:
    """Add to a command the arguments and options that name a pipeline, its parameters, and the policy of the run."""
    for option in reversed(_PIPELINE):
        function = option(function)
    return function


def time_limit(timeout: str) -> float:
    """Return the value of `--timeout` in seconds.

    Raises:
        UsageError: the value isn't a time above 0.
    """
    limit = seconds(timeout, name="--timeout")
    if limit <= 0:
        raise UsageError(f"`--timeout` is {timeout!r}", hint="give a time above 0")
    return limit


def policy(
    project: Project, only: Sequence[str], force: Sequence[str], timeout: str | None, pool: str | None
) -> Policy:
    """Return the policy of a run. It has the options that were given and, for the others, the project's settings."""
    limit = project.timeout_s
    if timeout is not None:
        limit = time_limit(timeout)
    if pool is not None:
        project.run_pools(pool)  # this raises if there is no such pool
    own = project.config.run.approve_own
    return Policy(only=tuple(only), force=tuple(force), timeout_s=limit, pool=pool, approve_own=own)
