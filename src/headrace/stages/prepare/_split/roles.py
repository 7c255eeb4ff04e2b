"""The roles of a table's columns in a split."""

from __future__ import annotations

from typing import NamedTuple


class Roles(NamedTuple):
    """The names of the columns for each role.

    `key` identifies a row. Rows with the same `group` belong together. `time` is when a row happened. `stratum` is to
    be spread evenly over the parts. `target` is to be predicted. `text` are columns of long texts.
    """

    key: tuple[str, ...]
    group: tuple[str, ...]
    time: str | None
    stratum: tuple[str, ...]
    target: str | None
    text: tuple[str, ...]
