"""Leases as rows on a server. A lease expires `TERM_S` after its last renewal, by the server's clock, and is renewed
well before it expires.

The holder renews its lease with its ordinary writes. If the holder writes nothing for some time, a thread renews the
lease over a separate connection. A stopped process doesn't renew its lease, so another process may take the lease. Then
all later writes of the stopped process fail: each holder has its own token, and each transaction of a holder checks
that token.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

import psycopg

from headrace.ledger.database.database import Unmet
from headrace.ledger.database.leases import Holder, refusal
from headrace.ledger.database.statements import Statements

TERM_S = 10.0
RENEW_S = 1.0
"""The shortest time between two renewals. A driver that waits for the lease needs about this time to see that the
holder is alive."""
LOOK_S = 0.1
JOIN_S = 1.0
"""How many seconds `release` waits for the renewing thread to end. If that thread is waiting for the server, it may end
after `release` has returned."""
FORGOTTEN_S = 45.0
"""A lease that expired this many seconds ago is deleted. If its holder was only stopped and continues after the
deletion, the holder can't write any more."""


class Sessions(Protocol):
    """The methods of a server session that leases use. They run statements, repeat a statement if the connection broke,
    and open more connections."""

    @property
    def sql(self) -> Statements: ...
    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[Any]: ...
    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None: ...
    def troubles(self) -> AbstractContextManager[None]: ...
    def another_link(self) -> psycopg.Connection[Any]: ...


class RowLease:
    """A held lease. `RowLeases.acquire` makes it."""

    def __init__(self, db: Sessions, name: str, token: int) -> None:
        self._db = db
        self._sql = db.sql
        self._name = name
        self._token = token
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"lease of {name}", daemon=True)
        self._keeper.start()

    def renew(self) -> None:
        """Extend the lease, unless it was extended within the last `RENEW_S`."""
        if time.monotonic() - self._renewed >= RENEW_S:
            if self._db.execute(self._sql.RENEW_LEASE, self._mine).fetchone() is None:
                raise Unmet
            self._renewed = time.monotonic()

    def check(self) -> None:
        """Check within a transaction that the lease is still held, and lock its row until the transaction ends."""
        self._db.require(self._sql.CHECK_LEASE, self._mine)
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Give the lease back. If it was already released or lost, this does nothing."""
        if not self._ended.is_set():
            self._ended.set()
            with suppress(psycopg.Error):  # the lease expires by itself
                self._db.execute(self._sql.DROP_LEASE, self._mine[1:])
            self._keeper.join(JOIN_S)

    @property
    def _mine(self) -> tuple[float, str, int]:
        return TERM_S, self._name, self._token

    def _keep(self) -> None:
        """Renew the lease while its holder is busy with something else."""
        link = None
        while not self._ended.wait(TERM_S / 4):
            if time.monotonic() - self._renewed < TERM_S / 4:
                continue
            try:
                link = link or self._db.another_link()
                if link.execute(self._sql.RENEW_LEASE.encode(), self._mine).fetchone() is None:
                    break  # lost: the holder's next statement fails
                self._renewed = time.monotonic()
            except psycopg.Error:
                if link is not None:
                    link.close()
                link = None
        if link is not None:
            link.close()


class RowLeases:
    """The leases of a ledger, kept as rows on its server (`ledger.database.leases.Leases`)."""

    def __init__(self, db: Sessions) -> None:
        self._db = db
        self._sql = db.sql

    def acquire(self, run: str, name: str = "", *, is_patient: bool = True) -> RowLease:
        """Take a lease and return it.

        If another process holds the lease, wait for at most `TERM_S`. If that process renews the lease meanwhile, it is
        alive, and `LeaseHeld` is raised. Otherwise the lease expires, and is taken. If `is_patient` is False, raise
        `LeaseHeld` without waiting.
        """
        token = secrets.randbits(62)
        asks = run, token, os.getpid(), os.uname().nodename, name, TERM_S
        seen = None
        with self._db.troubles():
            while True:
                # Read before the attempt to take it: that attempt would wait for a transaction that has the row locked.
                row = self._db.execute(self._sql.LEASE, (run,)).fetchone()
                if row is None:
                    self._db.execute(self._sql.END_STUCK_OF, (0.0, run))
                    if self._db.execute(self._sql.TAKE_LEASE, asks).fetchone() is not None:
                        return RowLease(self._db, run, token)
                    continue
                seen = seen or row[:2]
                if not is_patient or row[:2] != seen:
                    raise refusal(run, _holder(row))
                time.sleep(LOOK_S)

    def holder(self, run: str) -> Holder | None:
        """Return the holder of a lease, or None if nobody holds it."""
        with self._db.troubles():
            row = self._db.execute(self._sql.LEASE, (run,)).fetchone()
        return None if row is None else _holder(row)

    def held(self, runs: Iterable[str]) -> set[str]:
        """Return which of the given runs have a held lease. Errors of the database are raised unchanged."""
        names = list(runs)
        return {name for (name,) in self._db.execute(self._sql.HELD_LEASES, (names,))} if names else set()

    def all(self) -> Iterator[str]:
        """Return the names of all leases, expired ones included: the holder of an expired lease may still write until
        another process takes or deletes that lease."""
        with self._db.troubles():
            return iter([name for (name,) in self._db.execute(self._sql.ALL_LEASES)])

    def tidy(self) -> None:
        """Delete leases that expired `FORGOTTEN_S` ago or more."""
        with self._db.troubles():
            self._db.execute(self._sql.END_STUCK, (FORGOTTEN_S,))
            self._db.execute(self._sql.FORGET_LEASES, (FORGOTTEN_S,))


def _holder(row: tuple[Any, ...]) -> Holder:
    _, _, pid, host, since, name = row
    return Holder(pid, host, since, name)
