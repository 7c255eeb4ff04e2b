"""What attempts printed, in an archive: beside the rows of a run, for whoever wants to read it where it is imported.

It is no part of the run: where some of it can't be had, the rest is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.records import RunRecord
from headrace.ledger.transfer.archive import LOGS, RUNS, Archive, Record, Writer
from headrace.run.events import Failed, Span, Succeeded, decode_event
from headrace.store.store import Logs

Read = Callable[[str, Span], Iterator[bytes]]
"""Gives what an attempt of a run printed."""

Sizes = Callable[[str], Mapping[str, int]]
"""Gives the sizes of those logs of a run's workers that are on this machine."""


def write_printed(db: Database, writer: Writer, written: Iterable[RunRecord], read: Read, sizes: Sizes) -> None:
    """Write what the attempts of these runs have printed, each run's in a part of its own."""
    for run in written:
        writer.rows(f"{LOGS}{run.number:010}.rows", _records(db, run, read, sizes))


def _records(db: Database, run: RunRecord, read: Read, sizes: Sizes) -> Iterator[Record]:
    """Go over what is in the logs of a run's workers, log by log, each from its beginning on: the output of attempts
    that told where theirs is, and what else is there, of attempts that died or still run."""
    here = sizes(run.id)
    told: dict[str, set[tuple[int, int]]] = {log: set() for log in here}
    for _, body in scan.events(db, run.number):
        try:
            event = decode_event(body)
        except msgspec.MsgspecError:
            continue
        if isinstance(event, Succeeded | Failed) and event.log is not None:
            told.setdefault(event.log.log, set()).add((event.log.start, event.log.end))
    for log, spans in told.items():
        for start, end in _whole(sorted(spans), here.get(log, 0)):
            for piece in read(run.id, Span(log, start, end)):
                yield "log", [run.id, log, start, piece]


def _whole(spans: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Go over these parts of a log of this size, and over what is before, between and behind them."""
    at = 0
    for start, end in spans:
        if at < start <= size:
            yield at, start
        yield start, end
        at = max(at, end)
    if at < size:
        yield at, size


def bring_printed(archive: Archive, part: str, places: Sequence[Logs]) -> None:
    """Keep what the attempts of a run printed; `part` is that of its rows. In the first of the places is all of it.
    The others have of each log what came from its beginning on, without a gap."""
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
