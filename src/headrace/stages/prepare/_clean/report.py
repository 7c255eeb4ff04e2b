"""The report of a cleaning: what each rule lost and changed, with examples before and after. Losses come first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headrace.spec.noun import Noun
from headrace.spec.report import Cell, Fact, Grid, Report
from headrace.stages.ingest._check.finding import cell, share

EXAMPLES = 5
FITTED = "Means and medians that fill gaps come from all rows: split first if test rows must not affect them."


class Example(NamedTuple):
    """A value before and after a rule, its row number, and what happened to it (`fate`).

    If the row was removed, `before` has the row's first few values.
    """

    row: int
    before: Any
    after: Any
    fate: str


class Change(Noun, frozen=True, kw_only=True):
    """The effects of a rule on a column, or on whole rows.

    `nulled`, `filled`, `changed` and `read` count the values that were made null, filled, changed, or read as another
    type (such as a text as a number). `dropped` and `aside` count the rows that were dropped or quarantined. Rows may
    also be quarantined because the rule couldn't read a value. Examples of losses come before other examples.
    """

    rule: str
    column: str
    nulled: int = 0
    aside: int = 0
    dropped: int = 0
    filled: int = 0
    changed: int = 0
    read: int = 0
    examples: Sequence[Example] = ()

    @property
    def losses(self) -> int:
        """The number of values and rows that are lost."""
        return self.nulled + self.aside + self.dropped


def put_aside(quarantined: int, given: int) -> str:
    """Return a warning that counts the quarantined rows.

    >>> put_aside(44, 1_000)
    '44 of 1,000 rows (4.4%) are put aside, into `quarantine`: see the report'
    """
    part = f"{quarantined:,} of {given:,} rows ({share(quarantined, given)})"
    return f"{part} are put aside, into `quarantine`: see the report"


def report_of(
    title: str,
    about: str,
    changes: Sequence[Change],
    *,
    before: int,
    after: int,
    quarantined: int,
    unseen: Mapping[str, Sequence[tuple[str, int]]],
    limits: Sequence[str],
) -> Report:
    """Return the report of a cleaning.

    `unseen` has, by column, the values that aren't among the column's categories, with their counts.
    """
    strange = {name: sum(count for _, count in values) for name, values in unseen.items() if values}
    facts = (
        Fact(name="rows given", value=before, unit="rows"),
        Fact(name="rows left", value=after, unit="rows"),
        Fact(name="rows dropped", value=sum(change.dropped for change in changes), unit="rows"),
        Fact(name="quarantined", value=quarantined, unit="rows"),
        Fact(name="values made null", value=sum(change.nulled for change in changes)),
        *(Fact(name=f"unseen values of {name}", value=count) for name, count in strange.items()),
        Fact(name="values filled", value=sum(change.filled for change in changes)),
        Fact(name="values changed", value=sum(change.changed for change in changes)),
        Fact(name="values read as another type", value=sum(change.read for change in changes)),
    )
    rows = tuple((c.rule, c.column, c.nulled, c.aside, c.dropped, c.filled, c.changed, c.read) for c in changes)
    heads = ("rule", "column", "made null", "rows put aside", "rows dropped", "filled", "changed", "read")
    grids = [Grid(title="What was lost and changed", columns=heads, rows=rows)]
    grids += [_unseen(name, unseen[name]) for name in strange]
    grids += [_examples(change) for change in sorted(changes, key=lambda c: not c.losses) if change.examples]
    return Report(title=title, about=about, facts=facts, grids=tuple(grids), limits=tuple(limits))


def _examples(change: Change) -> Grid:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (each.row, _seen(each.before), "" if each.fate == "dropped" else _seen(each.after), each.fate)
        for each in change.examples
    )
    count = change.losses + change.filled + change.changed + change.read
    return Grid(
        title=f"Rule {change.rule} on {change.column or 'rows'}",
        columns=("row", "before", "after", "what became of it"),
        rows=rows,
        note=f"{len(rows)} of {count:,}, losses first" if count > len(rows) else "",
    )


def _unseen(name: str, values: Sequence[tuple[str, int]]) -> Grid:
    return Grid(
        title=f"Values of {name} that weren't there when the preparation was made",
        columns=("value", "rows"),
        rows=tuple((_seen(value), count) for value, count in values[:EXAMPLES]),
        note=f"{EXAMPLES} of {len(values):,}" if len(values) > EXAMPLES else "",
    )


def _seen(value: Any) -> str:
    """Return a value as the text of a cell. Blanks that pages and terminals hide are replaced by visible signs."""
    if not isinstance(value, str):
        return cell(value)
    return _SWALLOWED.sub(lambda blanks: "␣" * len(blanks[0]), cell(value))


_SWALLOWED = re.compile("^ +| +$| {2,}")
