"""A sorted set of generations: stored copies of bytes, each named by a digest and a nonce. There may be millions of
generations, so they are kept on disk.

    named = Inventory()
    named.add(rows)                  # in any order
    ("d2c1…", "9f3a…") in named      # the first look-up sorts it

The set is a temporary database that only this process uses; it is deleted when the process ends. A small set stays in
memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from msgspec import Struct

from headrace.errors import LedgerError

Generation = tuple[str, str]
"""The digest and the nonce of a blob."""

Naming = tuple[str, str, int, int]
"""A generation and a run that names it: digest, nonce, the run's number, and the blob's size in bytes."""

CACHE_KIB = 32 << 10
PAGE = 1000


def scratch() -> sqlite3.Connection:
    """Return a private temporary database. It stays in memory while it is small; otherwise it is a file that is deleted
    when the connection is closed."""
    db = sqlite3.connect("", isolation_level=None, cached_statements=32)
    for text in (f"PRAGMA cache_size=-{CACHE_KIB}", "PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF"):
        db.execute(text)
    return db


@contextmanager
def room() -> Iterator[None]:
    """Return a context that turns "no space left" in a temporary database into a `LedgerError` with a hint."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(
            f"the blobs that the ledger names can't be sorted: {error}",
            hint="this needs space for temporary files: free some, or set SQLITE_TMPDIR to another folder",
        ) from error


class Equal(Struct, frozen=True):
    """Generations with the same bytes: their digest, and for each nonce the numbers of the runs that name it."""

    digest: str
    runs: dict[str, list[int]]


class Inventory:
    """A set of generations, each with its size and the runs that name it."""

    def __init__(self) -> None:
        self._db = scratch()
        columns = "digest TEXT, nonce TEXT, run INTEGER, size INTEGER"
        self._db.execute(f"CREATE TABLE named ({columns}, PRIMARY KEY (digest, nonce, run)) WITHOUT ROWID")
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the set's memory and its temporary file."""
        self._db.close()

    def add(self, rows: Iterable[Naming]) -> None:
        """Add generations, each with a run that names it. A row whose generation and run are in the set already is
        ignored.

        Raises:
            LedgerError: there is no space left for temporary files.
        """
        with room():
            if not self._is_open:
                self._db.execute("CREATE TABLE fresh (digest TEXT, nonce TEXT, run INTEGER, size INTEGER)")
                self._db.execute("BEGIN")
                self._is_open = True
            self._db.executemany("INSERT INTO fresh VALUES (?, ?, ?, ?)", rows)

    def clear(self) -> None:
        """Remove all generations."""
        self._sort()
        self._db.execute("DELETE FROM named")

    def remove(self, generations: Iterable[Generation]) -> None:
        """Remove generations."""
        self._sort()
        self._db.executemany("DELETE FROM named WHERE digest = ? AND nonce = ?", generations)

    def __contains__(self, generation: object) -> bool:
        return self._one("SELECT 1 FROM named WHERE digest = ? AND nonce = ?", generation) is not None

    def __len__(self) -> int:
        return self._number("SELECT count(*) FROM (SELECT DISTINCT digest, nonce FROM named)")

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """Yield each generation once, in order: digest, nonce, and size in bytes."""
        return self._all("SELECT digest, nonce, max(size) FROM named GROUP BY digest, nonce")

    def bytes(self) -> int:
        """Return the sum of the sizes of all generations."""
        return self._number("SELECT sum(size) FROM (SELECT max(size) AS size FROM named GROUP BY digest, nonce)")

    def runs(self, digest: str, nonce: str) -> list[int]:
        """Return the numbers of the runs that name a generation."""
        return [run for (run,) in self._all("SELECT run FROM named WHERE digest = ? AND nonce = ?", (digest, nonce))]

    def nonces(self, digest: str) -> list[str]:
        """Return the nonces of the generations with this digest."""
        return [nonce for (nonce,) in self._all("SELECT DISTINCT nonce FROM named WHERE digest = ?", (digest,))]

    def holds(self, digest: str, run: int) -> bool:
        """Return whether a run names any generation with this digest."""
        return self._one("SELECT 1 FROM named WHERE digest = ? AND run = ?", (digest, run)) is not None

    def equal(self) -> Iterator[Equal]:
        """Yield each digest that has more than one generation, with its generations."""
        several = "SELECT digest FROM named GROUP BY digest HAVING min(nonce) < max(nonce)"
        for (digest,) in self._all(several):
            found: dict[str, list[int]] = {}
            for nonce, run in self._all("SELECT nonce, run FROM named WHERE digest = ?", (digest,)):
                found.setdefault(nonce, []).append(run)
            yield Equal(digest, found)

    def pages(self) -> Iterator[list[tuple[str, str, int]]]:
        """Yield the generations in order, in lists of at most `PAGE`."""
        page: list[tuple[str, str, int]] = []
        for each in self:
            page.append(each)
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page

    def _one(self, text: str, parameters: Any = ()) -> Any:
        self._sort()
        return self._db.execute(text, parameters).fetchone()

    def _number(self, text: str) -> int:
        return int(self._one(text)[0] or 0)

    def _all(self, text: str, parameters: tuple[str, ...] = ()) -> Iterator[Any]:
        self._sort()
        return self._db.execute(text, parameters)

    def _sort(self) -> None:
        """Merge the added rows into the sorted table. The rows are sorted before they are inserted, since it is slow to
        insert at random places in a tree."""
        if self._is_open:
            with room():
                self._db.execute(
                    "INSERT OR IGNORE INTO named SELECT digest, nonce, run, size FROM fresh ORDER BY digest, nonce, run"
                )
                self._db.execute("COMMIT")
                self._db.execute("DROP TABLE fresh")
            self._is_open = False
