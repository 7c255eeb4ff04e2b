"""Plain values as people know them, and several so short that it shows where they differ."""

from __future__ import annotations

import os.path
from collections.abc import Sequence

import msgspec

from headrace.app.getting import plain_of
from headrace.app.page_values import Load
from headrace.errors import UsageError
from headrace.spec.artifact import Ref

SMALL_BYTES = 4096
READ_BYTES = 1 << 16
_PLAIN = ("json", "text", "record", "parts")
SHORT = 60
BEFORE = 12
"""How many characters stand before the first that differs."""


def value_text(ref: Ref, load: Load | None = None) -> str | None:
    """Write a plain value as people know it: text as it is, all else as JSON; None of another, and of a large one.

    With `load` values that the ledger doesn't hold are read too, and records with what tells their kinds apart.
    """
    if ref.size > (SMALL_BYTES if load is None else READ_BYTES):
        return None
    value = load(ref) if load is not None and ref.codec in _PLAIN else None
    try:
        if value is None:
            value = plain_of(ref, "")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except (UsageError, TypeError, ValueError):
        return None


def cut(text: str, limit: int = SHORT) -> str:
    """Give the beginning of a long text."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def told_apart(texts: Sequence[str | None], limit: int = SHORT) -> tuple[str | None, ...]:
    """Give texts in short: from a little before where they differ, if their beginnings would be all the same.

    >>> told_apart(["select a from x limit 1", "select a from x limit 2", None], limit=16)
    ('…rom x limit 1', '…rom x limit 2', None)
    >>> told_apart(["select a from x limit 1", None], limit=16)
    ('select a from x…', None)
    """
    there = [text for text in texts if text is not None]
    same = len(os.path.commonprefix(there))  # noqa: RUF071  characters are meant
    start = same - BEFORE if same >= limit - 1 and len(set(there)) > 1 else 0
    return tuple(None if text is None else cut(f"…{text[start:]}" if start else text, limit) for text in texts)
