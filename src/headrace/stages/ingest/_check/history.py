"""The numbers of rows of earlier versions of a table, kept by a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.define.cursor import Cursor, advance
from headrace.define.ports import current
from headrace.errors import UsageError

KEPT = 50
"""The number of versions that the cursor keeps."""


def earlier(history: Cursor) -> Sequence[int]:
    """Return the numbers of rows of earlier versions of the table that is being checked, oldest first."""
    return [rows for digest, rows in _kept(history) if digest != _digest()]


def add(history: Cursor, rows: int) -> None:
    """Add `rows` to the cursor: the number of rows of the table that is being checked.

    If the cursor's last number came from this same table, the cursor isn't changed, so that the task's result can be
    reused.
    """
    kept, digest = _kept(history), _digest()
    if not kept or kept[-1][0] != digest:
        advance(history, [*kept, (digest, rows)][-KEPT:])


def _kept(history: Cursor) -> Sequence[tuple[str, int]]:
    kept = history.value or []
    try:
        return [(str(digest), int(rows)) for digest, rows in kept]
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"cursor `{history.name}` doesn't hold numbers of rows", hint="give contracts a cursor of their own"
        ) from error


def _digest() -> str:
    attempt = current()
    ref = None if attempt is None else attempt.ref("table")
    return "" if ref is None else ref.digest
