"""Leases as rows of a server, which judges them by its clock: each is good for `TERM_S`, and renewed well before.

Whoever holds one renews it with what it does anyway; while it does something else for long, a thread does it, on a
connection of its own. A process that is stopped renews nothing. Its lease may be taken then, and with that everything
that it writes afterwards fails: each holder has a token of its own, which each of its transactions asks for.
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
"""How often a lease is renewed at most; its holder may be told from a dead one about as fast."""
LOOK_S = 0.1
JOIN_S = 1.0
"""How long a thread that renews a lease may take to end: one that waits for the server ends without anybody."""
FORGOTTEN_S = 45.0
"""A lease that ran out so long ago is forgotten, and its holder fenced out, should it be stopped and not dead."""


class Sessions(Protocol):
    """What leases need of the server: a session that runs statements, again where it broke, and another beside it."""

    @property
    def sql(self) -> Statements: ...
    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[Any]: ...
    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None: ...
    def troubles(self) -> AbstractContextManager[None]: ...
    def another_link(self) -> psycopg.Connection[Any]: ...


class RowLease:
    """A held lease. Made by `acquire`."""

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
        """Say that its holder lives, unless that was said just now."""
        if time.monotonic() - self._renewed >= RENEW_S:
            if self._db.execute(self._sql.RENEW_LEASE, self._mine).fetchone() is None:
                raise Unmet
            self._renewed = time.monotonic()

    def check(self) -> None:
        """Ask for it within a transaction, and keep others from taking it until that has ended."""
        self._db.require(self._sql.CHECK_LEASE, self._mine)
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Give it back; one that is released already, or was lost, stays so."""
        if not self._ended.is_set():
            self._ended.set()
            with suppress(psycopg.Error):  # it runs out by itself
                self._db.execute(self._sql.DROP_LEASE, self._mine[1:])
            self._keeper.join(JOIN_S)

    @property
    def _mine(self) -> tuple[float, str, int]:
        return TERM_S, self._name, self._token

    def _keep(self) -> None:
        """Renew it while its holder is busy with something else."""
        link = None
        while not self._ended.wait(TERM_S / 4):
            if time.monotonic() - self._renewed < TERM_S / 4:
                continue
            try:
                link = link or self._db.another_link()
                if link.execute(self._sql.RENEW_LEASE.encode(), self._mine).fetchone() is None:
                    break  # lost: its holder is told by the next thing that it does
                self._renewed = time.monotonic()
            except psycopg.Error:
                if link is not None:
                    link.close()
                link = None
        if link is not None:
            link.close()


class RowLeases:
    """The leases of a ledger, as rows of its server (`ledger.database.leases.Leases`)."""

    def __init__(self, db: Sessions) -> None:
        self._db = db
        self._sql = db.sql

    def acquire(self, run: str, name: str = "", *, is_patient: bool = True) -> RowLease:
        """Take a lease. A holder that renews it meanwhile lives; one that doesn't loses it within its term."""
        token = secrets.randbits(62)
        asks = run, token, os.getpid(), os.uname().nodename, name, TERM_S
        seen = None
        with self._db.troubles():
            while True:
                # Looked at before it is asked for: who asks waits for whoever has it locked.
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
        """Return who holds a lease, or None where nobody does."""
        with self._db.troubles():
            row = self._db.execute(self._sql.LEASE, (run,)).fetchone()
        return None if row is None else _holder(row)

    def held(self, runs: Iterable[str]) -> set[str]:
        """Return those of the runs whose leases are held. Within a transaction, what goes wrong is that one's."""
        names = list(runs)
        return {name for (name,) in self._db.execute(self._sql.HELD_LEASES, (names,))} if names else set()

    def all(self) -> Iterator[str]:
        """Name all that is held, or has run out: as long as nobody takes or forgets it, its holder may go on."""
        with self._db.troubles():
            return iter([name for (name,) in self._db.execute(self._sql.ALL_LEASES)])

    def tidy(self) -> None:
        """Forget what ran out `FORGOTTEN_S` ago or more."""
        with self._db.troubles():
            self._db.execute(self._sql.END_STUCK, (FORGOTTEN_S,))
            self._db.execute(self._sql.FORGET_LEASES, (FORGOTTEN_S,))


def _holder(row: tuple[Any, ...]) -> Holder:
    _, _, pid, host, since, name = row
    return Holder(pid, host, since, name)
