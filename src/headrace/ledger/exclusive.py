"""A lease for work that only one process may do at a time: deleting blobs that no row names, or work during which
no blob may be deleted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from headrace.errors import LeaseHeld, LedgerError
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.ledger import Ledger

T = TypeVar("T")

BEAT_ROWS = 1000

COLLECTOR = "the-collector"
"""The name of the garbage collector's lease; every other lease has the id of a run as its name."""
MERGER = "headrace serve, which merges parts of the prediction log"
"""The name of the work of a process that merges parts of the prediction log. It ends within seconds."""
PATIENCE_S = 60.0
"""How many seconds other work waits until parts are merged."""
_LOOK_S = 0.1


def beating(lease: Lease, rows: Iterable[T]) -> Iterator[T]:
    """Yield the rows, and renew the lease every `BEAT_ROWS` rows."""
    for place, row in enumerate(rows):
        if place % BEAT_ROWS == 0:
            lease.renew()
        yield row


@contextmanager
def alone(ledger: Ledger, deed: str) -> Iterator[Lease]:
    """Return a context that holds the lease of the garbage collector, which only one process can hold.

    `deed` is a name for this process's work. Other processes show it in their messages. The caller must renew the
    lease. If a server merges parts of the prediction log, wait until it ends.

    Raises:
        LedgerError: another process holds the lease; the message names it.
    """
    with closing(ledger.connect()) as db:
        held = _acquired(db, deed)
        try:
            yield held
        except Unmet as error:
            raise LedgerError(
                f"`{deed}` was stopped for so long that another process may have taken over",
                hint="run the command again",
            ) from error
        finally:
            held.release()


def _acquired(db: Database, deed: str) -> Lease:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return db.leases.acquire(COLLECTOR, deed)
        except LeaseHeld as error:
            holder = db.leases.holder(COLLECTOR)
            is_merger = holder is None or holder.name == MERGER  # None: it has just ended
            if not is_merger or time.monotonic() > until:
                who = f"`{holder.name}` ({holder})" if holder is not None and holder.name else "another collector"
                raise LedgerError(f"{who} is at work on this ledger", hint="wait until it ends") from error
        time.sleep(_LOOK_S)
