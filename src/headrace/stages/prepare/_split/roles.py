"""What the columns of a table are, for a split."""

from __future__ import annotations

from typing import NamedTuple


class Roles(NamedTuple):
    """Names of columns: what identifies a row, what belongs together, when, what is to be spread evenly, what is to be
    learned, and long texts."""

    key: tuple[str, ...]
    group: tuple[str, ...]
    time: str | None
    stratum: tuple[str, ...]
    target: str | None
    text: tuple[str, ...]
