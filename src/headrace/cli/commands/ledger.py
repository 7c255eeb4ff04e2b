"""`headrace ledger`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.missing_artifacts import code_of, tell_forgotten, tell_lacking
from headrace.cli.terminal.status_line import progress
from headrace.cli.terminal.terminal import say, say_json
from headrace.project import project
from headrace.report.measures import bytes_text, count_text, known_text


@click.group()
def command() -> None:
    """To move the ledger to another machine, or between SQLite and PostgreSQL, export it here and import the file
    there."""


@command.command("export")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option(
    "--no-blobs", is_flag=True, help="Leave out the artifacts: the file is for a ledger that uses the same store."
)
@options.as_json
@options.config
def export_command(file: Path, no_blobs: bool, as_json: bool, config: Path | None) -> int:
    """Write all runs (with their events, tasks, results, artifacts and printed output), all cursors, and all versions
    of models and datasets into FILE.

    Runs may go on meanwhile: the file holds what was stored at one moment. A run that was active at that moment can be
    resumed where the file is imported. The printed output of an attempt that died or still runs is included only if its
    worker ran on this machine. The exit code is 5 if artifacts were missing; the file holds everything else.
    """
    from headrace.operate.upkeep.transfer import export_ledger  # noqa: PLC0415  SQLAlchemy's tables, for these two only

    with progress(as_json=as_json) as show:
        exported = export_ledger(project.load(overlay=config), file, blobs=not no_blobs, progress=show)
    if as_json:
        say_json(exported)
        return code_of(exported.lacking)
    size = bytes_text(exported.bytes)
    say(f"{count_text(exported.runs, 'run')} and {count_text(exported.blobs, 'blob')} ({size}) in {file}")
    tell_lacking(exported.lacking, "no store has them undamaged")
    return code_of(exported.lacking)


@command.command("import")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option("--no-blobs", is_flag=True, help="Leave out the artifacts, even if the file has them.")
@options.as_json
@options.config
def import_command(file: Path, no_blobs: bool, as_json: bool, config: Path | None) -> int:
    """Import a FILE of `headrace ledger export` into the project's ledger and store.

    Runs and artifacts that the project has already are skipped, so the import can be repeated. If the project has one
    of the runs, but with other events than in the file, nothing is written. The exit code is 5 if artifacts are neither
    in the file nor in the store; everything else is imported.
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
    tell_forgotten((each.endpoint, each.predictions, each.labels) for each in found.forgotten)
    tell_lacking(found.lacking, "neither the file nor the store has them")
    return code_of(found.lacking)


@command.command("migrate")
@options.as_json
@options.config
def migrate_command(as_json: bool, config: Path | None) -> int:
    """Migrate the tables of an older ledger to those of this Headrace, in one transaction.

    A ledger in a file is migrated by the first command that opens it. A ledger on a server is migrated only by this
    command. The reason is that others may still use the ledger with an older Headrace, which can't read a ledger that
    was migrated.
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
