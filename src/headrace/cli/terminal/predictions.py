"""Prints predictions of endpoints, and their labels, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say_styled, tell
from headrace.inspect.endpoints.labels import LabelsView
from headrace.inspect.endpoints.predictions import BatchView, LogView
from headrace.report.marks import printable

LONGEST = 60
DIGITS = 12
NAMELESS = "-"
"""The name that is shown for batches that belong to no endpoint."""
STATES = ("recorded", "counting", "repeated", "corrected", "unknown", "withdrawn")
"""The states in which labels are counted: fields of a `SourceView`."""


def say_logs(logs: Sequence[LogView]) -> None:
    """Print a line for each endpoint: how many predictions it has and when they were made, how many labels, and how
    many batches with how many rows."""
    heads = ["endpoint", "predictions", "parts", "first", "last", "not yet sealed", "labels", "batches", "their rows"]
    rows: list[list[Cell]] = [
        [
            printable(each.endpoint) or NAMELESS,
            f"{each.predictions:,}",
            f"{each.parts:,}",
            _time(each.first),
            _time(each.last),
            f"{each.unsealed:,}" if each.unsealed else "",
            f"{each.labels:,}" if each.labels else "",
            f"{each.batches:,}" if each.batches else "",
            f"{each.batch_rows:,}" if each.batches else "",
        ]
        for each in logs
    ]
    for line in table(heads, rows, numbers=(1, 2, 5, 6, 7, 8), spare=("parts", "first")):
        say_styled(line)


def say_predictions(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """Print a line for each prediction. `rows` are the last of all `count` predictions. Columns of labels are shown if
    the rows have them."""
    heads = ["id", "at", "variant", "version", "input", "output", "label", "source", "labelled"]
    lines: list[list[Cell]] = [
        [
            row["id"],
            f"{row['at'].astimezone():%Y-%m-%d %H:%M:%S}",
            printable(row["variant"]),
            printable(row["version"]),
            _brief(row["input"]),
            _brief(row["output"]) if row["output"] is not None else printable(row["why"] or ""),
            _label(row.get("label")),
            printable(row.get("label_source") or ""),
            "" if (at := row.get("labelled_at")) is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}",
        ]
        for row in rows
    ]
    for line in table(heads, lines, numbers=(), spare=("variant", "version", "at", "labelled", "source")):
        say_styled(line)
    if count > len(rows):
        tell(f"these are the last {len(rows)} of {count:,}: `--to FILE` writes all of them")


def say_labels(labels: LabelsView) -> None:
    """Print a line for each source of labels, and one for each withdrawal."""
    sources: list[list[Cell]] = [
        [printable(each.source), *(f"{count:,}" if (count := getattr(each, state)) else "" for state in STATES)]
        for each in labels.sources
    ]
    withdrawals: list[list[Cell]] = [
        [_time(each.at), printable(each.source), printable(each.by), printable(each.why)] for each in labels.withdrawals
    ]
    for line in table(["source", *STATES], sources, numbers=(1, 2, 3, 4, 5, 6)):
        say_styled(line)
    for line in table(["withdrawn", "source", "by", "why"], withdrawals):
        say_styled(line)


def say_batches(batches: Sequence[BatchView], count: int) -> None:
    """Print a line for each batch. `batches` are the newest of all `count` batches."""
    heads = ["batch of", "version", "rows", "refused", "took", "input", "output", "run", "task"]
    rows: list[list[Cell]] = [
        [
            _time(each.at),
            "" if each.version is None else str(each.version),
            f"{each.rows:,}",
            f"{each.refused:,}" if each.refused else "",
            f"{each.seconds:,.1f} s",
            each.input[:DIGITS],
            each.output[:DIGITS],
            each.run,
            printable(each.task),
        ]
        for each in batches
    ]
    for line in table(heads, rows, numbers=(1, 2, 3, 4), spare=("took", "refused", "version")):
        say_styled(line)
    if count > len(batches):
        tell(f"these are the last {len(batches)} of {count:,} batches")


def _time(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _label(label: Any) -> str:
    text = "" if label is None else label if isinstance(label, str) else json.dumps(label)
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")


def _brief(value: Any) -> str:
    text = json.dumps({name: each for name, each in (value or {}).items() if each is not None}, default=str)
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")
