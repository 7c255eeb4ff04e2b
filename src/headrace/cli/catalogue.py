"""The list of all commands. A command's module is imported only when the command is called."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from headrace.cli.empty_arguments import refuse_empty
from headrace.errors import UsageError, meant

COMMANDS = {
    "init": "Make a small project that you can run at once.",
    "run": "Run a pipeline.",
    "plan": "Say what a run would do, and why, without running anything.",
    "show": "Show a run: its tasks, their states, times and reasons.",
    "runs": "List the runs, newest first.",
    "compare": "Compare runs: parameters, code, inputs, metrics.",
    "card": "Make a model's card: what it is, how good it is, how it was made.",
    "register": "Register an artifact as a version of a model or dataset.",
    "alias": "Point an alias at a version of a model or dataset.",
    "models": "List the models by name, or the versions of one.",
    "datasets": "List the datasets by name, or the versions of one.",
    "cursors": "List the cursors: how far each source was read, and by which run.",
    "rewind": "Set a cursor back: the next run goes on from there.",
    "explain": "Say why a task ran or was reused, and what has changed.",
    "logs": "Print what a run's tasks printed.",
    "resume": "Go on with a run that stopped, failed or was cancelled.",
    "cancel": "End a run.",
    "approve": "Approve tasks that wait for an approval, and go on with their run.",
    "reject": "Reject tasks that wait for an approval.",
    "stop": "Ask a task to end early and return what it has by then.",
    "notices": "List the notices to people about runs, or send those that wait.",
    "debug": "Call a task's stage in this process, with the inputs that it had.",
    "get": "Write an artifact to a file.",
    "predict": "Ask a registered model about the rows of a file.",
    "serve": "Answer requests for the project's endpoints.",
    "endpoints": "List the endpoints, and where their requests go.",
    "promote": "Make a version of a model the main one of its endpoint.",
    "route": "Send a share of an endpoint's requests to another version.",
    "rollback": "Send an endpoint's requests to its previous version again.",
    "retire": "End a variant of an endpoint, or the endpoint.",
    "tokens": "List, make and revoke the tokens that clients of endpoints need.",
    "predictions": "List what endpoints have answered.",
    "labels": "List the labels of an endpoint's predictions, by source.",
    "withdraw": "Withdraw the labels that a source has sent to an endpoint.",
    "erase": "Erase a person from an endpoint's log, and from tables.",
    "erasures": "List the erasures of persons, and what each has erased.",
    "contract": "Draft a contract for a table from its data.",
    "lineage": "Show what an output was made from, and what was made from it.",
    "gc": "Delete what no run needs any more.",
    "fsck": "Check the ledger and the store for missing and damaged data.",
    "replay": "Check that a run's rows agree with its events.",
    "backup": "Copy the record of runs, and their artifacts, to a safe place.",
    "restore": "Restore a backup.",
    "ledger": "Export, import or migrate the project's record of runs.",
    "doctor": "Check this machine, the project and its state.",
}
"""Each command's name, and the first line of the command's help. The command itself is the function `command` of the
module that `module` names, and the function's docstring is the rest of the help."""
ABOUT_ENDPOINTS = (
    "endpoints", "erase", "erasures", "labels", "predictions", "promote", "retire", "rollback", "route", "serve",
    "tokens", "withdraw",
)  # fmt: skip
"""The commands whose modules are in the package `headrace.cli.commands.endpoints`."""

COMPLETE = "_HEADRACE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


class Catalogue(click.Group):
    """The group of all commands. It imports only the command that is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = meant(name, COMMANDS)
        hint = near.replace("`", "`headrace ", 1) if near else "`headrace --help` lists the commands"
        raise UsageError(f"there is no command `{name}`", hint=hint)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names or click.Command.shell_complete(self, ctx, incomplete)


def module(name: str) -> str:
    """Return the name of a command's module."""
    return f"headrace.cli.commands.{'endpoints.' * (name in ABOUT_ENDPOINTS)}{name}"


def command(name: str) -> click.Command:
    """Import and return the command of this name. The command's help begins with its line in `COMMANDS`."""
    imported: click.Command = importlib.import_module(module(name)).command
    if imported.name != name:
        imported.name = name
        imported.help = f"{COMMANDS[name]}\n\n{inspect.cleandoc(imported.help or '')}".rstrip()
        refuse_empty(imported)
    return imported


def _completion(context: click.Context, _parameter: click.Parameter, shell: str | None) -> None:
    if shell is not None:
        complete = get_completion_class(shell)
        assert complete is not None
        click.echo(complete(group, {}, "headrace", COMPLETE).source())
        context.exit()


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    # click's own option looks translations up at each start of each command, which takes 1 ms
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  5 ms, for this option only

        click.echo(f"headrace {version('headrace')}")
        context.exit()


@click.group("headrace", cls=Catalogue, no_args_is_help=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.option(
    "--completion",
    type=click.Choice(SHELLS),
    is_eager=True,
    expose_value=False,
    callback=_completion,
    help='Print the completion script for a shell. To try it: `eval "$(headrace --completion bash)"`.',
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A TOML file whose settings take precedence over `headrace.toml`. May also be given after the command.",
)
def group(config: Path | None) -> None:
    """Run the life of an ML model as one typed Python pipeline, and know why everything ran."""
