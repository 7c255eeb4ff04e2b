"""What the record needs of a database. Everything about the ledger but the tables' upkeep is written over this.

    with db.troubles(), db.transaction():
        db.execute(db.sql.FORGET_RUN, (number,))

Who has one transaction at a time to a connection: neither are threads, nor forks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from headrace.ledger.database.leases import Leases
from headrace.ledger.database.statements import Statements

T = TypeVar("T")

NO_END = (1 << 31) - 1
"""A number that is above all of those that rows have; as a limit, none."""


class Unmet(Exception):
    """A row that a transaction relies on isn't there any more."""


class Rows(Protocol):
    """What a statement gives; `description` has a tuple for each column, which begins with its name."""

    @property
    def description(self) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection to a ledger's database.

    `name` says to people which one it is (no password in it), `sql` are the statements in its dialect.
    """

    @property
    def name(self) -> str: ...
    @property
    def sql(self) -> Statements: ...
    @property
    def leases(self) -> Leases: ...

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Run a statement, within the transaction that is open or else in one of its own."""

    def lookups(self, text: str, rows: Sequence[Sequence[Any]], /) -> list[Any]:
        """Run a statement for each of the rows, and return the first row that each finds, or None."""

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of the rows."""

    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None:
        """Run a statement that has to find or change a row.

        Raises:
            Unmet: it didn't; at the latest when the transaction ends, which stores nothing then.
        """

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Do all of it or nothing, without others in between. If it is not `durable`, it may be lost with the machine's
        power."""

    def atomically(
        self, work: Callable[[], T], *, durable: bool = True, done: Callable[[], T | None] | None = None
    ) -> T:
        """Do `work` in a transaction, again where others were in its way or the connection broke. `done` says then,
        before another try, what came of the last one if it got through after all."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Read everything within as of one moment."""

    def begin_reading(self) -> None:
        """Say that lookups follow, of which many may be answered from one moment, until `end_reading`."""

    def end_reading(self) -> None:
        """End the shared transaction: what is read next sees what others have stored meanwhile."""

    def troubles(self) -> AbstractContextManager[None]:
        """Turn what the database raises into a `LedgerError` with a hint."""

    def is_there(self) -> bool:
        """Return whether what is written is kept still: somebody may have removed the file."""

    def now(self) -> float:
        """Return the time by which leases are judged: the server's clock, where there is one (Unix seconds)."""

    def problems(self, *, deep: bool) -> list[str]:
        """Return what is wrong with the database as such, apart from what its rows say."""

    def hurry(self) -> None:
        """Wait for nothing from now on: the work is done, or given up."""

    def close(self) -> None:
        """Close the connection."""
