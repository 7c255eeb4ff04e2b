"""The report of a cleaning: what each rule changed, with examples before and after."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from headrace.spec.noun import Noun
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.ingest.contract.finding import cell

EXAMPLES = 5
LIMITS = ("What is filled by a mean or a median is told by all rows: split first, where a test must not know of them.",)


class Change(Noun, frozen=True, kw_only=True):
    """What a rule did to a column (or to rows): values that it changed or made null, rows that it took away or put
    aside, and examples: the row, the value before and after."""

    rule: str
    column: str
    changed: int = 0
    nulled: int = 0
    dropped: int = 0
    aside: int = 0
    examples: Sequence[tuple[int, Any, Any]] = ()


def report_of(before: int, after: int, quarantined: int, changes: Sequence[Change]) -> Report:
    """Give the report."""
    facts = (
        Fact(name="rows given", value=before, unit="rows"),
        Fact(name="rows left", value=after, unit="rows"),
        Fact(name="quarantined", value=quarantined, unit="rows"),
        Fact(name="values changed", value=sum(each.changed for each in changes)),
    )
    rows = tuple((e.rule, e.column, e.changed, e.nulled, e.dropped, e.aside) for e in changes)
    heads = ("rule", "column", "values changed", "made null", "rows dropped", "rows put aside")
    grids = [Grid(title="What changed", columns=heads, rows=rows)]
    grids += [_examples(each) for each in changes if each.examples]
    return Report(
        title="Cleaning",
        about=f"{before:,} rows, cleaned by {len({each.rule for each in changes})} rules.",
        facts=facts,
        grids=tuple(grids),
        limits=LIMITS,
    )


def _examples(change: Change) -> Grid:
    rows = tuple((row, _seen(before), _seen(after)) for row, before, after in change.examples)
    count = change.changed
    return Grid(
        title=f"Rule {change.rule} on {change.column}",
        columns=("row", "before", "after"),
        rows=rows,
        note=f"the first {len(rows)} of {count:,}" if count > len(rows) else "",
    )


def _seen(value: Any) -> str:
    """Give a value as a cell in which blanks are seen that pages and terminals swallow."""
    if not isinstance(value, str):
        return cell(value)
    return _SWALLOWED.sub(lambda blanks: "␣" * len(blanks[0]), cell(value))


_SWALLOWED = re.compile("^ +| +$| {2,}")
