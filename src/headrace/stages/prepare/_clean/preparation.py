"""`Preparation`: the rules of `prepare.clean` with what they learned from a table, as data to apply to other rows.

A model that was trained on a cleaned table needs rows that were cleaned in the same way. For example, gaps are filled
with the mean of the training rows, not with the mean of the new rows. So the preparation is stored with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.define.argument_check import check_table
from headrace.define.log import warn
from headrace.define.stage import ready
from headrace.errors import DataError, meant
from headrace.models.types import in_type, kind_named, plain_type
from headrace.spec.noun import Document, Noun
from headrace.spec.report import Report
from headrace.stages.ingest._check.finding import cell
from headrace.stages.ingest._files.suffixes import is_file_name
from headrace.stages.prepare._clean.report import put_aside, report_of
from headrace.stages.prepare._clean.rules import ALL, AnyRule, Deduplicate, Drop, OnColumns, Rename, Without
from headrace.stages.prepare._clean.steps import Work, on_column, rename, take_away, without
from headrace.stages.tables import engine
from headrace.stages.tables.columns import distinct, listed, rows_have

Unseen = dict[str, list[tuple[str, int]]]
SHOWN = 3


class Prepared(NamedTuple):
    """The results of preparing rows.

    Each given row is either in `table`, which keeps the order, or in `quarantine`, with its original values.
    `quarantine` also has the row number (`row`) and the rules that were broken (`broken_rules`). `unseen` counts, for
    each column in the preparation's `categories`, the rows with a value that isn't among the column's categories.
    `report` holds all results.
    """

    table: pa.Table
    quarantine: pa.Table
    report: Report
    unseen: dict[str, int]


class Step(Noun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of a preparation, with its number and the columns that it applies to.

    For a rule on all columns (`"*"`), `columns` names the columns to which the rule could be applied when the
    preparation was made. `asks` are the columns that the rule's condition names, if it has one.
    """

    name: str
    rule: AnyRule
    columns: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


