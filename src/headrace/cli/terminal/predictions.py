"""Prints predictions of endpoints on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say_styled, tell
from headrace.inspect.endpoints.predictions import LogView
from headrace.report.marks import printable

LONGEST = 60


def say_logs(logs: Sequence[LogView]) -> None:
    """Print a line for each endpoint: how many predictions it has, and of which time."""
    heads = ["endpoint", "predictions", "parts", "first", "last", "not yet sealed"]
    rows: list[list[Cell]] = [
        [
            printable(each.endpoint),
            f"{each.predictions:,}",
            f"{each.parts:,}",
            _time(each.first),
            _time(each.last),
            f"{each.unsealed:,}" if each.unsealed else "",
        ]
        for each in logs
    ]
    for line in table(heads, rows, numbers=(1, 2, 5), spare=("parts", "first")):
        say_styled(line)


def say_predictions(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """Print a line for each prediction. `count` is how many there are, of which `rows` are the last."""
    heads = ["id", "at", "variant", "version", "input", "output"]
    lines: list[list[Cell]] = [
        [
            row["id"],
            f"{row['at'].astimezone():%Y-%m-%d %H:%M:%S}",
            printable(row["variant"]),
            printable(row["version"]),
            _brief(row["input"]),
            _brief(row["output"]) if row["output"] is not None else printable(row["why"]),
        ]
        for row in rows
    ]
    for line in table(heads, lines, numbers=(), spare=("variant", "version", "at")):
        say_styled(line)
    if count > len(rows):
        tell(f"these are the last {len(rows)} of {count:,}: `--to FILE` writes all of them")


def _time(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _brief(value: Any) -> str:
    text = json.dumps({name: each for name, each in (value or {}).items() if each is not None}, default=str)
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")
