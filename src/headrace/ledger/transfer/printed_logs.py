"""What attempts printed, in an archive: beside the rows of a run, for whoever wants to read it where it is imported.

It is no part of the run: where some of it can't be had, the rest is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

import msgspec

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.records import RunRecord, runs
from headrace.ledger.transfer.archive import LOGS, RUNS, Archive, Record, Writer
from headrace.run.events import Failed, Span, Succeeded, decode_event
from headrace.store.store import Logs

Read = Callable[[str, Span], Iterator[bytes]]
"""Gives what an attempt of a run printed."""


def write_printed(db: Database, writer: Writer, read: Read) -> None:
    """Write what the attempts of all runs have printed, each run's in a part of its own."""
    for run in runs(db):
        writer.rows(f"{LOGS}{run.number:010}.rows", _records(db, run, read))


def _records(db: Database, run: RunRecord, read: Read) -> Iterator[Record]:
    for _, body in scan.events(db, run.number):
        try:
            event = decode_event(body)
        except msgspec.MsgspecError:
            continue
        if isinstance(event, Succeeded | Failed) and event.log is not None:
            for piece in read(run.id, event.log):
                yield "log", [run.id, event.log.log, event.log.start, piece]


def bring_printed(archive: Archive, part: str, logs: Logs) -> None:
    """Keep what the attempts of a run printed; `part` is that of its rows."""
    name = f"{LOGS}{part.removeprefix(RUNS)}"
    if archive.has(name):
        for (run, log, start), records in groupby((row for _, row in archive.rows(name)), key=itemgetter(0, 1, 2)):
            logs.keep(run, log, start, (piece for *_, piece in records))
