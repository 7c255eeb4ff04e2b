"""Finds the new owner of each result of a forgotten run: a task with the same key, in a run that is kept."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Self

from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.exclusive import beating
from headrace.ledger.inventory import room, scratch


class Heirs:
    """The new owners of the results of runs that will be forgotten (`past`). The new owner of a result is the newest of
    the `kept` runs that have an output under the result's key.

    The data is kept in a private temporary database on disk, as in `Inventory`.
    """

    def __init__(self, db: Database, lease: Lease, past: Container[int], kept: Iterable[int]) -> None:
        self._db = scratch()
        try:
            with room():
                self._gather(db, lease, past, kept)
        except BaseException:
            self._db.close()
            raise

    def _gather(self, db: Database, lease: Lease, past: Container[int], kept: Iterable[int]) -> None:
        self._db.execute("CREATE TABLE made (key TEXT PRIMARY KEY, run INTEGER, heir INTEGER, task TEXT) WITHOUT ROWID")
        self._db.execute("BEGIN")
        made = ((each.key, each.run) for each in beating(lease, records.results(db)) if each.run in past)
        self._db.executemany("INSERT INTO made (key, run) VALUES (?, ?)", made)
        for run in beating(lease, sorted(kept)):  # the newest run comes last, and replaces earlier ones
            keys = ((run, task, key) for task, key, _ in scan.outs(db, run) if key is not None)
            self._db.executemany("UPDATE made SET heir = ?, task = ? WHERE key = ?", keys)
        self._db.execute("COMMIT")
        self._db.execute("CREATE INDEX made_by ON made (run)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def of(self, run: int) -> list[tuple[str, int | None, str | None]]:
        """Return the keys of a run's results, each with the number of the run that inherits the result, and the
        task in that run. Both are None if no run inherits the result."""
        found: list[tuple[str, int | None, str | None]] = self._db.execute(
            "SELECT key, heir, task FROM made WHERE run = ?", (run,)
        ).fetchall()
        return found
