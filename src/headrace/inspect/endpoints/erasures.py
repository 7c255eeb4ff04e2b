"""The erasures of persons, as the ledger records them."""

from __future__ import annotations

from msgspec import Struct

from headrace.errors import NotFoundError, near
from headrace.inspect.views import Views
from headrace.ledger.erasures import told_in
from headrace.ledger.records import ErasedRecord, ErasureRecord


class ErasureView(Struct, frozen=True, kw_only=True):
    """An erasure for display. It doesn't say who the person was, because this isn't known any more.

    `columns` are the columns that had the person's key. `done` is when the erasure was complete (Unix seconds), or
    None. `predictions` and `labels` are numbers of erased rows, and `parts` is the number of parts of the log that had
    them. `unreadable` is the number of erased predictions whose requests nobody can read, so that they may or may not
    be about the person. `unsealed` is the number of predictions that weren't sealed when the erasure was asked for, and
    were left out later. Only those on the host of the erasure are counted. `tables` are outputs of tasks that consist
    of old parts of the log. `below` are outputs that were made from erased tables; they are kept. `unread` are tables
    that couldn't be searched. `erased` are the blobs that were erased; it is empty in a list of erasures.
    """

    erasure: str
    endpoint: str
    columns: tuple[str, ...]
    at: float
    by: str
    why: str
    done: float | None
    predictions: int
    labels: int
    unreadable: int
    parts: int
    unsealed: int
    tables: tuple[str, ...]
    below: tuple[str, ...]
    unread: tuple[str, ...]
    erased: tuple[ErasedRecord, ...] = ()


def erasures(views: Views) -> list[ErasureView]:
    """Return all erasures, the newest first."""
    return [_view(row) for row in views.erasures()]


def erasure(views: Views, named: str) -> ErasureView:
    """Return an erasure with the blobs that it erased.

    Raises:
        NotFoundError: there is no such erasure.
    """
    rows = {row.erasure: row for row in views.erasures()}
    if named not in rows:
        raise NotFoundError(f"there is no erasure `{named:.80}`", hint=near(named, list(rows), "the newest are"))
    return _view(rows[named], tuple(views.erased_by(named)))


def _view(row: ErasureRecord, erased: tuple[ErasedRecord, ...] = ()) -> ErasureView:
    told = told_in(row)
    return ErasureView(
        erasure=row.erasure,
        endpoint=row.endpoint,
        columns=tuple(row.columns.split("\n")),
        at=row.at,
        by=row.by,
        why=row.why,
        done=row.done,
        predictions=told.predictions,
        labels=told.labels,
        unreadable=told.unreadable,
        parts=told.parts,
        unsealed=told.unsealed,
        tables=told.tables,
        below=told.below,
        unread=told.unread,
        erased=erased,
    )
