"""Leases: who drives a run, and who collects. At most one holds each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from headrace.errors import LeaseHeld


class Holder(Struct, frozen=True):
    """Who holds a lease, for people: its process, on which host, since when (Unix seconds), and in whose words."""

    pid: int
    host: str
    since: float
    name: str = ""

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on `{self.host}` since {since}"


class Lease(Protocol):
    """A held lease.

    `renew` says that its holder lives; it is called often, and does something now and then. `check` raises `Unmet`
    unless the lease is still held, and so it stays until the transaction that it is called within has ended. `release`
    gives it back; what is released already, or was lost, stays so.
    """

    def renew(self) -> None: ...
    def check(self) -> None: ...
    def release(self) -> None: ...


class Leases(Protocol):
    """The leases of a ledger. A run's lease may be held before the run has a row."""

    def acquire(self, run: str, name: str = "", *, is_patient: bool = True) -> Lease:
        """Take a lease for this process, at once or after waiting for as long as it takes to tell a holder that lives.

        Raises:
            LeaseHeld: another holds it; the message says who.
            LedgerError: it can't be taken.
        """

    def holder(self, run: str) -> Holder | None:
        """Return who holds a lease, or None where nobody does."""

    def held(self, runs: Iterable[str]) -> set[str]:
        """Return those of the runs whose leases are held."""

    def all(self) -> Iterator[str]:
        """Name all whose holders may still write: what is held, and what would be again if its holder woke up."""

    def tidy(self) -> None:
        """Forget what holders that died have left; one that only seemed to be dead can't write any more."""


def refusal(run: str, holder: Holder | None) -> LeaseHeld:
    """Return the error that says who holds a run."""
    return LeaseHeld(
        f"run `{run}` is held by {holder or 'another driver'}",
        hint="wait until it ends, or end it with `headrace cancel`",
    )
