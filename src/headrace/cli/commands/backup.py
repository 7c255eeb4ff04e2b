"""`headrace backup`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.missing_artifacts import code_of, tell_lacking
from headrace.cli.terminal.status_line import progress
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.inspect.views import read
from headrace.project import project
from headrace.report.measures import bytes_text, count_text


@click.command()
@click.argument("place", required=False, metavar="[FOLDER_OR_URL]")
@click.option("--keep", type=options.COUNT, metavar="N", help="Keep only the newest N snapshots; delete the others.")
@click.option("--deep", is_flag=True, help="Also read the blobs of earlier backups, and copy damaged blobs again.")
@options.as_json
@options.config
def command(place: str | None, keep: int | None, deep: bool, as_json: bool, config: Path | None) -> int:
    """Writes a snapshot of the ledger and its artifacts to FOLDER_OR_URL, by default `[backup] url` of headrace.toml.
    Use that place for the backups of this project only. Artifacts that are there already are not copied again.

    Runs may go on during a backup: the snapshot has everything that was stored at one moment. It doesn't have
    predictions that are still in the log on the host that answered. The command says how many of them there are on this
    host. The exit code is 5 if artifacts were missing; the backup has everything else.
    """
    from headrace.inspect.endpoints.predictions import logs  # noqa: PLC0415  as below
    from headrace.operate.upkeep.backup import back_up  # noqa: PLC0415  SQLAlchemy's tables, 0.2 s

    found = project.load(overlay=config)
    with progress(as_json=as_json) as show:
        result = back_up(found, place, keep=keep, deep=deep, progress=show)
    with read(found) as views:
        unsealed = sum(each.unsealed for each in logs(found, views))
    if unsealed:
        tell(
            f"not in this backup: {count_text(unsealed, 'prediction')} in the log on this host, not sealed yet;"
            " `headrace serve` seals what is older than a minute"
        )
    if as_json:
        say_json(result)
        return code_of(result.snapshot.lacking)
    made = result.snapshot
    say(f"{made.name}: {count_text(made.runs, 'run')} and {count_text(made.blobs, 'blob')} ({bytes_text(made.bytes)})")
    say(f"    copied {count_text(result.copied, 'blob')} ({bytes_text(result.copied_bytes)})", "dim")
    if result.erased:
        say(f"    wrote {count_text(result.erased, 'older snapshot')} again, without persons who were erased", "dim")
    if result.forgotten:
        gone = f"{count_text(len(result.forgotten), 'older snapshot')} and {count_text(result.deleted, 'blob')}"
        say(f"    deleted {gone}", "dim")
    tell_lacking(made.lacking, "none of the stores in the settings has them undamaged")
    return code_of(made.lacking)
