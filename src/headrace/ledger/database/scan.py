"""Reads large tables in pages, in the order of their keys, so that memory doesn't grow with the number of rows.

Within `db.snapshot()`, all pages show the database at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import PLAIN, Reader, columns

T = TypeVar("T")

PAGE = 2000

Row = tuple[Any, ...]


def run_row(db: Database, number: int) -> Row:
    """Return all columns of a run's row in the ledger."""
    found: Row = db.execute(db.sql.RUN_ROW, (number,)).fetchone()
    return found


def events(db: Database, run: int) -> Iterator[tuple[int, bytes]]:
    """Yield a run's events: the number and the encoded body of each."""
    seq = 0
    while rows := db.execute(db.sql.EVENTS_FROM, (run, seq, PAGE)).fetchall():
        yield from rows
        seq = rows[-1][0] + 1


def tasks(db: Database, run: int, reader: Reader[T]) -> Iterator[T]:
    """Yield the rows of a run's tasks, with all columns, as the objects that `reader` makes."""
    return pages(db, reader, db.sql.TASKS_FROM, (run,), name="")


def outs(db: Database, run: int) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield the outputs of a run's tasks: the task's name, its key, and the encoded output."""
    return pages(db, PLAIN, db.sql.OUTS_FROM, (run,), name="")


def blobs(db: Database, run: int) -> Iterator[tuple[str, str, int, float]]:
    """Yield the generations that a run names: digest, nonce, size in bytes, and the time since when the run has named
    it (Unix seconds)."""
    return pages(db, PLAIN, db.sql.BLOBS_FROM, (run,), digest="", nonce="")


def results(db: Database, reader: Reader[T]) -> Iterator[T]:
    """Yield the rows of all results, with all columns, as the objects that `reader` makes."""
    return pages(db, reader, db.sql.RESULTS_FROM, (), key="")


def chunks(rows: Iterable[T], size: int = PAGE) -> Iterator[list[T]]:
    """Yield the rows in lists of at most `size`."""
    rest = iter(rows)
    while chunk := list(islice(rest, size)):
        yield chunk


def pages(
    db: Database,
    reader: Reader[T],
    text: str,
    fixed: Sequence[object],
    but: Callable[..., bool] | None = None,
    **after: object,
) -> Iterator[T]:
    """Yield rows page by page, in the order of their keys, as the objects that `reader` makes.

    `text` is the statement that reads a page, and `fixed` are its first parameters. `after` has the columns of the key,
    each with a value: only rows with a later key are read. A row is left out if `but` returns True for its key.
    """
    while True:
        with db.troubles():  # around the query only, so that errors of the caller pass unchanged
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
