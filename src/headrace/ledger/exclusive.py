"""A lease for work that only one process may do at a time: deleting blobs that no row names, or work during which
no blob may be deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from headrace.errors import LeaseHeld, LedgerError
from headrace.ledger.database.database import Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.ledger import Ledger

T = TypeVar("T")

BEAT_ROWS = 1000

COLLECTOR = "the-collector"
"""The name of the garbage collector's lease; every other lease has the id of a run as its name."""


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
    lease.

    Raises:
        LedgerError: another process holds the lease; the message names it.
    """
    with closing(ledger.connect()) as db:
        try:
            held = db.leases.acquire(COLLECTOR, deed)
        except LeaseHeld as error:
            holder = db.leases.holder(COLLECTOR)
            who = f"`{holder.name}` ({holder})" if holder is not None and holder.name else "another collector"
            raise LedgerError(f"{who} is at work on this ledger", hint="wait until it ends") from error
        try:
            yield held
        except Unmet as error:
            raise LedgerError(
                f"`{deed}` was stopped for so long that another process may have taken over",
                hint="run the command again",
            ) from error
        finally:
            held.release()
