"""A check of a ledger's server: its version, its response time, and its clock."""

from __future__ import annotations

import time
from contextlib import closing

from msgspec import Struct

from headrace.ledger.database.address import Address
from headrace.ledger.database.opening import connect

TURNS = 7
TRIAL = "headrace.doctor"
"""The cursor that `inspect` sets, to check that the ledger can be written."""

ABOUT = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
extract(epoch FROM clock_timestamp())::double precision
"""


class Inspected(Struct, frozen=True, kw_only=True):
    """Measurements of a ledger's server. `offset_s` is how many seconds the server's clock is ahead of this
    machine's. `user` is the role that logged in."""

    version: str
    bytes: int
    round_trip_s: float
    commit_s: float
    offset_s: float
    user: str


def inspect(address: Address, *, project: str = "") -> Inspected:
    """Return a server's version, size, response times and clock offset. To measure them, a test cursor is written.

    Raises:
        ConfigError: the ledger belongs to another project.
        LedgerError: the ledger can't be reached, read or written.
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
            user=db.user(),
        )
