"""Going over a ledger's rows some at a time, each table in the order of its key, so that memory doesn't grow with them.

Within `db.snapshot()` it is all of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import PLAIN, Reader, columns

T = TypeVar("T")

PAGE = 2000

Row = tuple[Any, ...]


def run_row(db: Database, number: int) -> Row:
    """Return all columns of a run's own row."""
    found: Row = db.execute(db.sql.RUN_ROW, (number,)).fetchone()
    return found


def events(db: Database, run: int) -> Iterator[tuple[int, bytes]]:
    """Go over a run's events: each number with its bytes."""
    seq = 0
    while rows := db.execute(db.sql.EVENTS_FROM, (run, seq, PAGE)).fetchall():
        yield from rows
        seq = rows[-1][0] + 1


def tasks(db: Database, run: int, reader: Reader[T]) -> Iterator[T]:
    """Go over all columns of the rows of a run's tasks."""
    return _pages(db, reader, db.sql.TASKS_FROM, (run,), name="")


def outs(db: Database, run: int) -> Iterator[tuple[str, str | None, bytes]]:
    """Go over the outputs of a run's tasks: name, key, encoded output."""
    return _pages(db, PLAIN, db.sql.OUTS_FROM, (run,), name="")


def blobs(db: Database, run: int) -> Iterator[tuple[str, str, int, float]]:
    """Go over the generations that a run names: digest, nonce, size in bytes, since when."""
    return _pages(db, PLAIN, db.sql.BLOBS_FROM, (run,), digest="", nonce="")


def results(db: Database, reader: Reader[T]) -> Iterator[T]:
    """Go over all columns of the results."""
    return _pages(db, reader, db.sql.RESULTS_FROM, (), key="")


def cursors(db: Database, reader: Reader[T]) -> Iterator[T]:
    """Go over all columns of the cursors, each of their versions; Headrace's own notes are not among them."""
    return _pages(db, reader, db.sql.CURSORS_FROM, (), name="", version=-1, but=_is_own)


def _is_own(name: str, _: int) -> bool:
    return name.startswith("headrace.")


def _pages(
    db: Database,
    reader: Reader[T],
    text: str,
    fixed: Sequence[object],
    but: Callable[..., bool] | None = None,
    **after: object,
) -> Iterator[T]:
    """Go over rows, the key of each (`after`) beyond that of the one before; leave out those whose key is one of
    `but`."""
    while True:
        with db.troubles():  # here, so that nobody who takes the rows in takes its troubles for their own
            found = db.execute(text, (*fixed, *after.values(), PAGE))
            rows = found.fetchall()
        if not rows:
            return
        names = columns(found)
        places = [names.index(name) for name in after]
        make = reader.maker(names)
        yield from (make(row) for row in rows if but is None or not but(*(row[place] for place in places)))
        if len(rows) < PAGE:
            return
        after = {name: rows[-1][place] for name, place in zip(after, places, strict=True)}
