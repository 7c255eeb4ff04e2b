"""The ledger on a PostgreSQL server, which drivers of several machines share.

A statement outside of a transaction that meets a broken connection runs again on a new one, and so does the work of
`atomically`: a server that is started again within `PATIENCE_S` is not noticed but for the time that it takes. All of
a transaction goes to the server in one round trip as far as nothing in it is read back (libpq's pipeline mode).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from headrace import waits
from headrace.ledger.database.address import masked
from headrace.ledger.database.database import Unmet
from headrace.ledger.database.lease_rows import RowLeases
from headrace.ledger.database.postgres_link import Link, link_to
from headrace.ledger.database.postgres_troubles import is_passing, troubles
from headrace.ledger.database.statements import statements

T = TypeVar("T")

logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what is raised anyway, and handled

PATIENCE_S = 60.0
"""How long a server that can't be reached is waited for, by those who were connected to it."""

TRIES = 30
"""How often a transaction that others were in the way of is tried."""


class PostgresDatabase:
    """A connection to a ledger's server (`ledger.database.database.Database`)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = masked(url)
        self.sql = statements("postgresql")
        self.leases = RowLeases(self)
        self._patience_s = PATIENCE_S
        self._is_open = False
        self._pipe: psycopg.Pipeline | None = None
        with troubles(self.name, 0.0):
            self._link = link_to(url)

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Run a statement, within the transaction that is open or else in one of its own."""
        if self._is_open:
            cursor = self._link.execute(text.encode(), parameters, binary=True)
            if self._pipe is not None and text.lstrip().startswith("SELECT"):
                # Its answer is waited for. Without this the server takes the session for active, however long nothing
                # follows: one that is stopped here would keep its locks for ever.
                self._pipe.sync()
            return cursor
        return self._again(lambda: self._link.execute(text.encode(), parameters, binary=True))

    def lookups(self, text: str, rows: Sequence[Sequence[Any]], /) -> list[Any]:
        """Run a statement for each of the rows, and return the first row that each finds, or None; all in one go."""
        if len(rows) == 1:
            return [self.execute(text, rows[0]).fetchone()]

        def call() -> list[Any]:
            with self._pipeline():
                found = [self._link.execute(text.encode(), row, binary=True) for row in rows]
            return [each.fetchone() for each in found]

        return call() if self._is_open else self._again(call)

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run a statement for each of the rows."""
        if not self._is_open:
            self.atomically(lambda: self.executemany(text, rows))
        else:
            with self._link.cursor(binary=True) as cursor:
                cursor.executemany(text.encode(), rows)

    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None:
        """Run a statement that has to find or change a row, and is written so that it fails else."""
        try:
            self.execute(text, parameters)
        except errors.DivisionByZero:
            raise Unmet from None

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Do all of it or nothing. It is sent as far as it goes without an answer."""
        link = self._link
        self._is_open = True
        try:
            with self._pipeline() as self._pipe:
                link.execute(b"BEGIN")
                if not durable:
                    link.execute(b"SET LOCAL synchronous_commit TO off")
                yield
                ended = link.execute(b"COMMIT")
            if ended.statusmessage != "COMMIT":
                raise errors.InFailedSqlTransaction("the transaction was rolled back")
        except errors.DivisionByZero:
            raise Unmet from None
        finally:
            self._is_open, self._pipe = False, None
            if link.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
                with suppress(psycopg.Error):
                    link.execute(b"ROLLBACK")

    def atomically(
        self, work: Callable[[], T], *, durable: bool = True, done: Callable[[], T | None] | None = None
    ) -> T:
        """Do `work` in a transaction, again where others were in its way or the connection broke."""
        tries, was_lost = 0, False
        while True:
            try:
                with self.transaction(durable=durable):
                    found = work()
            except (errors.SerializationFailure, errors.DeadlockDetected):
                tries += 1
                if tries >= TRIES:
                    raise
                time.sleep(random.uniform(0, 0.005 * tries))
            except psycopg.Error as error:
                # The one whose end nobody heard of may get through after the look, and before the next try.
                is_there_now = was_lost and isinstance(error, errors.UniqueViolation)
                if not is_there_now:
                    self._mend(error)
                    was_lost = True
                before = None if done is None else done()
                if before is not None:
                    return before
                if is_there_now:
                    raise
            else:
                return found

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything within as of one moment. It locks nothing, so it may take its time."""
        self._again(lambda: self._link.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        self._is_open = True
        try:
            self._link.execute(b"SET LOCAL idle_in_transaction_session_timeout TO 0")
            yield
        finally:
            self._is_open = False
            with suppress(psycopg.Error):
                self._link.execute(b"ROLLBACK")

    def begin_reading(self) -> None:
        """Each lookup is answered from what is stored by then."""

    def end_reading(self) -> None:
        """Each lookup is answered from what is stored by then."""

    def troubles(self) -> AbstractContextManager[None]:
        """Turn what the server or the way to it raises into an error of ours with a hint."""
        return troubles(self.name, self._patience_s)

    def is_there(self) -> bool:
        """A table that was dropped is told by the next statement."""
        return True

    def now(self) -> float:
        """Return the server's time (Unix seconds)."""
        found: float = self.execute(self.sql.CLOCK).fetchone()[0]  # type: ignore[index]
        return found

    def problems(self, *, deep: bool) -> list[str]:
        """The server looks after its files itself."""
        del deep
        return []

    def another_link(self) -> Link:
        """Return another connection to the server, as it is."""
        return link_to(self.url)

    def hurry(self) -> None:
        """Wait for nothing any more: the work is done, or given up."""
        self._patience_s = 0.0
        self._link.hurries = True

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _pipeline(self) -> AbstractContextManager[psycopg.Pipeline | None]:
        """Send statements without waiting for the answers, where libpq can."""
        return self._link.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()

    def _again(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except psycopg.Error as error:
                self._mend(error)

    def _mend(self, error: psycopg.Error) -> None:
        """Connect anew where the connection broke; any other error is raised on."""
        if not (self._link.closed or self._link.broken) or self._patience_s <= 0:
            raise error
        end, pause = time.monotonic() + self._patience_s, 0.05
        with waits.waiting(f"the ledger `{self.name}`, to connect anew", self._patience_s):
            while True:
                try:
                    link = link_to(self.url)
                except psycopg.Error as again:
                    if not is_passing(again) or time.monotonic() > end or waits.is_hurried():
                        raise
                    time.sleep(pause)
                    pause = min(2 * pause, 1.0)
                else:
                    self._link.close()
                    self._link = link
                    return
