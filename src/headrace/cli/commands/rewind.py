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
@click.option(
    "--to", metavar="VALUE", help="The new value, of the type of the cursor's values: a text, a number, a day."
)
@click.option(
    "--to-version",
    type=click.IntRange(0, options.MOST),
    metavar="N",
    help="Set the cursor to the value of this version; 0 means no value.",
)
@click.option("--dry-run", is_flag=True, help="Print the value that the cursor would get, and change nothing.")
@options.as_json
@options.config
def command(
    name: str, to: str | None, to_version: int | None, dry_run: bool, as_json: bool, config: Path | None
) -> int:
    """Sets cursor NAME to VALUE (`--to`), or to the value that it had in version N (`--to-version`). With neither
    option, the cursor has no value any more. The next run that reads the cursor goes on from there; without a value it
    starts at the beginning.

    The command adds a version and deletes none. `headrace cursors NAME` lists the new version with your name, and
    another rewind can undo it. If an active run has read the previous version, that run leaves the cursor as you set
    it, and says so. If a run sets the cursor while this command runs, this command changes nothing. With `--json`: the
    versions `before` and `after`.
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
