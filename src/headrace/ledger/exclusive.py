"""What only one process may do at a time: delete blobs that no row names, or rely on none being deleted meanwhile."""

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
"""The lease that stands for it, among those of runs."""


def beating(lease: Lease, rows: Iterable[T]) -> Iterator[T]:
    """Go over rows, and renew a lease now and then."""
    for place, row in enumerate(rows):
        if place % BEAT_ROWS == 0:
            lease.renew()
        yield row


@contextmanager
def alone(ledger: Ledger, deed: str) -> Iterator[Lease]:
    """Be the only one for a while; `deed` says to others what this one is at. The lease wants to be renewed.

    Raises:
        LedgerError: another is at it; the message says who.
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
                f"`{deed}` stood still for so long that another process may do its work", hint="run the command again"
            ) from error
        finally:
            held.release()
