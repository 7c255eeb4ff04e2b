"""Merges parts of prediction logs: parts of one day get one table in the store instead of a small one each. The rows of
the parts stay, so their numbers and counts stay too.

Only one process can do this at a time, and none can while a person is erased or the garbage collector works: all of
them need the same lease. So no table is made from a part that has just been written again without a person.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from msgspec.structs import asdict

from headrace.errors import LeaseHeld
from headrace.ledger import parts
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.exclusive import COLLECTOR, MERGER
from headrace.ledger.records import PREDICTION_LOGS, PREDICTION_PARTS, PredictionPartRecord
from headrace.ledger.upkeep.gc import LEFT
from headrace.spec.artifact import Ref

DAY_S = 86_400.0
SETTLES_S = 3_600.0
"""How many seconds after the end of a day its parts are merged. Most servers have sealed their predictions by then."""
EVERY_S = 3_600.0
"""How many seconds pass between two looks for parts to merge."""
LOOKED = "headrace.merger"
"""The cursor that holds the time when all parts were merged that could be."""

_encode_ref = msgspec.msgpack.Encoder().encode


def is_due(db: Database, now: float) -> bool:
    """Return whether it is time to look for parts to merge."""
    row = db.execute(db.sql.CURSOR, (LOOKED,)).fetchone()
    return row is None or abs(now - float(row[1])) >= EVERY_S  # the clock may have been set back


def looked(db: Database, now: float) -> None:
    """Record that all parts were merged that could be at the time `now`."""
    db.execute(db.sql.PUT_CURSOR, (LOOKED, 1, str(now).encode()))


@contextmanager
def only_one(db: Database) -> Iterator[Lease | None]:
    """Return a context that holds the lease that merging needs. It is None if another process holds the lease."""
    try:
        lease = db.leases.acquire(COLLECTOR, MERGER, is_patient=False)
    except LeaseHeld:
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()


def days(db: Database, now: float) -> Iterator[list[PredictionPartRecord]]:
    """Yield lists of parts that could share a table: those of one endpoint whose newest predictions are of the same day
    (UTC), if this day has ended. Parts that share a table already are left out."""
    edge = (now - SETTLES_S) // DAY_S * DAY_S
    for endpoint in [row.endpoint for row in PREDICTION_LOGS.read(db.execute(db.sql.PREDICTION_LOGS))]:
        found: dict[float, list[PredictionPartRecord]] = defaultdict(list)
        for row in PREDICTION_PARTS.read(db.execute(db.sql.PREDICTION_PARTS_ALONE, (endpoint, edge, endpoint))):
            if math.isfinite(row.last):
                found[row.last // DAY_S].append(row)
        yield from (rows for _, rows in sorted(found.items()) if len(rows) > 1)


def share(db: Database, lease: Lease, rows: Sequence[PredictionPartRecord], out: Ref, *, now: float) -> bool:
    """Let parts share the table `out`, and return True. If one of them was changed meanwhile, or the lease was lost,
    change nothing and return False.

    A driver may have just read the rows, and name the parts' former tables a moment later. So a collector that finds
    drivers at work within the next minutes leaves these tables to a later pass.
    """
    encoded = _encode_ref(out)

    def work() -> None:
        lease.check()
        parts.lock(db)
        for row in rows:
            values = {**asdict(row), "was": row.out, "out": encoded}
            db.require(db.sql.REWRITE_PREDICTION_PART, db.sql.values("REWRITE_PREDICTION_PART", values))
        db.execute(db.sql.PUT_CURSOR, (LEFT, 1, str(now).encode()))

    try:
        db.atomically(work)
    except Unmet:  # also if it was done, but the server's answer was lost, so that it was tried again
        (row,) = db.lookups(db.sql.PREDICTION_PART_ROW, [(rows[0].endpoint, rows[0].number)])
        return row is not None and encoded in row
    return True
