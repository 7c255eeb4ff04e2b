"""The erasures of persons, as the ledger records them."""

from __future__ import annotations

from msgspec import Struct

from headrace.errors import NotFoundError, near
from headrace.inspect.views import Views
from headrace.ledger.erasures import told_in
from headrace.ledger.records import ErasedRecord, ErasureRecord


class ErasureView(Struct, frozen=True, kw_only=True):
    """An erasure for display: of whom isn't known any more.

    `columns` are the columns that had the person's key. `done` is when nothing was left to do (Unix seconds), or None.
    Of the predictions, `unreadable` belong to requests that nobody can read, so they might be about the person.
    `unsealed` are predictions that were left out when they were sealed, as far as its host had them. `tables` are
    outputs of tasks that consist of old parts of the log. `below` are outputs that were made from erased tables, and
    stay; `unread` are tables that couldn't be searched. `erased` are the blobs that were erased, if they were asked
    for.
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
