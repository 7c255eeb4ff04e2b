"""Merges the tables of prediction logs: the parts of a day become slices of one table.

A server seals a part for each minute in which an endpoint answers. So the log of a year would be half a million small
blobs, and reading it would open each of them. The rows of the parts stay, with their numbers, and only name another
artifact. So cursors, which remember numbers, and servers, which ask whether a segment is sealed, notice nothing.

The parts of a day (in UTC) are merged when the day has been over for an hour. A merged table is written anew if some of
its rows were forgotten meanwhile, so that their bytes go too.

The new table is stored before a row names it. This is the last step of a pass of the collector, so the old tables stay
until the next pass: somebody may have found their names just before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import cast

from msgspec import Struct

from headrace.ledger import parts
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.records import PredictionPartRecord
from headrace.ledger.standing.tables import BY_TABLE
from headrace.ledger.upkeep.old_parts import LogRules
from headrace.spec.artifact import Ref, decode_ref, slice_of
from headrace.spec.noun import UNREADABLE

DAY_S = 86400
LATE_S = 3600
"""How many seconds after the end of a day its parts are merged. Servers that can't reach the ledger seal later."""
MOST_ROWS = 500_000
MOST_BYTES = 1 << 28
"""A merged table has at most so many rows and about so many bytes."""


class MergedLog(Struct, frozen=True, kw_only=True):
    """What was merged of an endpoint's log: `parts` parts with predictions or labels are in `tables` tables now."""

    endpoint: str
    parts: int
    tables: int


class Group(Struct, frozen=True, kw_only=True):
    """Parts of one log and one day that may become one table, with their tables."""

    rows: tuple[PredictionPartRecord, ...]
    outs: tuple[Ref, ...]


def merge(
    db: Database, lease: Lease, logs: LogRules, now: float, *, leaving: Container[bytes] = (), dry_run: bool
) -> tuple[MergedLog, ...]:
    """Merge what can be merged at the time `now`, and return what was merged. A dry run changes nothing. Parts whose
    encoded artifacts are in `leaving` don't count: they will be forgotten."""
    parts_, tables = Counter[str](), Counter[str]()
    for table in ("prediction_parts", "label_parts"):
        rows = cast("Iterator[PredictionPartRecord]", BY_TABLE[table].rows(db))
        for group in groups((row for row in rows if row.out not in leaving), now):
            for each in logs.merged(group.outs, lease.renew, dry_run=dry_run):
                chosen = [group.rows[place] for place in each.places]
                if dry_run or _point(db, lease, table, chosen, each.outs):
                    parts_[chosen[0].endpoint] += len(chosen)
                    tables[chosen[0].endpoint] += 1
    return tuple(MergedLog(endpoint=name, parts=parts_[name], tables=tables[name]) for name in sorted(parts_))


def groups(rows: Iterable[PredictionPartRecord], now: float) -> Iterator[Group]:
    """Yield the parts that may be merged at the time `now`. `rows` are parts in the order of endpoints and numbers."""
    for (_, day), its in groupby((row for row in rows if row.count), key=lambda row: (row.endpoint, row.last // DAY_S)):
        if (day + 1) * DAY_S + LATE_S <= now:
            yield from _of_a_day([(row, out) for row in its if (out := _table(row)) is not None])


def _of_a_day(parts_: Sequence[tuple[PredictionPartRecord, Ref]]) -> Iterator[Group]:
    """Yield the parts of a day in groups that aren't too large. A merged table stays if rows name all of it."""
    named = Counter[Ref]()
    for _, out in parts_:
        if (found := slice_of(out)) is not None:
            named[found[0]] += found[1].count
    loose = [(row, out) for row, out in parts_ if (it := slice_of(out)) is None or named[it[0]] != it[1].of]
    start = rows = size = 0
    for place, (row, out) in enumerate(loose):
        if rows + row.count > MOST_ROWS or size + _bytes(out) > MOST_BYTES:
            yield from _group(loose[start:place])
            start, rows, size = place, 0, 0
        rows, size = rows + row.count, size + _bytes(out)
    yield from _group(loose[start:])


def _group(parts_: Sequence[tuple[PredictionPartRecord, Ref]]) -> Iterator[Group]:
    """Yield these parts as a group, unless there is nothing to be gained."""
    if len(parts_) > 1 or any(slice_of(out) is not None for _, out in parts_):
        yield Group(rows=tuple(row for row, _ in parts_), outs=tuple(out for _, out in parts_))


def _bytes(out: Ref) -> int:
    """Return about how many bytes a part has."""
    found = slice_of(out)
    return out.size if found is None else out.size * found[1].count // max(found[1].of, 1)


def _table(row: PredictionPartRecord) -> Ref | None:
    """Return the table of a part, or None if it isn't in the store: nothing is gained if a small table, which lies in
    the row, is merged."""
    with suppress(*UNREADABLE):  # `headrace fsck` reports it
        out = decode_ref(row.out)
        if (out.codec == "arrow" and out.nonce is not None) or slice_of(out) is not None:
            return out
    return None


def _point(db: Database, lease: Lease, table: str, rows: Sequence[PredictionPartRecord], outs: Sequence[Ref]) -> bool:
    """Make rows name these tables, and return True. Return False, and change nothing, if one was changed meanwhile: the
    next pass merges them."""
    try:
        db.atomically(partial(_point_rows, db, lease, table, rows, outs))
    except Unmet:
        return False
    return True


def _point_rows(
    db: Database, lease: Lease, table: str, rows: Sequence[PredictionPartRecord], outs: Sequence[Ref]
) -> None:
    parts.lock(db)
    lease.check()
    for row, out in zip(rows, outs, strict=True):
        parts.rewrite(db, row, out, row.count, is_labels=table == "label_parts")
