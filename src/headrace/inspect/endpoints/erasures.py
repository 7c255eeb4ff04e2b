"""The erasures of persons, as the ledger records them."""

from __future__ import annotations

from headrace.errors import NotFoundError, near
from headrace.inspect.views import Views
from headrace.ledger.erasures import Outcome, erasure_of, told_in
from headrace.ledger.records import ErasedRecord, ErasureRecord


class ErasureView(Outcome, frozen=True, kw_only=True):
    """An erasure for display. It doesn't say who the person was, because this isn't known any more.

    `columns` are the columns that had the person's key. `until` is the time (Unix seconds) until which requests about
    the person are left out when they are sealed. `done` is when the erasure was complete, or None. `tables` has only
    tables that consist of old parts of the log. `erased` are the blobs that were erased; it is empty in a list of
    erasures.
    """

    erasure: str
    endpoint: str
    columns: tuple[str, ...]
    at: float
    until: float
    by: str
    why: str
    done: float | None
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
    return ErasureView(
        **told_in(row).fields,
        erasure=row.erasure,
        endpoint=row.endpoint,
        columns=tuple(row.columns.split("\n")),
        at=row.at,
        until=erasure_of(row).until,
        by=row.by,
        why=row.why,
        done=row.done,
        erased=erased,
    )