class Preparation(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of `prepare.clean` with what they learned from a table, as data that is safe to load.

    The result for a row depends on that row alone, so a single row is prepared as it would be among many. `columns` has
    the types of the columns in the table that the rules learned from. `categories` has the values of each text column
    with few different values. `left_out` names the rules that look at more than one row. These rules aren't part of the
    preparation.
    """

    columns: dict[str, str]
    steps: tuple[Step, ...]
    categories: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def apply(self, table: pa.Table, *, without: str | Sequence[str] = ()) -> Prepared:
        """Prepare one row or many. `without` names columns that `table` doesn't have, such as the target.

        A column that no rule names may be missing. A column that the preparation doesn't know stays as it is. Columns
        are cast to the types in `columns` as long as no value changes: a whole number may stand for a float, a text for
        a date, a date for a time without a zone, and null for any value.

        Raises:
            DataError: a column is missing or has another type, or a rule with `otherwise="stop"` met a value that it
                can't read.
            UsageError: `table` isn't a table.
        """
        check_table("apply", "table", table, pa.Table)
        distinct(table)
        work = Work.on(table)
        work.table = self._in_types(table)
        absent = set(listed(without))
        with engine.session({}) as database:
            skipped = [said for step in self.steps for said in _put(work, step, absent, database)]
        quarantine = work.quarantine()
        unseen = _unseen(work.table, self.categories)
        report = report_of(
            "Preparation",
            f"{len(table):,} rows, prepared like the rows that the preparation was made from.",
            work.changes,
            before=len(table),
            after=len(work.table),
            quarantined=len(quarantine),
            unseen=unseen,
            limits=(*self.left_out, *skipped),
        )
        counts = {name: sum(count for _, count in values) for name, values in unseen.items()}
        return Prepared(work.done(), quarantine, report, counts)

    def _in_types(self, table: pa.Table) -> pa.Table:
        for place, field in enumerate(table.schema):
            wanted = self.columns.get(field.name, "")
            if wanted in ("", str(field.type)):
                continue
            kind = kind_named(wanted)
            column = None if kind is None else in_type(table.column(place), kind)
            if column is None:
                raise DataError(
                    f"`{field.name}` is `{field.type}`, and the preparation was made for `{wanted}`",
                    hint="give the values in that type",
                )
            table = table.set_column(place, field.name, column)
        return table


@ready("prepare.apply", version=3, on=("duckdb", "numpy", "pyarrow"), kind="prepare")
def apply(table: pa.Table, preparation: Preparation, *, without: str | Sequence[str] = ()) -> Prepared:
    """Prepare rows in the same way as `prepare.clean` cleaned other rows. This is `preparation.apply(table)` as a
    stage.

    `without` names columns that these rows don't have, such as the target. A warning counts the quarantined rows. If a
    column in the preparation's `categories` has values that aren't among its categories, a warning counts the rows with
    such values. There is no warning for a column whose categories are all file names, because other rows always have
    new file names.

    Raises:
        DataError: a column is missing or has another type, or a rule with `otherwise="stop"` met a value that it can't
            read.
    """
    prepared = preparation.apply(table, without=without)
    if len(prepared.quarantine):
        warn(put_aside(len(prepared.quarantine), len(table)))
    for name, count in prepared.unseen.items():
        if count and not all(map(is_file_name, preparation.categories[name])):
            grid = next(each for each in prepared.report.grids if each.title.startswith(f"Values of {name} that"))
            shown = ", ".join(f"`{value}`" for value, _ in grid.rows[:SHOWN])
            warn(f"{rows_have(count)} a `{name}` that wasn't there when the preparation was made, such as {shown}")
    return prepared


def _put(work: Work, step: Step, absent: set[str], database: duckdb.DuckDBPyConnection) -> list[str]:
    """Apply a step. If the step was skipped, return sentences that say so.

    If a step renames an absent column, the column's new name is added to `absent`.
    """
    there, rule = set(work.table.column_names), step.rule
    match rule:
        case Drop():
            lacking = [name for name in step.asks if name in absent]
            if lacking:
                return [f"Rule {step.name} was skipped: there is no `{lacking[0]}`."]
            _demand(step.asks, there, step.name)
            take_away(work, rule, step.name, database, aside=True)
        case Rename(names=names):
            _demand([name for name in names if name not in absent], there, step.name)
            absent |= {new for old, new in names.items() if old not in there}
            rename(work, {old: new for old, new in names.items() if old in there}, step.name)
        case Without():
            without(work, [name for name in rule.names if name in there], step.name)
        case OnColumns():
            if ALL not in rule.names:
                _demand([name for name in step.columns if name not in absent], there, step.name)
            for name in step.columns:
                if name in there:
                    on_column(work, rule, step.name, name, database)
        case Deduplicate():
            pass  # `clean` never makes such a step: the rule looks at the whole table
    return []


def _demand(names: Sequence[str], there: set[str], rule: str) -> None:
    for name in names:
        if name not in there:
            hint = (
                f"if the rows can't have this column (such as a target that isn't known yet), give `without={name!r}`"
            )
            raise DataError(
                f"rule {rule} of the preparation is for a column `{name}`, which the rows don't have",
                hint=f"{meant(name, there)} {hint}".lstrip(),
            )


def _unseen(table: pa.Table, categories: Mapping[str, Sequence[str]]) -> Unseen:
    """Return, for each column with `categories`, the values that aren't among them. Each value comes with its count,
    and the most frequent value is the first."""
    found: Unseen = {}
    for name, known in categories.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        texts = column.cast(plain_type(column.type))
        strange = texts.filter(pc.invert(pc.is_in(texts, pa.array(known, texts.type), skip_nulls=False)))
        counts = strange.drop_null().value_counts().to_pylist()
        pairs = [(cell(each["values"]), each["counts"]) for each in counts]
        found[name] = sorted(pairs, key=lambda pair: -pair[1])
    return found
