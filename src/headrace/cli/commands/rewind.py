"""`headrace rewind`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.cursors import value_text
from headrace.cli.terminal.terminal import say, say_json
from headrace.errors import UsageError
from headrace.operate.cursors import rewind
from headrace.project import project


@click.command()
@click.argument("name", metavar="NAME", shell_complete=complete.cursors)
@click.option("--to", metavar="VALUE", help="The value that it gets: a text, a number, a day, as its values are.")
@click.option(
    "--to-version",
    type=click.IntRange(0, options.MOST),
    metavar="N",
    help="The version whose value it gets again; 0 has none.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would be, and leave it as it is.")
@options.as_json
@options.config
def command(
    name: str, to: str | None, to_version: int | None, dry_run: bool, as_json: bool, config: Path | None
) -> int:
    """The next run that reads cursor NAME goes on from there: from VALUE, from the value of version N, or, with
    neither, from the very beginning, without a value.

    This adds a version and deletes none. `headrace cursors NAME` lists it with your name, and you can undo it by
    another rewind. If an active run has read the version before, it leaves the cursor as you set it, and says so.
    If the run sets the cursor first, this command changes nothing. With `--json`: the versions `before` and
    `after`.
    """
    if to is not None and to_version is not None:
        raise UsageError("`--to` and `--to-version` are both given", hint="leave one of them out")
    found = rewind(project.load(overlay=config), name, to=to, version=to_version or 0, dry_run=dry_run)
    if as_json:
        say_json(found)
        return 0
    after = f"{value_text(found.after)} (version {found.after.version})"
    before = f"{value_text(found.before)} (version {found.before.version})"
    say(f"{name} would be: {after}; it is: {before}" if dry_run else f"{name}: {after}; it was: {before}")
    return 0
