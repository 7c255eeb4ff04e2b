"""A report as one self-contained HTML page: without network access or scripts, and with all data escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.report.markup import Child, Markup, join, tag, ticked
from headrace.report.numbers import cell, interval_name, interval_of, value_of
from headrace.spec.report import Cell, Drawing, Fact, Grid, Report, Verdict

STYLE = Path(__file__).with_name("page.css")
STANDINGS = {True: ("passed", "✓ passed"), False: ("refused", "✗ not passed"), None: ("", "")}
HOLDS = {True: ("passed", "✓ holds"), False: ("refused", "✗ fails"), None: ("unsure", "? undecided")}
_NUMBER = re.compile(r"[-+]?\d[\d,.]*($|%| to | \[| ([KMGT]i)?B$)")
BETTER = {"higher": "higher is better", "lower": "lower is better", "": ""}


def html(report: Report) -> str:
    """Return a report as a complete HTML page."""
    return document(report.title, [html_body(report)])


def document(title: str, bodies: Iterable[Markup]) -> str:
    """Return a complete HTML page with a title and with bodies, such as the results of `html_body`.

    Text that isn't `Markup`, such as the title, is escaped.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        tag("title", title),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag("body", tag("main", bodies), tag("footer", tag("p", "Made by Headrace.")))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def html_body(report: Report, *, level: int = 1) -> Markup:
    """Return a report as HTML for the body of a page (`document`). `level` is the heading level of its title, 1 to
    4."""
    return tag("article", _parts(report, level), class_="report")


def _parts(report: Report, level: int) -> Iterator[Markup]:
    yield tag("header", _title(report, level), tag("p", ticked(report.about), class_="about") if report.about else None)
    under = f"h{level + 1}"
    if report.verdicts:
        yield tag("section", tag(under, "Rules"), tag("ul", map(_verdict, report.verdicts), class_="verdicts"))
    if report.facts:
        yield tag("section", tag(under, "Numbers"), _facts(report))
    if report.drawings:
        yield tag("section", tag(under, "Figures"), tag("div", map(_figure, report.drawings), class_="figures"))
    for grid in report.grids:
        yield tag("section", tag(under, ticked(grid.title)), _grid(grid))
    if report.limits:
        limits = (tag("li", ticked(each)) for each in report.limits)
        yield tag("section", tag(under, "What these numbers can't tell"), tag("ul", limits, class_="limits"))


def _title(report: Report, level: int) -> Markup:
    kind, words = STANDINGS[report.passed]
    badge = tag("span", words, class_=f"state {kind}") if words else None
    return tag(f"h{level}", ticked(report.title), " " if badge else None, badge)


def _verdict(verdict: Verdict) -> Markup:
    kind, words = HOLDS[verdict.holds]
    return tag(
        "li",
        tag("p", tag("span", words, class_=f"state {kind}"), " ", tag("code", verdict.rule)),
        tag("p", ticked(verdict.why), class_="why"),
        class_=kind,
    )


def _facts(report: Report) -> Markup:
    """Return the facts as a table. The column of intervals, and the column that says whether higher or lower values are
    better, are each left out if they are empty."""
    intervals = any(interval_of(fact) for fact in report.facts)
    better = any(fact.better for fact in report.facts)
    names = ["", "value", *[interval_name(report)] * intervals, *["reads"] * better]
    rows = (tag("tr", _fact(fact, intervals=intervals, better=better)) for fact in report.facts)
    return _table(f"{report.title}: numbers", names, rows, numbers={1, 2} if intervals else {1})


def _fact(fact: Fact, *, intervals: bool, better: bool) -> Iterator[Markup]:
    yield tag("th", ticked(fact.name), scope="row")
    if fact.why:
        yield tag("td", value_of(fact), class_="number")
        yield tag("td", ticked(fact.why), class_="why", colspan=intervals + better or None)
        return
    yield tag("td", value_of(fact), class_="number")
    if intervals:
        yield tag("td", interval_of(fact), class_="number")
    if better:
        yield tag("td", BETTER[fact.better], class_="why")


def _grid(grid: Grid) -> Iterator[Markup]:
    numbers = {place for place in range(len(grid.columns)) if _is_numeric([row[place] for row in grid.rows])}
    rows = (tag("tr", _row(row, numbers)) for row in grid.rows)
    yield _table(grid.title, grid.columns, rows, numbers=numbers)
    if grid.note:
        yield tag("p", ticked(grid.note), class_="note")


def _row(row: tuple[Cell, ...], numbers: set[int]) -> Iterator[Markup]:
    for place, value in enumerate(row):
        name = "th" if place == 0 else "td"
        yield tag(
            name,
            ticked(cell(value)),
            class_="number" if place in numbers else None,
            scope="row" if place == 0 else None,
        )


def _is_numeric(column: list[Cell]) -> bool:
    """Return whether all cells that have a value are numbers, or texts that begin with a number, such as `1 to 3`."""
    values = [value for value in column if value not in (None, "", "-", "undefined", "refused")]
    return bool(values) and all(
        (isinstance(value, int | float) and not isinstance(value, bool))
        or (isinstance(value, str) and _NUMBER.match(value) is not None)
        for value in values
    )


def _table(caption: str, names: Iterable[str], rows: Iterable[Markup], *, numbers: set[int]) -> Markup:
    heads: Child = (
        tag("th", ticked(name), scope="col", class_="number" if place in numbers else None)
        for place, name in enumerate(names)
    )
    table = tag(
        "table",
        tag("caption", ticked(caption), class_="unseen"),
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
    )
    return tag("div", table, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _figure(drawing: Drawing) -> Markup:
    # An image runs no scripts, and its ids can't collide with other ids of the page.
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawing.svg.encode()).decode()}"
    words = join([tag("strong", ticked(drawing.title)), ": " if drawing.caption else None, ticked(drawing.caption)])
    return tag(
        "figure", tag("img", src=source, alt=f"{drawing.title}. {drawing.caption}".strip()), tag("figcaption", words)
    )
