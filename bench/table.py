"""The form that all benchmarks share: a row has what was measured, its floor, and the bar that it is held against."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct, structs

Unit = Literal["s", "MiB"]
HEADS = ("what", "measured", "floor", "ratio", "bar", "met")


class Row(Struct, frozen=True, kw_only=True):
    """One number. `measured`, `floor` and `bar` are in `unit`; it is met if what was measured is not above the bar.

    `floor_is` says in words what the floor is, and `bar_is` what the bar is made of where it is no plain number.
    """

    what: str
    measured: float
    bar: float
    floor: float | None = None
    floor_is: str = ""
    bar_is: str = ""
    unit: Unit = "s"
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar holds."""
        return self.measured <= self.bar

    @property
    def ratio(self) -> float | None:
        """How many times the floor it took."""
        return self.measured / self.floor if self.floor else None


class Report(Struct, frozen=True, kw_only=True):
    """All rows of one go, and how busy the machine was then: the load, over a minute, before and after."""

    python: str
    cpus: int
    load_before: float
    load_after: float
    rows: tuple[Row, ...]


def amount(value: float, unit: Unit) -> str:
    """Write a number with its unit, at three digits.

    >>> amount(0.00021, "s"), amount(0.31, "s"), amount(2.5, "s"), amount(512.34, "MiB")
    ('0.210 ms', '310 ms', '2.50 s', '512 MiB')
    """
    if unit == "MiB":
        return f"{value:.0f} MiB"
    if abs(value) >= 1:
        return f"{value:.2f} s"
    ms = value * 1000
    return f"{ms:.0f} ms" if abs(ms) >= 100 else f"{ms:.1f} ms" if abs(ms) >= 10 else f"{ms:.3f} ms"


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as the words of the table."""
    bar = amount(row.bar, row.unit)
    return (
        row.what,
        amount(row.measured, row.unit),
        "" if row.floor is None else amount(row.floor, row.unit),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        f"{bar} = {row.bar_is}" if row.bar_is else bar,
        "yes" if row.met else "NO",
    )


def text(report: Report) -> str:
    """Return the report as text: the table, then what each floor is."""
    lines = [HEADS, *map(cells, report.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    shown = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    shown.append("")
    shown += [f"{row.what}: {_told(row)}" for row in report.rows if _told(row)]
    load = f"load {report.load_before:.1f} before and {report.load_after:.1f} after"
    shown.append(f"Python {report.python}, {report.cpus} cpus, {load}")
    return "\n".join(shown)


def json(report: Report) -> bytes:
    """Return the report as JSON, with what follows from the numbers."""
    rows = [{**structs.asdict(row), "ratio": row.ratio, "met": row.met} for row in report.rows]
    return msgspec.json.encode({**structs.asdict(report), "rows": rows})


def report(rows: Iterable[Row]) -> Report:
    """Take the rows, one by one as they are measured, between two looks at the machine's load."""
    before = os.getloadavg()[0]
    measured = tuple(rows)
    return Report(
        python=platform.python_version(),
        cpus=os.cpu_count() or 1,
        load_before=before,
        load_after=os.getloadavg()[0],
        rows=measured,
    )


def _told(row: Row) -> str:
    parts: Sequence[str] = (f"the floor is {row.floor_is}" if row.floor_is else "", row.note)
    return "; ".join(part for part in parts if part)
