"""What there is to say of a ledger on a server: which one, how far away, and how its clock goes."""

from __future__ import annotations

import time
from contextlib import closing

from msgspec import Struct

from headrace.ledger.database.address import Address
from headrace.ledger.database.opening import connect

TURNS = 7
TRIAL = "headrace.doctor"
"""The cursor that is set to see whether writing is allowed."""

ABOUT = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
extract(epoch FROM clock_timestamp())::double precision
"""


class Inspected(Struct, frozen=True, kw_only=True):
    """A server as a ledger found it. `offset_s` is how far its clock is ahead of ours."""

    version: str
    bytes: int
    round_trip_s: float
    commit_s: float
    offset_s: float


def inspect(address: Address, *, project: str = "") -> Inspected:
    """Open a ledger on a server, write to it and read from it.

    Raises:
        ConfigError: it is another project's.
        LedgerError: it can't be reached, read or written.
    """
    with closing(connect(address, project=project)) as db, db.troubles():
        trips = []
        for _ in range(TURNS):
            start, now = time.perf_counter(), time.time()
            version, size, there = db.execute(ABOUT).fetchone()
            trips.append((time.perf_counter() - start, there - now))
        trip, offset = min(trips)
        commits = []
        for turn in range(TURNS):
            start = time.perf_counter()
            db.execute(db.sql.PUT_CURSOR, (TRIAL, 1, str(turn).encode()))
            commits.append(time.perf_counter() - start)
        return Inspected(
            version=version,
            bytes=size,
            round_trip_s=trip,
            commit_s=sorted(commits)[len(commits) // 2],
            offset_s=offset - trip / 2,
        )
