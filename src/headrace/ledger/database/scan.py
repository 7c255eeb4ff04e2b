"""Going over a ledger's rows some at a time, each table in the order of its key, so that memory doesn't grow with them.

Within `db.snapshot()` it is all of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headrace.ledger.database.database import Database

PAGE = 2000

Row = tuple[Any, ...]


def runs(db: Database) -> list[Row]:
    """Give all runs, the oldest first: number, id, pipeline, state, created, ended, bundle."""
    return db.execute(db.sql.ALL_RUNS).fetchall()


def run_row(db: Database, number: int) -> Row:
    """Give all columns of a run's own row."""
    found: Row = db.execute(db.sql.RUN_ROW, (number,)).fetchone()
    return found


def events(db: Database, run: int) -> Iterator[tuple[int, bytes]]:
    """Go over a run's events: each number with its bytes."""
    seq = 0
    while rows := db.execute(db.sql.EVENTS_FROM, (run, seq, PAGE)).fetchall():
        yield from rows
        seq = rows[-1][0] + 1


def tasks(db: Database, run: int) -> Iterator[Row]:
    """Go over all columns of the rows of a run's tasks."""
    return _pages(db, db.sql.TASKS_FROM, (run,), ("",), (1,))


def outs(db: Database, run: int) -> Iterator[tuple[str, str | None, bytes]]:
    """Go over the outputs of a run's tasks: name, key, encoded output."""
    return _pages(db, db.sql.OUTS_FROM, (run,), ("",), (0,))


def blobs(db: Database, run: int) -> Iterator[tuple[str, str, int, float]]:
    """Go over the generations that a run names: digest, nonce, size in bytes, since when."""
    return _pages(db, db.sql.BLOBS_FROM, (run,), ("", ""), (0, 1))


def results(db: Database) -> Iterator[Row]:
    """Go over the results: key, run, task, at, unusable, encoded output."""
    return _pages(db, db.sql.RESULTS_FROM, (), ("",), (0,))


def cursors(db: Database) -> Iterator[Row]:
    """Go over all columns of the cursors, each of their versions; Headrace's own notes are not among them."""
    for row in _pages(db, db.sql.CURSORS_FROM, (), ("", -1), (0, 1)):
        if not row[0].startswith("headrace."):
            yield row


def _pages(
    db: Database, text: str, fixed: Sequence[object], start: Sequence[object], key: Sequence[int]
) -> Iterator[Any]:
    after = start
    while True:
        with db.troubles():  # here, so that nobody who takes the rows in takes its troubles for their own
            rows = db.execute(text, (*fixed, *after, PAGE)).fetchall()
        yield from rows
        if len(rows) < PAGE:
            return
        after = [rows[-1][place] for place in key]
