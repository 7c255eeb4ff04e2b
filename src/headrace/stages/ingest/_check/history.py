"""How many rows the earlier versions of a table had, kept by a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.define.cursor import Cursor, advance
from headrace.define.ports import current
from headrace.errors import UsageError

KEPT = 50
"""So many versions are remembered."""


def earlier(history: Cursor) -> Sequence[int]:
    """Return the numbers of rows of earlier versions, the oldest first; the table that is looked at isn't one of
    them."""
    return [rows for digest, rows in _kept(history) if digest != _digest()]


def add(history: Cursor, rows: int) -> None:
    """Remember the table that is looked at. One that is the last already changes nothing, so that it can be reused."""
    kept, digest = _kept(history), _digest()
    if not kept or kept[-1][0] != digest:
        advance(history, [*kept, (digest, rows)][-KEPT:])


def _kept(history: Cursor) -> Sequence[tuple[str, int]]:
    kept = history.value or []
    try:
        return [(str(digest), int(rows)) for digest, rows in kept]
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"cursor `{history.name}` keeps something else", hint="give contracts a cursor of their own"
        ) from error


def _digest() -> str:
    attempt = current()
    ref = None if attempt is None else attempt.ref("table")
    return "" if ref is None else ref.digest
