"""Who gets the results of runs that are forgotten: a task with the same key, of a run that is kept."""

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
    """For each result of the runs that are past, the newest kept run that used it with the task that did, or none.

    Kept in a private database on the disk, as an inventory is.
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
        for run in beating(lease, sorted(kept)):  # so that the newest has the last word
            keys = ((run, task, key) for task, key, _ in scan.outs(db, run) if key is not None)
            self._db.executemany("UPDATE made SET heir = ?, task = ? WHERE key = ?", keys)
        self._db.execute("COMMIT")
        self._db.execute("CREATE INDEX made_by ON made (run)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def of(self, run: int) -> list[tuple[str, int | None, str | None]]:
        """Return the keys of the results that a run made, each with the number of the run that is to have it, and its
        task."""
        found: list[tuple[str, int | None, str | None]] = self._db.execute(
            "SELECT key, heir, task FROM made WHERE run = ?", (run,)
        ).fetchall()
        return found
