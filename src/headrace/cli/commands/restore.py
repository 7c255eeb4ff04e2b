"""`headrace restore`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.missing_artifacts import code_of, tell_forgotten, tell_lacking
from headrace.cli.terminal.status_line import progress
from headrace.cli.terminal.table import table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.project import project
from headrace.report.measures import bytes_text, count_text, known_text


@click.command()
@click.argument("place", required=False, metavar="[FOLDER_OR_URL]")
@click.option(
    "--snapshot",
    "name",
    metavar="NAME",
    help="The snapshot to restore, by its name or the beginning of it; by default the newest.",
)
@click.option("--merge", is_flag=True, help="Add the snapshot's runs to those that the project has already.")
@click.option("--list", "only_list", is_flag=True, help="List the snapshots of the backup, and restore nothing.")
@options.as_json
@options.config
def command(
    place: str | None, name: str | None, merge: bool, only_list: bool, as_json: bool, config: Path | None
) -> int:
    """Copies the ledger and artifacts of a backup (`headrace backup`) into a project. Without `--merge`, the project
    must have no runs. Each artifact is checked against its digest as it arrives. The exit code is 5 if some artifacts
    were missing.
    """
    if only_list:
        return _list(place, config, as_json=as_json)
    from headrace.operate.upkeep.backup import restore  # noqa: PLC0415  SQLAlchemy's tables, 0.2 s

    with progress(as_json=as_json) as show:
        result = restore(project.load(overlay=config), place, name=name, merge=merge, progress=show)
    came = result.imported
    if as_json:
        say_json(result)
    else:
        known = f"; {known_text(came.known, 'run')}" if came.known else ""
        size = bytes_text(came.bytes)
        say(
            f"restored {count_text(came.runs, 'run')} and {count_text(came.blobs, 'blob')} ({size}) of"
            f" {result.snapshot.name}{known}"
        )
        tell_forgotten((each.endpoint, each.predictions, each.labels) for each in came.forgotten)
        tell_lacking(came.lacking, "the backup doesn't have them; after `headrace fsck --repair`, runs make them again")
    return code_of(came.lacking)


def _list(place: str | None, config: Path | None, *, as_json: bool) -> int:
    from headrace.operate.upkeep.backup import snapshots  # noqa: PLC0415  as above

    listed = snapshots(project.load(overlay=config), place)
    if as_json:
        say_json({"snapshots": listed})
    elif listed:
        rows = [
            (
                each.name,
                f"{datetime.fromtimestamp(each.made).astimezone():%Y-%m-%d %H:%M:%S}",
                str(each.runs),
                bytes_text(each.bytes),
            )
            for each in listed
        ]
        for line in table(["snapshot", "made", "runs", "blobs"], rows, numbers=(2, 3)):
            say_styled(line)
    else:
        tell("there is no backup yet")
    return 0
