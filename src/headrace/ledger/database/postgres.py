"""The ledger on a PostgreSQL server, which drivers on several machines share.

If the connection breaks outside of a transaction, the statement runs again on a new connection. If it breaks within
`atomically`, the whole transaction runs again. So if the server restarts within `PATIENCE_S`, the work only takes
longer. The statements of a transaction go to the server in one round trip, as long as no result is read in between
(libpq's pipeline mode).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
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

logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of errors that are also raised, and handled

PATIENCE_S = 60.0
"""How many seconds a process that has lost its connection tries to connect again."""

WITH_ARTIFACTS = (
    *(b"events", b"tasks", b"results", b"cursors", b"versions"),
    *(b"prediction_parts", b"label_parts", b"prediction_batches"),
)
"""The tables whose rows may hold the bytes of small artifacts."""

TRIES = 30
"""How many times a transaction is tried, at most, if it conflicts with others."""


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
        """Run a statement, in the open transaction if there is one, otherwise in a transaction of its own."""
        if self._is_open:
            cursor = self._link.execute(text.encode(), parameters, binary=True)
            if self._pipe is not None and text.lstrip().startswith("SELECT"):
                # The caller waits for the answer. Without `sync` the server regards the session as active, not idle:
                # a process that is stopped here would keep its locks for ever.
                self._pipe.sync()
            return cursor
        return self._again(lambda: self._link.execute(text.encode(), parameters, binary=True))

    def lookups(self, text: str, rows: Sequence[Sequence[Any]], /) -> list[Any]:
        """Run a query once for each row of parameters, all in one round trip. Return the first row of each result, or
        None for a result without rows."""
        if len(rows) == 1:
            return [self.execute(text, rows[0]).fetchone()]

        def call() -> list[Any]:
            with self._pipeline():
                found = [self._link.execute(text.encode(), row, binary=True) for row in rows]
            return [each.fetchone() for each in found]

        return call() if self._is_open else self._again(call)

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once for each row of parameters."""
        if not self._is_open:
            self.atomically(lambda: self.executemany(text, rows))
        else:
            with self._link.cursor(binary=True) as cursor:
                cursor.executemany(text.encode(), rows)

    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None:
        """Run a statement that must find or change a row. If there is no such row, the statement divides by zero, so
        the server reports an error."""
        try:
            self.execute(text, parameters)
        except errors.DivisionByZero:
            raise Unmet from None

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Return a context in which all statements take effect together or not at all. As far as possible, the
        statements are sent without waiting for answers."""
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
        """Run `work` in a transaction and return its value; try again after a conflict or a broken connection."""
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
                # A transaction whose outcome is unknown may be committed after `done` looked and before the next try.
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
        """Return a context in which all reads see the database at one moment. The snapshot locks nothing, so it may be
        kept for a long time."""
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
        """Do nothing: on a server, each lookup sees what is stored when the lookup runs."""

    def end_reading(self) -> None:
        """Do nothing: on a server, each lookup sees what is stored when the lookup runs."""

    def troubles(self) -> AbstractContextManager[None]:
        """Return a context that turns exceptions of the server or the connection into our errors, with a hint."""
        return troubles(self.name, self._patience_s)

    def is_there(self) -> bool:
        """Return True without a check: if the tables were dropped, the next statement raises an error."""
        return True

    def user(self) -> str:
        """Return the name of the role that logged in. It stays the same after `SET ROLE`."""
        found: str = self.execute(self.sql.SPEAKER).fetchone()[0]  # type: ignore[index]
        return found

    def now(self) -> float:
        """Return the server's time (Unix seconds)."""
        found: float = self.execute(self.sql.CLOCK).fetchone()[0]  # type: ignore[index]
        return found

    def problems(self, *, deep: bool) -> list[str]:
        """Return no problems: the server checks its own files."""
        del deep
        return []

    def another_link(self) -> Link:
        """Return a new, separate connection to the server."""
        return link_to(self.url)

    def purge(self) -> str | None:
        """Rewrite the tables that hold artifacts, without the bytes of deleted and overwritten rows. Return None. Other
        sessions can't use a table while it is rewritten: they wait."""
        for table in WITH_ARTIFACTS:
            self._again(partial(self._link.execute, b"VACUUM FULL " + table))
        return None

    def hurry(self) -> None:
        """From now on, wait only briefly for an answer, and don't replace a broken connection. To be called before
        `close`, when nothing important is left to write."""
        self._patience_s = 0.0
        self._link.hurries = True

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _pipeline(self) -> AbstractContextManager[psycopg.Pipeline | None]:
        """Return a context in which statements are sent without waiting for answers, if libpq supports it."""
        return self._link.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()

    def _again(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except psycopg.Error as error:
                self._mend(error)

    def _mend(self, error: psycopg.Error) -> None:
        """Connect again if the connection broke; raise any other error."""
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
