"""The port to a ledger's database. All ledger code uses it, except the code that creates and migrates tables.

    with db.troubles(), db.transaction():
        db.execute(db.sql.FORGET_RUN, (number,))

A connection runs one transaction at a time. Don't share it between threads or with forked processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from headrace.ledger.database.leases import Leases
from headrace.ledger.database.statements import Statements

T = TypeVar("T")

NO_END = (1 << 31) - 1
"""A number greater than the number of any row. As a limit, it means no limit."""


class Unmet(Exception):
    """A row that a transaction relies on no longer exists."""


class Rows(Protocol):
    """The rows that a statement returned. `description` has one tuple for each column. Each tuple begins with the
    column's name."""

    @property
    def description(self) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection to a ledger's database.

    `name` is the database's name to show to people, without a password. `sql` holds the statements in the database's
    dialect.
    """

    @property
    def name(self) -> str: ...
    @property
    def sql(self) -> Statements: ...
    @property
    def leases(self) -> Leases: ...

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Run a statement, in the open transaction if there is one, otherwise in a transaction of its own."""

    def lookups(self, text: str, rows: Sequence[Sequence[Any]], /) -> list[Any]:
        """Run a query once for each row of parameters. Return the first row of each result, or None for a result
        without rows."""

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each row of parameters."""

    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None:
        """Run a statement that must find or change a row.

        Raises:
            Unmet: the statement found or changed no row, and the transaction stores nothing. The error may be raised
                only at the end of the transaction.
        """

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Return a context in which all statements take effect together or not at all, isolated from other
        transactions. If `durable` is False, a power failure of the machine may undo the transaction."""

    def atomically(
        self, work: Callable[[], T], *, durable: bool = True, done: Callable[[], T | None] | None = None
    ) -> T:
        """Run `work` in a transaction and return its value; try again after a conflict or a broken connection.

        If the connection breaks, the transaction may have been committed or not. So `done` is called before the next
        try. It returns the transaction's value if the transaction was committed; otherwise it returns None. Without
        `done`, `work` simply runs again.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Return a context in which all reads see the database at one moment."""

    def begin_reading(self) -> None:
        """Begin a series of lookups that may share one snapshot. `end_reading` ends the series."""

    def end_reading(self) -> None:
        """End the series of lookups that `begin_reading` began. Later reads also see what other processes have stored
        since then."""

    def troubles(self) -> AbstractContextManager[None]:
        """Return a context that turns the database's exceptions into a `LedgerError` with a hint."""

    def is_there(self) -> bool:
        """Return whether the database still exists: False if its file was removed while the connection was open."""

    def user(self) -> str:
        """Return who this process is: on a server, the role that logged in; otherwise the operating system's user."""

    def now(self) -> float:
        """Return the time in Unix seconds by the server's clock, or by this machine's clock if there is no server."""

    def problems(self, *, deep: bool) -> list[str]:
        """Return a description of each fault in the database itself, such as a damaged page. The contents of rows are
        not judged."""

    def purge(self) -> str | None:
        """Remove the bytes of deleted and overwritten rows from the database's files. Return None if all were removed,
        otherwise the reason why some are left."""

    def hurry(self) -> None:
        """From now on, wait only briefly for a slow or broken connection. To be called before `close`, when nothing
        important is left to write."""

    def close(self) -> None:
        """Close the connection."""
