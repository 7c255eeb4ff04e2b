"""Writes the printed output of attempts to an archive, in addition to the runs' rows, so that the output can be read
where the archive is imported.

Printed output is not part of a run's record: if some output is missing, the rest is still archived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.records import RunRecord
from headrace.ledger.transfer.archive import LOGS, RUNS, Archive, Record, Writer
from headrace.run.events import Failed, Span, Succeeded, stored_event
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Logs

Read = Callable[[str, Span], Iterator[bytes]]
"""A function that yields what an attempt printed. Its arguments are the run's id and the place of the output in the
run's logs."""

Sizes = Callable[[str], Mapping[str, int]]
"""A function that takes a run's id, and returns the size in bytes of each of the run's worker logs on this machine, by
the log's name."""


def write_printed(db: Database, writer: Writer, written: Iterable[RunRecord], read: Read, sizes: Sizes) -> None:
    """Write the printed output of these runs' attempts, in one part for each run."""
    for run in written:
        writer.rows(f"{LOGS}{run.number:010}.rows", _records(db, run, read, sizes))


def _records(db: Database, run: RunRecord, read: Read, sizes: Sizes) -> Iterator[Record]:
    """Yield the contents of a run's worker logs, log by log, each in order from its beginning.

    An attempt that has ended has reported which part of which log has its output. The contents of these parts are
    yielded, and also the rest of each log, which comes from attempts that died or still run.
    """
    here = sizes(run.id)
    told: dict[str, set[tuple[int, int]]] = {log: set() for log in here}
    for _, body in scan.events(db, run.number):
        try:
            event = stored_event(body)
        except UNREADABLE:
            continue
        if isinstance(event, Succeeded | Failed) and event.log is not None:
            told.setdefault(event.log.log, set()).add((event.log.start, event.log.end))
    for log, spans in told.items():
        for start, end in _whole(sorted(spans), here.get(log, 0)):
            for piece in read(run.id, Span(log, start, end)):
                yield "log", [run.id, log, start, piece]


def _whole(spans: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield the given spans of a log, and the gaps before, between and after them, up to the log's size."""
    at = 0
    for start, end in spans:
        if at < start <= size:
            yield at, start
        yield start, end
        at = max(at, end)
    if at < size:
        yield at, size


def bring_printed(archive: Archive, part: str, places: Sequence[Logs]) -> None:
    """Store the printed output of one run, whose rows are in `part`. The first of `places` gets all output that the
    archive has. The archive may lack some bytes of a log: the other places get the log only up to the first gap."""
    name = f"{LOGS}{part.removeprefix(RUNS)}"
    if not archive.has(name):
        return
    first, *others = places
    whole: dict[str, int] = {}
    for (run, log, start), records in groupby((row for _, row in archive.rows(name)), key=itemgetter(0, 1, 2)):
        at = start
        for *_, piece in records:
            first.keep(run, log, at, [piece])
            if others and at <= whole.get(log, 0):
                for each in others:
                    each.keep(run, log, at, [piece])
                whole[log] = max(whole.get(log, 0), at + len(piece))
            at += len(piece)
