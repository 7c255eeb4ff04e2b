"""A report as plain text, for a terminal or a log."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from headrace.report.markup import legal
from headrace.report.numbers import cell, interval_name, interval_of, value_of
from headrace.report.page import BETTER, HOLDS, STANDINGS
from headrace.spec.report import Fact, Report


def text(report: Report, *, width: int = 100) -> str:
    """Return a report as lines of text without colour. Prose is wrapped to `width` characters; tables may be wider."""
    return "\n".join(_lines(report, width)) + "\n"


def _lines(report: Report, width: int) -> Iterator[str]:
    words = STANDINGS[report.passed][1]
    yield f"{_clean(report.title)}{f': {words}' if words else ''}"
    if report.about:
        yield from _filled(report.about, width)
    for verdict in report.verdicts:
        yield ""
        yield f"{HOLDS[verdict.holds][1]}: {_clean(verdict.rule)}"
        yield from _filled(verdict.why, width, "  ")
    if report.facts:
        yield ""
        yield from columns(("", "value", interval_name(report), ""), [_fact(each) for each in report.facts])
    for grid in report.grids:
        yield ""
        yield _clean(grid.title)
        yield from columns(grid.columns, [[cell(each) for each in row] for row in grid.rows])
        yield from _filled(grid.note, width) if grid.note else ()
    if report.drawings:
        yield ""
        yield f"figures (on the page): {', '.join(_clean(each.title) for each in report.drawings)}"
    if report.limits:
        yield ""
        yield "what these numbers can't tell:"
        for limit in report.limits:
            yield from _filled(limit, width, "  ")


def _fact(fact: Fact) -> Sequence[str]:
    return fact.name, value_of(fact), interval_of(fact), fact.why or BETTER[fact.better]


def columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, with each cell padded to the width of its column."""
    lines = [[_clean(each) for each in line] for line in (names, *rows)]
    widths = [max(map(_width, column), default=0) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (each + " " * (wide - _width(each)) for each, wide in zip(line, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()


def _filled(words: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(_clean(words), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _clean(words: str) -> str:
    """Return a text on one line, without control characters."""
    return " ".join(legal(words).split())


def _width(words: str) -> int:
    """Return the width of a text in terminal cells."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in words
    )
