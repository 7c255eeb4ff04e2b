"""Merges newly read rows into the rows that were read before, so that each key appears once, in its latest version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.later import table_of
from headrace.errors import DataError
from headrace.stages.tables.arrays import mask, numbers, places, truths, whole

SMALL_PARTS = 32
"""If more than this many parts are less than half full, these parts are joined."""


Ends = tuple[Any, Any] | None

_NOT_IN_PYTHON = (pa.ArrowNotImplementedError, OverflowError, ValueError)
"""The exceptions that Arrow raises for values without an order, and for times that Python can't represent."""


class Merged(NamedTuple):
    """The result of a merge of tables. `kept` are the held tables (read before), without the rows that were replaced or
    are gone. `new` are the fresh tables (read now), without the rows that equal a held row. `gone` are tables of the
    held rows that no longer exist. `replaced` and `unchanged` are numbers of rows."""

    kept: list[Any]
    """A table that lost no row is the same object that was passed in."""
    new: list[Any]
    gone: list[Any]
    replaced: int
    unchanged: int


def merged(
    held: Sequence[Any],
    fresh: Sequence[Any],
    key: Sequence[str],
    *,
    complete: bool,
    ends: Sequence[Ends] | None = None,
) -> Merged:
    """Merge the `fresh` tables, which were read now, into the `held` ones, which were read before. A key appears at
    most once in `held`, and at most once in `fresh`.

    A fresh row that equals a held row is not new. A fresh row that has the key of a held row but other values replaces
    that row. With `complete`, the fresh rows are all rows that exist, so held rows whose keys aren't among them are
    gone. `ends` has, for each held table, what `ends_of` returns: the range of its keys, or None. A held table whose
    keys are all outside the ranges of the fresh tables isn't searched. Without `complete`, such a table stays closed if
    it is a `Later` (a table that is opened only when it is needed).
    """
    fresh_ends = [ends_of(each, key) for each in fresh]
    kept: list[Any] = []
    gone: list[Any] = []
    stale = [np.zeros(each.num_rows, bool) for each in fresh]
    replaced = 0
    for part, held_ends in zip(held, ends or [None] * len(held), strict=True):
        near = [place for place, its_ends in enumerate(fresh_ends) if not _are_apart(held_ends, its_ends)]
        if not near and not complete:
            kept.append(part)
            continue
        table = table_of(part)
        drop = np.zeros(table.num_rows, bool)
        seen = np.zeros(table.num_rows, bool)
        for piece, known in [(fresh[place], stale[place]) for place in near]:
            here, there = matches(table, piece, key)
            equal = rows_equal(table, here, piece, there)
            seen[here] = True
            known[there[equal]] = True
            drop[here[~equal]] = True
        replaced += int(drop.sum())
        if complete and not seen.all():
            gone.append(table.filter(mask(~seen)))
            drop |= ~seen
        kept.append(part if not drop.any() else _where(table, ~drop))
    new = [piece if not known.any() else _where(piece, ~known) for piece, known in zip(fresh, stale, strict=True)]
    return Merged(
        [each for each in kept if each.num_rows],
        [each for each in new if each.num_rows],
        gone,
        replaced,
        sum(int(known.sum()) for known in stale),
    )


def _where(table: Any, keep: Any) -> Any:
    """Return the rows where `keep` is true. If they are consecutive, as they usually are, nothing is copied."""
    chosen = np.flatnonzero(keep)
    return table.slice(chosen[0], len(chosen)) if _may_be_a_run(chosen) else table.filter(mask(keep))


def _at(table: Any, chosen: Any) -> Any:
    """Return the rows at these indices, in this order. If they are consecutive, nothing is copied."""
    if _may_be_a_run(chosen) and (np.diff(chosen) == 1).all():
        return table.slice(chosen[0], len(chosen))
    return table.take(places(chosen))


def _may_be_a_run(chosen: Any) -> bool:
    """Return whether indices are consecutive, provided that they ascend. For other indices, True proves nothing."""
    return len(chosen) > 0 and bool(chosen[-1] - chosen[0] == len(chosen) - 1)


def ends_of(table: Any, key: Sequence[str]) -> Ends:
    """Return the least and the greatest value of the key's first column, or None if the column has no values, or values
    without an order."""
    try:
        found = pc.min_max(_storage(table[key[0]]))
        return (found["min"].as_py(), found["max"].as_py()) if found["min"].is_valid else None
    except _NOT_IN_PYTHON:
        return None


def _are_apart(one: Ends, other: Ends) -> bool:
    return one is not None and other is not None and (one[1] < other[0] or other[1] < one[0])


def matches(part: Any, fresh: Any, key: Sequence[str]) -> tuple[Any, Any]:
    """Return the indices of rows with equal keys in two tables, as two arrays in the same order."""
    nowhere = (np.empty(0, np.int64), np.empty(0, np.int64))
    if not part.num_rows or not fresh.num_rows:
        return nowhere
    ours = _plain(part, key[0])
    theirs = _plain(fresh, key[0])
    chosen = _within(theirs, ours)
    if not len(chosen):
        return nowhere
    theirs = theirs.take(chosen)
    inside = _within(ours, theirs)  # often this leaves few rows of a large part
    ours = ours.take(inside)
    equal = pc.indices_nonzero(pc.is_in(ours, value_set=theirs))
    here = inside.take(equal)
    if len(key) == 1:
        found = pc.index_in(ours.take(equal), value_set=theirs)
        return numbers(here), numbers(chosen.take(found))
    names = [f"k{place}" for place in range(len(key))]
    left = pa.Table.from_arrays([*(_plain(part, each).take(here) for each in key), here], [*names, "here"])
    right = pa.Table.from_arrays([*(_plain(fresh, each).take(chosen) for each in key), chosen], [*names, "there"])
    both = left.join(right, keys=names, join_type="inner")
    return numbers(both["here"]), numbers(both["there"])


