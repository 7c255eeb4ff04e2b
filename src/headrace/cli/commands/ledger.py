"""`headrace ledger`: the record of runs as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.missing_artifacts import code_of, tell_lacking
from headrace.cli.terminal.status_line import progress
from headrace.cli.terminal.terminal import say, say_json
from headrace.project import project
from headrace.report.measures import bytes_text, count_text, known_text


@click.group()
def command() -> None:
    """It moves between machines, and from SQLite to PostgreSQL and back: export it here, and import the file there."""


@command.command("export")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option("--no-blobs", is_flag=True, help="Leave the artifacts out: the ledger there has this store.")
@options.as_json
@options.config
def export_command(file: Path, no_blobs: bool, as_json: bool, config: Path | None) -> int:
    """Write all runs, with their events, tasks, results, artifacts and what they printed, all cursors, and all versions
    of models and datasets into FILE.

    Runs may go on meanwhile: the file holds what was stored at one moment, and a run that lived then can be resumed
    where it is imported. What an attempt printed that died or still runs is in it if its worker ran on this machine.
    The exit code is 5 if artifacts were lacking: the file holds all else.
    """
    from headrace.operate.upkeep.transfer import export_ledger  # noqa: PLC0415  SQLAlchemy's tables, for these two only

    with progress(as_json=as_json) as show:
        found = export_ledger(project.load(overlay=config), file, blobs=not no_blobs, progress=show)
    if as_json:
        say_json(found)
        return code_of(found.lacking)
    say(f"{count_text(found.runs, 'run')} and {count_text(found.blobs, 'blob')} ({bytes_text(found.bytes)}) in {file}")
    tell_lacking(found.lacking, "no store has them whole")
    return code_of(found.lacking)


@command.command("import")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option("--no-blobs", is_flag=True, help="Leave the artifacts out, though the file may have them.")
@options.as_json
@options.config
def import_command(file: Path, no_blobs: bool, as_json: bool, config: Path | None) -> int:
    """Bring what `headrace ledger export` has written into the project's ledger and store.

    What is there already is passed over, so that it can be repeated. Where a run is there already with other events,
    nothing is written. The exit code is 5 if artifacts are in neither place: all else is imported.
    """
    from headrace.operate.upkeep.transfer import import_ledger  # noqa: PLC0415  as above

    with progress(as_json=as_json) as show:
        found = import_ledger(project.load(overlay=config), file, blobs=not no_blobs, progress=show)
    if as_json:
        say_json(found)
        return code_of(found.lacking)
    known = f", {known_text(found.known, 'run')}" if found.known else ""
    come = f"{count_text(found.runs, 'run')}, {count_text(found.results, 'result')} to reuse"
    say(f"imported {come} and {count_text(found.blobs, 'blob')} ({bytes_text(found.bytes)}){known}")
    tell_lacking(found.lacking, "neither the file nor the store has them")
    return code_of(found.lacking)


@command.command("migrate")
@options.as_json
@options.config
def migrate_command(as_json: bool, config: Path | None) -> int:
    """Bring the tables of an older ledger to this version, in one transaction.

    A ledger in a file is brought up to date by whatever opens it first. One on a server isn't, since others may use it
    with an older Headrace still, which can't read it any more afterwards.
    """
    from headrace.operate.upkeep.transfer import migrate_ledger  # noqa: PLC0415  as above

    found = migrate_ledger(project.load(overlay=config))
    if as_json:
        say_json(found)
    elif found.before == found.after:
        say(f"{found.ledger} is up to date (version {found.after})")
    else:
        say(f"{found.ledger} is now of version {found.after}; it was of {found.before}")
    return 0
