"""Prints cursors (values kept from one run to the next) on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say_styled
from headrace.inspect.value_text import cut
from headrace.operate.cursors import CursorVersion
from headrace.report.measures import bytes_text


def say_positions(versions: Sequence[CursorVersion]) -> None:
    """Print a line for each version of a cursor: its value, who set it, and when."""
    heads = ["name", "version", "value", "set", "by"]
    for line in table(heads, [_row(each) for each in versions], numbers=(1,), spare=("set",)):
        say_styled(line)


def value_text(version: CursorVersion) -> str:
    """Return a cursor's value as short text."""
    text = _brief(version)
    if version.erased:
        return f"{text} (erased by `headrace erase`)"
    return text if version.kept else f"{text} (deleted by `headrace gc`)"


def _brief(version: CursorVersion) -> str:
    if version.reached is not None:
        return cut(version.reached)
    match version.value:
        case None if version.type == "NoneType":
            return "no value"
        case None:
            return f"{version.type}, {bytes_text(version.bytes)}"
        case str(text):
            return cut(text) or "''"
        case value:
            return cut(msgspec.json.encode(value).decode())


def _row(version: CursorVersion) -> list[Cell]:
    at = "" if version.at is None else f"{datetime.fromtimestamp(version.at).astimezone():%Y-%m-%d %H:%M:%S}"
    by = f"{version.run} {version.task or ''}".rstrip() if version.run else version.by or ""
    return [version.name, str(version.version), value_text(version), at, by]
