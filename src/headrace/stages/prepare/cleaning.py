"""`prepare.clean`: declared rules, what they changed, and the rows that they put aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.file import File
from headrace.define.ready import ready
from headrace.errors import DataError, DefinitionError
from headrace.spec.report import Report
from headrace.stages import engine
from headrace.stages.columns import columns, distinct, free_name, rows_at, rows_where
from headrace.stages.ingest.contract.finding import value_of
from headrace.stages.prepare.clean_report import EXAMPLES, Change, report_of
from headrace.stages.prepare.expressions import KEEPS_TYPE, can_hold, expression, fits
from headrace.stages.prepare.rules import (
    ALL,
    AnyRule,
    Dates,
    Deduplicate,
    Drop,
    OnColumns,
    Rename,
    Rule,
    Without,
    read_rules,
    told,
)

Rows = np.ndarray[Any, Any]
PLACE, REASONS = "row", "broken_rules"


class Cleaned(NamedTuple):
    """What rules made of a table.

    `table` are the rows that stay, as they are now. `quarantine` has those that were put aside as they were given, with
    their place in that table (`row`) and why (`broken_rules`, a list). `report` says what each rule changed.
    """

    table: pa.Table
    quarantine: pa.Table
    report: Report


@dataclass
class _Work:
    """The table as the rules so far have left it, and the places its rows had in the one that was given."""

    table: pa.Table
    places: Rows
    aside: dict[int, list[str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


@ready("prepare.clean", version=5, on=("duckdb", "numpy", "pyarrow"), kind="prepare")
def clean(table: pa.Table, rules: Sequence[AnyRule] | File) -> Cleaned:
    """Clean a table by rules, one after the other: a list of them, or a TOML file (`hr.File("rules.toml")`).

    The report tells for each rule and column how many values it changed, with examples before and after, and how many
    rows it took away or put aside.

    Raises:
        DataError: a value that a rule with `otherwise = "stop"` can't deal with; a column that isn't there.
        DefinitionError: a rule that makes no sense, or not for this column.
        UsageError: a condition that can't be read.
    """
    distinct(table)
    rules = read_rules(rules.path) if isinstance(rules, File) else tuple(rules)
    work = _Work(table, np.arange(len(table)))
    for number, rule in enumerate(rules, 1):
        _apply(work, rule, f"{number} {told(rule)}")
    quarantine = _quarantine(table, work.aside)
    report = report_of(len(table), len(work.table), quarantine.num_rows, work.changes)
    return Cleaned(work.table, quarantine, report)


def _apply(work: _Work, rule: Rule, name: str) -> None:
    match rule:
        case Drop() | Deduplicate():
            _take_away(work, rule, name)
        case Rename(names=names):
            columns(work.table, list(names), f"rule {name}")
            renamed = [names.get(each, each) for each in work.table.column_names]
            if len(set(renamed)) < len(renamed):
                raise DefinitionError(
                    f"rule {name} gives two columns one name", hint="rename or leave out the other one"
                )
            work.table = work.table.rename_columns(renamed)
            work.changes.append(Change(rule=name, column=", ".join(f"{a} to {b}" for a, b in names.items())))
        case Without():
            columns(work.table, rule.names, f"rule {name}")
            work.table = work.table.drop_columns(list(rule.names))
            work.changes.append(Change(rule=name, column=", ".join(rule.names)))
        case OnColumns():
            with engine.session({}) as database:  # one for all columns: to open one takes longer than what it does
                for column in _meant(work.table, rule, name):
                    _on_column(work, rule, name, column, database)
        case _:
            raise DefinitionError(f"`{type(rule).__name__}` is no rule", hint="see the docs on cleaning")


def _meant(table: pa.Table, rule: OnColumns, name: str) -> Sequence[str]:
    if ALL in rule.names:
        return [field.name for field in table.schema if fits(rule, field.type) and can_hold(rule, field.type)]
    for column, values in zip(rule.names, columns(table, rule.names, f"rule {name}"), strict=True):
        if not fits(rule, values.type):
            raise DefinitionError(
                f"rule {name} can't be for `{column}`, which is `{values.type}`", hint="cast it first, or leave it out"
            )
    return rule.names


def _on_column(work: _Work, rule: OnColumns, name: str, column: str, database: duckdb.DuckDBPyConnection) -> None:
    before = work.table.column(column)
    after = _made(before, rule, name, column, database)
    place = work.table.schema.get_field_index(column)
    otherwise = getattr(rule, "otherwise", "keep")
    failed = np.empty(0, np.int64)
    if otherwise != "keep":
        failed = np.flatnonzero(pc.and_(pc.is_valid(before), pc.is_null(after)).to_numpy())
    if otherwise == "stop" and len(failed):
        shown = ", ".join(repr(value_of(before[int(row)]))[:80] for row in failed[:EXAMPLES])
        raise DataError(
            f"rule {name} can't deal with {len(failed):,} values of `{column}`, such as {shown}",
            hint='mend them at the source, or give `otherwise = "quarantine"` or `"null"`',
        )
    changed = _changed(before, after)
    work.table = work.table.set_column(place, pa.field(column, after.type), after)
    aside = failed if otherwise == "quarantine" else np.empty(0, np.int64)
    examples = [
        (int(work.places[row]), value_of(before[int(row)]), value_of(after[int(row)])) for row in changed[:EXAMPLES]
    ]
    nulled = len(failed) if otherwise == "null" else 0
    work.changes.append(
        Change(rule=name, column=column, changed=len(changed), nulled=nulled, aside=len(aside), examples=examples)
    )
    if len(aside):
        _put_aside(work, aside, f"{name}: {column}")


def _made(
    before: pa.ChunkedArray, rule: OnColumns, name: str, column: str, database: duckdb.DuckDBPyConnection
) -> pa.ChunkedArray:
    """Give what a rule makes of a column."""
    given = pa.table({"c": before, "place": np.arange(len(before))})
    try:
        sql = expression(rule, before.type)
        database.register("t", given)
        # a window gives its rows in any order: they go back to where they were
        order = " order by place" if " over " in sql else ""
        after = database.sql(f"select {sql} as c from t{order}").to_arrow_reader(1 << 20).read_all().column("c")
        if isinstance(rule, Dates):
            after = _zoned(after, rule)
        return after.cast(before.type) if isinstance(rule, KEEPS_TYPE) else after
    except duckdb.Error as error:
        raise engine.told(error, f"rule {name} on `{column}`") from error
    except DefinitionError as error:
        raise DefinitionError(f"rule {name} on `{column}`: {error.message}", hint=error.hint) from error
    except pa.ArrowException as error:
        raise DataError(
            f"rule {name} on `{column}` failed: {error}", hint="cast the column to a wider type first"
        ) from error


def _zoned(times: pa.ChunkedArray, rule: Dates) -> pa.ChunkedArray:
    if rule.day:
        return times.cast(pa.date32(), safe=False)  # as it is written: a day is that day in its own zone
    if rule.zone is not None:
        zoned = pc.assume_timezone(times, rule.zone, ambiguous="earliest", nonexistent="latest")
        times = zoned.cast(pa.timestamp("us", "UTC"))
    return times


def _changed(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Rows:
    """Give the places of the values that are others now; of a new type, those that are there still."""
    if pa.types.is_null(before.type) and before.type == after.type:
        return np.empty(0, np.int64)
    if before.type != after.type:
        return np.flatnonzero(pc.is_valid(after).to_numpy())
    if pa.types.is_dictionary(before.type):
        before, after = (each.cast(each.type.value_type) for each in (before, after))
    other = pc.fill_null(pc.not_equal(before, after), False)
    if pa.types.is_floating(before.type):
        other = pc.and_not(other, pc.fill_null(pc.and_(pc.is_nan(before), pc.is_nan(after)), False))
    return np.flatnonzero(pc.or_(other, pc.xor(pc.is_null(before), pc.is_null(after))).to_numpy())


def _take_away(work: _Work, rule: Drop | Deduplicate, name: str) -> None:
    rows = _dropped(work.table, rule, name)
    aside = len(rows) if rule.quarantine else 0
    work.changes.append(Change(rule=name, column="", dropped=len(rows) - aside, aside=aside))
    if rule.quarantine:
        why = f"{name}: {rule.where}" if isinstance(rule, Drop) else name
        _put_aside(work, rows, why)
    else:
        _leave_out(work, rows)


def _dropped(table: pa.Table, rule: Drop | Deduplicate, name: str) -> Rows:
    """Give the places of the rows that a rule takes away."""
    if isinstance(rule, Drop):
        numbered = f"select row_number() over () - 1 as place, ({rule.where}\n) as gone from t"
        sql = f"select place from ({numbered}) where gone"
    else:
        table, sql = _repeated(table, rule, name)
    with engine.session({"t": table}) as database:
        if isinstance(rule, Drop):
            engine.single(f"select ({rule.where}\n)", f"the condition `{rule.where}`", database)
        try:
            found = np.ma.getdata(database.sql(sql).fetchnumpy()["place"])
        except duckdb.Error as error:
            raise engine.told(error, f"rule {name}") from error
    return np.sort(found.astype(np.int64))


def _repeated(table: pa.Table, rule: Deduplicate, name: str) -> tuple[pa.Table, str]:
    """Give the columns that tell whether a row is there already, and the SQL that asks them."""
    names = rule.names or tuple(table.column_names)
    given = columns(table, (*names, *([rule.by] if rule.by else [])), f"rule {name}")
    # under names of ours, since one of the table's may be `place`, or none at all
    keys = [f"k{number}" for number in range(len(names))]
    numbered = "select row_number() over () - 1 as place, * from t"
    way = "desc" if rule.keep == "last" else "asc"
    order = f"ranked {way} nulls last, place" if rule.by else f"place {way}"
    found = f"row_number() over (partition by {', '.join(keys)} order by {order})"
    asked = pa.Table.from_arrays(given, [*keys, *(["ranked"] if rule.by else [])])
    return asked, f"select place from ({numbered}) qualify {found} > 1"


def _put_aside(work: _Work, rows: Rows, why: str) -> None:
    for place in work.places[rows].tolist():
        work.aside.setdefault(place, []).append(why)
    _leave_out(work, rows)


def _leave_out(work: _Work, rows: Rows) -> None:
    if len(rows):
        keep = np.ones(len(work.table), dtype=bool)
        keep[rows] = False
        work.table = rows_where(work.table, keep)
        work.places = work.places[keep]


def _quarantine(table: pa.Table, aside: dict[int, list[str]]) -> pa.Table:
    places = sorted(aside)
    found = rows_at(table, places) if places else table.slice(0, 0)
    found = found.append_column(free_name(PLACE, table), pa.array(places, pa.int64()))
    return found.append_column(
        free_name(REASONS, table), pa.array([aside[place] for place in places], pa.list_(pa.string()))
    )
