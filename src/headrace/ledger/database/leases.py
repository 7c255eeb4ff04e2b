"""Leases: the right to drive a run, or to collect garbage. At most one process at a time holds a lease."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from headrace.errors import LeaseHeld


class Holder(Struct, frozen=True):
    """The holder of a lease, as messages describe it: the process id, the host, the time since when it has held the
    lease (Unix seconds), and the name that it gave."""

    pid: int
    host: str
    since: float
    name: str = ""

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on `{self.host}` since {since}"


class Lease(Protocol):
    """A held lease.

    `renew` records that the holder is alive. It may be called often: it writes only if the last record is old. `check`
    raises `Unmet` if the lease is no longer held; otherwise the lease stays held until the current transaction has
    ended. `release` gives the lease back, and does nothing if the lease was already released or lost.
    """

    def renew(self) -> None: ...
    def check(self) -> None: ...
    def release(self) -> None: ...


class Leases(Protocol):
    """The leases of a ledger. A run's lease may be held before the run has a row."""

    def acquire(self, run: str, name: str = "", *, is_patient: bool = True) -> Lease:
        """Take a lease for this process and return it.

        If another process holds the lease and `is_patient` is True, this method may wait to see whether that process is
        alive.

        Raises:
            LeaseHeld: another process holds the lease; the message names it.
            LedgerError: the lease can't be taken.
        """

    def holder(self, run: str) -> Holder | None:
        """Return the holder of a lease, or None if nobody holds it."""

    def held(self, runs: Iterable[str]) -> set[str]:
        """Return which of the given runs have a held lease."""

    def all(self) -> Iterator[str]:
        """Yield the names of all leases whose holder may still write: held leases, and expired leases that a stopped
        holder could still renew."""

    def tidy(self) -> None:
        """Delete the leases of holders that have ended. If a holder was only stopped, it can't write any more after its
        lease is deleted."""


def refusal(run: str, holder: Holder | None) -> LeaseHeld:
    """Return the error that says which process holds a run."""
    return LeaseHeld(
        f"run `{run}` is held by {holder or 'another driver'}",
        hint="wait until the run ends, or end it with `headrace cancel`",
    )
