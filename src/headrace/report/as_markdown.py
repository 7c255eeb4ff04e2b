"""A report as Markdown, for a repository, an issue or a mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from headrace.report.markup import legal
from headrace.report.numbers import cell, interval_name, interval_of, value_of
from headrace.report.page import BETTER, HOLDS, STANDINGS
from headrace.spec.report import Fact, Report

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")
_AT_START = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$)")


def markdown(report: Report, *, level: int = 1, pictures: Mapping[str, str] | None = None) -> str:
    """Return a report as Markdown, with tables in GitHub's form.

    `level` is the heading level of the title. Markdown can't contain drawings, so `pictures` maps a drawing's title to
    the path of a picture file, as in `{"Calibration": "calibration.svg"}`. If a drawing has no such file, only its
    title and caption are shown.
    """
    return "\n\n".join(_blocks(report, level, pictures or {})) + "\n"


def _blocks(report: Report, level: int, pictures: Mapping[str, str]) -> Iterator[str]:
    words = STANDINGS[report.passed][1]
    yield f"{'#' * level} {escaped(report.title)}{f' ({words})' if words else ''}"
    if report.about:
        yield escaped(report.about)
    under = "#" * (level + 1)
    if report.verdicts:
        yield f"{under} Rules"
        yield "\n".join(
            f"- **{HOLDS[each.holds][1]}**: {_code(each.rule)}. {escaped(each.why)}" for each in report.verdicts
        )
    if report.facts:
        yield f"{under} Numbers"
        yield table(("", "value", interval_name(report), ""), map(_fact, report.facts))
    if report.drawings:
        yield f"{under} Figures"
        yield "\n".join(_drawing(each.title, each.caption, pictures) for each in report.drawings)
    for grid in report.grids:
        yield f"{under} {escaped(grid.title)}"
        yield table(grid.columns, ([cell(each) for each in row] for row in grid.rows))
        if grid.note:
            yield escaped(grid.note)
    if report.limits:
        yield f"{under} What these numbers can't tell"
        yield "\n".join(f"- {escaped(each)}" for each in report.limits)


def _fact(fact: Fact) -> Sequence[str]:
    return fact.name, value_of(fact), interval_of(fact), fact.why or BETTER[fact.better]


def _drawing(title: str, caption: str, pictures: Mapping[str, str]) -> str:
    if title in pictures:
        return f"![{escaped(title)}]({pictures[title].replace(' ', '%20')})\n\n{escaped(caption)}\n"
    return f"- {escaped(title)}: {escaped(caption)}" if caption else f"- {escaped(title)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. The text of each cell is escaped and put on one line."""
    lines = [_line(columns), "|" + " --- |" * len(columns), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(each) for each in cells) + " |"


def escaped(text: str) -> str:
    """Return a text on one line, escaped so that Markdown shows it unchanged. Parts in `backticks` stay code.

    >>> escaped("a|b <i> `x_y` 2*3")
    'a\\\\|b \\\\<i\\\\> `x_y` 2\\\\*3'
    """
    parts = " ".join(legal(text).split()).split("`")
    if len(parts) % 2 == 0:
        return _plain("`".join(parts))
    return "".join(_code(part) if place % 2 and part else _plain(part) for place, part in enumerate(parts))


def _plain(text: str) -> str:
    return _AT_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", text))


def _code(text: str) -> str:
    """Return a text as Markdown code. A text with a backtick or a bar can't be code in a table, so it is escaped."""
    text = " ".join(legal(text).split())
    return _plain(text) if "`" in text or "|" in text or not text else f"`{text}`"