def _within(theirs: Any, ours: Any) -> Any:
    """Return the indices of the values in `theirs` that lie between the least and the greatest value of `ours`. Often
    there are no such values, so this is a quick first test."""
    try:
        ends = pc.min_max(ours)
        inside = pc.and_(pc.greater_equal(theirs, ends["min"]), pc.less_equal(theirs, ends["max"]))
    except pa.ArrowNotImplementedError:
        return places(np.arange(len(theirs)))
    return pc.indices_nonzero(inside)


def rows_equal(part: Any, here: Any, fresh: Any, there: Any) -> Any:
    """Return whether all values are equal, for each pair of rows: row `here` of `part` and row `there` of `fresh`.
    Nulls are equal to each other, and so are NaNs."""
    equal = np.ones(len(here), bool)
    if not len(here):
        return equal
    ours, theirs = _at(part, here), _at(fresh, there)
    if ours.equals(theirs):
        return equal
    for name in range(part.num_columns):
        one, other = _storage(ours.column(name)), _storage(theirs.column(name))
        try:
            same = pc.equal(one, other)
            neither = pc.and_(one.is_null(nan_is_null=True), other.is_null(nan_is_null=True))
            same = pc.if_else(pc.is_valid(same), pc.or_(same, neither), neither)
            equal &= truths(pc.and_(same, pc.equal(one.is_null(), other.is_null())))
        except pa.ArrowNotImplementedError:  # Arrow can't compare lists and other nested types
            equal &= np.array([left == right for left, right in zip(one.to_pylist(), other.to_pylist(), strict=True)])
    return equal


def check_keys(tables: Sequence[Any], key: Sequence[str]) -> None:
    """Raise if a key is null or appears twice in these tables.

    Raises:
        DataError: a key is null or appears twice; the message names the key, and a value that appears twice.
    """
    told = ", ".join(f"`{each}`" for each in key)
    for table in tables:
        for name in key:
            if table[name].null_count:
                raise DataError(f"the key {told} is null in a row", hint="name columns that are never null as the key")
    if len(key) == 1 and _ascends(tables, key[0]):
        return
    names = [f"k{place}" for place in range(len(key))]
    keys = pa.concat_tables([pa.Table.from_arrays([_plain(each, name) for name in key], names) for each in tables])
    counted = keys.group_by(names).aggregate([([], "count_all")])
    if counted.num_rows == keys.num_rows:
        return
    twice = counted.filter(pc.greater(counted["count_all"], 1)).slice(0, 1).to_pylist()[0]
    count = twice.pop("count_all")
    raise DataError(
        f"{count} rows have the same key: {told} is {', '.join(map(str, twice.values()))}",
        hint="name all columns that identify a row: key=[...]; or change the query so that it returns each row once",
    )


def retyped(parts: Sequence[Any], schema: Any) -> list[Any]:
    """Return the parts after casting each column that has no value at all to its type in the schema. The other columns
    are unchanged."""
    before = table_of(parts[-1]).schema if parts else schema
    if before.equals(schema) or before.names != schema.names:
        return list(parts)
    changed = [
        place
        for place, field in enumerate(schema)
        if not field.type.equals(before.field(place).type)
        and all(table_of(each).column(place).null_count == each.num_rows for each in parts)
    ]
    if not changed:
        return list(parts)
    made = []
    for part in map(table_of, parts):
        for place in changed:
            field = schema.field(place)
            part = part.set_column(place, field, pa.nulls(part.num_rows, field.type))
        made.append(part)
    return made


def compacted(parts: Sequence[Any], rows: int) -> list[Any]:
    """Return the parts, after joining small parts if there are many of them. If more than `SMALL_PARTS` parts have less
    than half of `rows` rows, these parts are joined in their order, into parts of `rows` rows. The joined parts
    come after all other parts."""
    small = [each for each in parts if each.num_rows * 2 < rows]
    if len(small) <= SMALL_PARTS:
        return list(parts)
    together = pa.concat_tables(map(table_of, small))
    full = [together.slice(start, rows) for start in range(0, together.num_rows, rows)]
    return [*(each for each in parts if each.num_rows * 2 >= rows), *full]


def _ascends(tables: Sequence[Any], name: str) -> bool:
    """Return whether a column's values strictly increase, which means that no value appears twice. This is a quick test
    that often succeeds."""
    last: Any = None
    for column in _chunks(tables, name):
        try:
            if last is not None and not last < column[0].as_py():
                return False
            if not pc.all(pc.less(column[:-1], column[1:])).as_py() and len(column) > 1:
                return False
            last = column[-1].as_py()
        except _NOT_IN_PYTHON:
            return False
    return True


def _chunks(tables: Sequence[Any], name: str) -> Iterator[Any]:
    for table in tables:
        yield from (each for each in _storage(table[name]).chunks if len(each))


def _plain(table: Any, name: str) -> Any:
    """Return a column as one array of a type that can be searched."""
    return whole(_storage(table[name]))


def _storage(column: Any) -> Any:
    """Return a column in its storage type, without its extension type."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([each.storage for each in column.chunks], column.type.storage_type)
