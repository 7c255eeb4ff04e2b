"""Applying rules to a table, in order: what each rule changes, the values it loses, and the rows it quarantines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError, DefinitionError
from headrace.report.measures import count_text
from headrace.stages.ingest._check.finding import cell, value_of
from headrace.stages.prepare._clean.expressions import KEEPS_TYPE, expression
from headrace.stages.prepare._clean.report import EXAMPLES, Change, Example
from headrace.stages.prepare._clean.rules import Dates, Deduplicate, Drop, Map, OnColumns
from headrace.stages.tables import engine
from headrace.stages.tables.columns import columns, described, free_name, rows_at, rows_where

Rows = np.ndarray[Any, Any]
NONE = np.empty(0, np.int64)
PLACE, REASONS = "row", "broken_rules"


@dataclass
class Work:
    """A table during cleaning, with the original row number of each row (`places`).

    `taken` is the table before cleaning; quarantined rows are copied from `taken`. `aside` has the broken rules of each
    quarantined row, by row number.
    """

    table: pa.Table
    places: Rows
    taken: pa.Table
    aside: dict[int, list[str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @classmethod
    def on(cls, table: pa.Table) -> Work:
        """Return a `Work` for a table that no rule has changed yet."""
        return cls(table, np.arange(len(table)), table)

    def quarantine(self) -> pa.Table:
        """Return the quarantined rows with their original values, their row numbers and the broken rules."""
        places = sorted(self.aside)
        found = rows_at(self.taken, places) if places else self.taken.slice(0, 0)
        found = found.append_column(free_name(PLACE, self.taken), pa.array(places, pa.int64()))
        reasons = pa.array([self.aside[place] for place in places], pa.list_(pa.string()))
        return described(found.append_column(free_name(REASONS, self.taken), reasons), self.taken)

    def done(self) -> pa.Table:
        """Return the rows that stay, after all changes by the rules."""
        return described(self.table, self.taken)

    def put_aside(self, rows: Rows, why: str) -> None:
        """Move rows from the table to the quarantine, with the reason."""
        for place in self.places[rows].tolist():
            self.aside.setdefault(place, []).append(why)
        self.leave_out(rows)

    def leave_out(self, rows: Rows) -> None:
        """Remove rows from the table."""
        if len(rows):
            keep = np.ones(len(self.table), dtype=bool)
            keep[rows] = False
            self.table = rows_where(self.table, keep)
            self.places = self.places[keep]


class _Outcome(NamedTuple):
    """The row numbers of a column's values, by what happened to them.

    `lost` values are null now, `filled` ones were null before, and `other` ones changed in value or in type.
    """

    lost: Rows
    filled: Rows
    other: Rows


def on_column(work: Work, rule: OnColumns, name: str, column: str, database: duckdb.DuckDBPyConnection) -> None:
    """Apply a rule to a column.

    Raises:
        DataError: the rule has `otherwise="stop"`, and can't handle some values.
        DefinitionError: the rule names a value that the column can't hold.
    """
    before = work.table.column(column)
    after = made(before, rule, name, column, database)
    place = work.table.schema.get_field_index(column)
    otherwise = getattr(rule, "otherwise", "keep")
    outcome = _outcome(before, after, maps=isinstance(rule, Map))
    if otherwise == "stop" and len(outcome.lost):
        shown = ", ".join(repr(value_of(before[int(row)]))[:80] for row in outcome.lost[:EXAMPLES])
        raise DataError(
            f"rule {name} can't deal with {count_text(len(outcome.lost), 'value')} of `{column}`, such as {shown}",
            hint='correct them at the source, or give `otherwise = "quarantine"` or `"null"`',
        )
    work.table = work.table.set_column(place, pa.field(column, after.type), after)
    is_aside = otherwise == "quarantine"
    is_read = before.type != after.type and not isinstance(rule, Map)
    fates = (
        ("put aside" if is_aside else "made null", outcome.lost),
        ("read" if is_read else "changed", outcome.other),
        ("filled", outcome.filled),
    )
    examples = [
        Example(int(work.places[row]), value_of(before[int(row)]), value_of(after[int(row)]), fate)
        for fate, rows in fates
        for row in rows[:EXAMPLES]
    ]
    work.changes.append(
        Change(
            rule=name,
            column=column,
            nulled=0 if is_aside else len(outcome.lost),
            aside=len(outcome.lost) if is_aside else 0,
            changed=0 if is_read else len(outcome.other),
            filled=len(outcome.filled),
            read=len(outcome.other) if is_read else 0,
            examples=examples[:EXAMPLES],
        )
    )
    if is_aside:
        work.put_aside(outcome.lost, f"{name}: {column}")


def _outcome(before: pa.ChunkedArray, after: pa.ChunkedArray, *, maps: bool) -> _Outcome:
    was, now = (column.is_valid().to_numpy() for column in (before, after))
    there = was & now
    other = there if before.type != after.type and not maps else there & _differs(before, after)
    return _Outcome(*(np.flatnonzero(rows) for rows in (was & ~now, now & ~was, other)))


def _differs(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Any:
    """Return a mask of the values that have changed. If the type has changed, values are compared as texts. A value
    that is null before or after never counts as changed."""
    if pa.types.is_null(before.type):
        return np.zeros(len(before), dtype=bool)
    if pa.types.is_dictionary(before.type):
        before = before.cast(before.type.value_type)
    if before.type != after.type:
        before, after = (_texts(column) for column in (before, after))
    other = pc.not_equal(before, after)
    if pa.types.is_floating(before.type):
        other = pc.and_not(other, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    return pc.fill_null(other, False).to_numpy()


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([[str(value_of(each)) for each in column]], pa.string())


def made(
    before: pa.ChunkedArray, rule: OnColumns, name: str, column: str, database: duckdb.DuckDBPyConnection
) -> pa.ChunkedArray:
    """Return the new column that a rule makes from the column `before`."""
    with telling(name, column):
        sql = expression(rule, before.type)
        # a window returns its rows in any order, so they are sorted back
        after = asked(before, sql, database, order=" order by place" if " over " in sql else "")
        if isinstance(rule, Dates):
            after = _zoned(after, rule)
        return after.cast(before.type) if isinstance(rule, KEEPS_TYPE) else after


def asked(column: pa.ChunkedArray, sql: str, database: duckdb.DuckDBPyConnection, *, order: str = "") -> Any:
    """Return the result column of an SQL expression on a column.

    In the SQL, `t` is a table with the columns `c` (the value) and `place` (the row number).
    """
    database.register("t", pa.table({"c": column, "place": np.arange(len(column))}))
    return database.sql(f"select {sql} as c from t{order}").to_arrow_reader(1 << 20).read_all().column("c")


class telling:  # noqa: N801  a context manager, which reads as a verb
    """A context manager that adds the rule and the column to an error."""

    def __init__(self, rule: str, column: str) -> None:
        self._what = f"rule {rule} on `{column}`"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, duckdb.Error):
            raise engine.told(error, self._what) from error
        if isinstance(error, DefinitionError):
            raise DefinitionError(f"{self._what}: {error.message}", hint=error.hint) from error
        if isinstance(error, pa.ArrowException):
            raise DataError(f"{self._what} failed: {error}", hint="cast the column to a wider type first") from error


def _zoned(times: pa.ChunkedArray, rule: Dates) -> pa.ChunkedArray:
    if rule.day:
        return times.cast(pa.date32(), safe=False)  # the day as written, in its own zone
    if rule.zone is not None:
        zoned = pc.assume_timezone(times, rule.zone, ambiguous="earliest", nonexistent="latest")
        times = zoned.cast(pa.timestamp("us", "UTC"))
    return times


def rename(work: Work, names: Mapping[str, str], name: str) -> None:
    """Rename columns.

    Raises:
        DefinitionError: two columns would have the same name.
    """
    renamed = [names.get(each, each) for each in work.table.column_names]
    if len(set(renamed)) < len(renamed):
        raise DefinitionError(
            f"rule {name} gives two columns the same name", hint="give one of them another name, or leave it out"
        )
    said = work.table.schema.metadata  # Arrow would lose the metadata
    work.table = work.table.rename_columns(renamed).replace_schema_metadata(said)
    work.changes.append(Change(rule=name, column=", ".join(f"{a} to {b}" for a, b in names.items())))


def without(work: Work, names: list[str], name: str) -> None:
    """Remove columns."""
    work.table = work.table.drop_columns(names)
    work.changes.append(Change(rule=name, column=", ".join(names)))


def take_away(
    work: Work, rule: Drop | Deduplicate, name: str, database: duckdb.DuckDBPyConnection, *, aside: bool
) -> None:
    """Remove the rows that a rule selects. With `aside`, move these rows to the quarantine, with the reason.

    Raises:
        UsageError: the rule's condition can't be read.
    """
    rows = _dropped(work.table, rule, name, database)
    fate = "put aside" if aside else "dropped"
    examples = [
        Example(int(work.places[row]), _row(work.table, int(row)), "", fate) for row in rows[:EXAMPLES].tolist()
    ]
    taken = len(rows)
    work.changes.append(
        Change(rule=name, column="", dropped=0 if aside else taken, aside=taken if aside else 0, examples=examples)
    )
    if aside:
        work.put_aside(rows, f"{name}: {rule.where}" if isinstance(rule, Drop) else name)
    else:
        work.leave_out(rows)


def _row(table: pa.Table, row: int) -> str:
    """Return the first few values of a row, so that a reader can recognise it."""
    return ", ".join(f"{name}={cell(value_of(table.column(name)[row]))}" for name in table.column_names[:4])


def _dropped(table: pa.Table, rule: Drop | Deduplicate, name: str, database: duckdb.DuckDBPyConnection) -> Rows:
    """Return the row numbers of the rows that a rule removes."""
    if isinstance(rule, Drop):
        engine.check_condition(rule.where, rule.named(name))
        numbered = f"select row_number() over () - 1 as place, ({rule.where}\n) as gone from t"
        sql = f"select place from ({numbered}) where gone"
    else:
        table, sql = _repeated(table, rule, name)
    engine.check("t", table)
    database.register("t", table)
    try:
        found = np.ma.getdata(database.sql(sql).fetchnumpy()["place"])
    except duckdb.Error as error:
        raise engine.told(error, rule.named(name) if isinstance(rule, Drop) else f"rule {name}") from error
    return np.sort(found.astype(np.int64))


def _repeated(table: pa.Table, rule: Deduplicate, name: str) -> tuple[pa.Table, str]:
    """Return the columns that decide which rows repeat, and the SQL that finds these rows."""
    names = rule.names or tuple(table.column_names)
    given = columns(table, (*names, *([rule.by] if rule.by else [])), f"rule {name}")
    # the columns get new names, since one of the table's may be called `place`, or have no name
    keys = [f"k{number}" for number in range(len(names))]
    numbered = "select row_number() over () - 1 as place, * from t"
    way = "desc" if rule.keep == "last" else "asc"
    order = f"ranked {way} nulls last, place" if rule.by else f"place {way}"
    found = f"row_number() over (partition by {', '.join(keys)} order by {order})"
    asked = pa.Table.from_arrays(given, [*keys, *(["ranked"] if rule.by else [])])
    return asked, f"select place from ({numbered}) qualify {found} > 1"
