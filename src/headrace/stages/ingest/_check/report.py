"""The report of a contract: counts, a verdict for each rule, and examples of rows that break it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headrace.spec.report import Fact, Grid, Report, Verdict
from headrace.stages.ingest._check.finding import EXAMPLES, Finding, cell, value_of
from headrace.stages.tables.columns import rows_at


def report_of(name: str, table: pa.Table, findings: Sequence[Finding], quarantined: int, passed: bool) -> Report:
    """Return the report of a contract; `name` is the contract's name.

    Broken rules come first, then rules that couldn't be checked, then rules that hold. Within each of these three
    groups, rules are in the contract's order.
    """
    broken = [finding for finding in findings if finding.breaks]
    findings = [
        *broken,
        *(finding for finding in findings if not finding.breaks and finding.holds is None),
        *(finding for finding in findings if not finding.breaks and finding.holds is not None),
    ]
    facts = (
        Fact(name="rows", value=len(table), unit="rows"),
        Fact(name="quarantined", value=quarantined, unit="rows", better="lower"),
        Fact(name="rules", value=len(findings)),
        Fact(name="broken rules", value=len(broken), better="lower"),
    )
    grids = [_examples(table, finding) for finding in findings if len(finding.rows)]
    rules = "1 rule" if len(findings) == 1 else f"{len(findings)} rules"
    return Report(
        title=f"Contract {name}",
        about=f"{len(table):,} rows of {table.num_columns} columns, held against {rules}.",
        passed=passed,
        facts=facts,
        verdicts=tuple(map(_verdict, findings)),
        grids=tuple(grids),
    )


def _verdict(finding: Finding) -> Verdict:
    return Verdict(rule=f"{finding.rule} ({finding.action})", holds=finding.holds, why=finding.why)


def _examples(table: pa.Table, finding: Finding) -> Grid:
    places = finding.rows[:EXAMPLES]
    piece = rows_at(table.select(list(finding.columns)), places)
    columns = [[cell(value_of(value)) for value in piece.column(name)] for name in finding.columns]
    rows = tuple((int(place), *values) for place, *values in zip(places, *columns, strict=True))
    count = len(finding.rows)
    note = f"the first {len(places)} of {count:,} rows" if count > len(places) else ""
    return Grid(title=f"What breaks {finding.rule}", columns=("row", *finding.columns), rows=rows, note=note)
