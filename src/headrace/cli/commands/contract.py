"""`headrace contract`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say, say_file
from headrace.errors import UsageError
from headrace.inspect.get.output_file import form_of, written
from headrace.project import project


@click.group()
def command() -> None:
    """A contract is a list of rules for a table's columns and rows. `ingest.check` checks tables against it."""


@command.command("draft")
@click.argument("source", metavar="RUN|FILE", shell_complete=complete.runs)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option(
    "--to", type=options.FILE, metavar="FILE", help="Write the contract to this file, which must not exist yet."
)
@options.config
def draft_command(source: str, task: str | None, to: Path | None, config: Path | None) -> int:
    """Write a contract that fits a table: types, nulls, ranges with some slack, the allowed values of columns with few
    values, patterns of texts, and columns that identify rows.

    The table is the output of a run's TASK (`TASK.PART` for one of several outputs), or a file: Arrow, Parquet, CSV or
    JSON Lines. Read the contract before you use it: it says what is true of this table, and that may not be what is
    right.
    """
    from headrace.operate.contract_draft import draft_from_file, draft_from_task  # noqa: PLC0415  for this command only

    form_of(to, (".toml",), "a contract")
    if to is not None and to.exists():
        raise UsageError(f"`{to}` is there already", hint="give another file, or move that one away")
    if task is not None:
        text = draft_from_task(project.load(overlay=config), source, task)
    elif Path(source).is_file():
        text = draft_from_file(Path(source))
    else:
        what = f"`{source}` is not a file" if Path(source).exists() else f"there is no file `{source}`"
        raise UsageError(what, hint="give a file, or a run and a task: `latest ingest`")
    if to is None:
        say(text.rstrip("\n"))
        return 0
    with written(to, "contract.toml") as (to, aside):
        aside.write_text(text, encoding="utf-8")
    say_file(to)
    return 0
