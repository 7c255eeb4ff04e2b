"""Slices: the rows that share a value of a column, or of two columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.stages.evaluate.columns import check_values, column
from headrace.stages.tables.columns import rows_have

MOST_VALUES = 20
"""The most slices of a column. In a column of texts, each of the most frequent values is a slice, and all other values
together are one slice.

A column of numbers with more different values is cut at its quartiles.
"""
MOST_PAIRS = 60
OTHERS, MISSING = "all others", "missing"


class Slice(NamedTuple):
    """Rows that share a value.

    `by` names the column or columns, `name` is the value, and `rows` has the row numbers.
    """

    by: str
    name: str
    rows: Any


class Cut(NamedTuple):
    """A column cut into named values. `codes` has a number for each row, and `names` has the name of each number."""

    codes: Any
    names: list[str]


def cut(table: pa.Table, name: str) -> Cut:
    """Return a column cut into values.

    Raises:
        UsageError: there is no such column, or it holds lists or other nested values.
    """
    from pandas import factorize  # noqa: PLC0415  the import takes 0.3 s, which the tracer saves

    check_values(table, name)
    values = table[name].to_pandas()
    missing = values.isna().to_numpy()
    if values.dtype.kind in "iuf" and values.nunique() > MOST_VALUES:
        return _quartiles(values.to_numpy(np.float64, na_value=np.nan), missing)
    places, different = factorize(values)  # a missing value gets -1, which is the position of its name: the last
    shown = _written(different)
    shown = np.append(shown, _missing(shown)) if missing.any() else shown
    names, codes = np.unique(shown.astype(str), return_inverse=True)
    codes = codes[places]
    counts = np.bincount(codes, minlength=len(names))
    if len(names) <= MOST_VALUES:
        return Cut(codes, [str(each) for each in names])
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_VALUES - 1])
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    return Cut(place[codes], [*[str(each) for each in names[kept]], OTHERS])


def slices(table: pa.Table, columns: Sequence[str]) -> list[Slice]:
    """Return the slices of each column, then the slices of each pair of columns.

    Of the slices of a pair, only the largest are returned.
    """
    cuts = {name: cut(table, name) for name in columns}
    found = [each for name, one in cuts.items() for each in _one(name, one)]
    for (first, a), (second, b) in itertools.combinations(cuts.items(), 2):
        found.extend(_largest(_one(f"{first} x {second}", _crossed([a, b]))))
    return found


def crossed(table: pa.Table, columns: Sequence[str]) -> list[Slice]:
    """Return the groups that several columns make together: rows that share a value in each of these columns."""
    return _one(" x ".join(columns), _crossed([cut(table, name) for name in columns]))


def groups(table: pa.Table, columns: Sequence[str]) -> dict[str, list[Slice]]:
    """Return the groups of each column by its name, then the groups that all columns make together."""
    found = {name: crossed(table, [name]) for name in columns}
    if len(columns) > 1:
        found[" x ".join(columns)] = crossed(table, columns)
    return found


def group_key(by: str, place: int) -> str:
    """Return a key for group number `place` of the column `by`. The key is unique, whatever the names of columns and
    values are."""
    return f"group {place} by {by}"


def _crossed(cuts: Sequence[Cut]) -> Cut:
    """Return the combination of several cuts.

    A combination of values gets a name only if at least one row has this combination, because six columns can have
    millions of combinations.
    """
    made = cuts[0]
    for each in cuts[1:]:
        width = len(each.names)
        there, codes = np.unique(made.codes * width + each.codes, return_inverse=True)
        names = [f"{made.names[both // width]}, {each.names[both % width]}" for both in there.tolist()]
        made = Cut(codes, names)
    return made


def _one(by: str, cut: Cut) -> list[Slice]:
    ranked = np.argsort(cut.codes, kind="stable")
    ends = np.cumsum(np.bincount(cut.codes, minlength=len(cut.names)))
    parts = np.split(ranked, ends[:-1])
    return [Slice(by, name, rows) for name, rows in zip(cut.names, parts, strict=True) if len(rows)]


def _largest(found: list[Slice]) -> list[Slice]:
    large = sorted(found, key=lambda each: -len(each.rows))[:MOST_PAIRS]
    return [each for each in found if any(each is kept for kept in large)]


def _quartiles(values: Any, missing: Any) -> Cut:
    """Return numbers cut at their quartiles. Infinite numbers don't move the quartiles."""
    known = values[np.isfinite(values)]
    edges = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
    edges = np.unique(np.ceil(edges) if (known == np.round(known)).all() else edges)  # no whole number lies between
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    told = _told_apart(edges)
    names = [f"{low} to {high}" for low, high in itertools.pairwise(told)] or told
    return Cut(np.where(missing, len(names), codes), [*names, MISSING])


def _told_apart(edges: Any) -> list[str]:
    """Return numbers as texts that all differ, with as few digits as possible, but at least four.

    Whole numbers below a million are written in full.
    """
    if (edges == np.round(edges)).all() and (np.abs(edges) < 1e6).all():
        return [f"{each:.0f}" for each in edges]
    for digits in range(4, 17):
        told = [f"{each:.{digits}g}" for each in edges]
        if len(set(told)) == len(told):
            break
    return told


def _missing(others: Any) -> str:
    """Return a name for the rows without a value. It differs from the names of all values."""
    name = MISSING
    while (others == name).any():
        name = f"({name})"
    return name


def _written(different: Any) -> Any:
    """Return different values as texts, none of which looks empty. Floats have six digits if these are enough to tell
    the values apart."""
    found = [f"{each:g}" if isinstance(each, float) else str(each) for each in different]
    if len(set(found)) < len(found):
        found = [str(each) for each in different]
    return np.array(_visible(found), dtype=object)


def _visible(names: Sequence[str]) -> list[str]:
    """Return the names, with quotes around names that are empty or blank, so that such names can be seen. Names that
    differ still differ afterwards."""
    found, seen = list(names), set(names)
    for place, name in enumerate(names):
        if not name.strip():
            quoted = f'"{name}"'
            while quoted in seen:
                quoted = f"({quoted})"
            seen.add(quoted)
            found[place] = quoted
    return found


def codes(table: pa.Table, name: str) -> Any:
    """Return the group number of each row, so that whole groups can be drawn. Rows with the same value in a column are
    one group.

    Raises:
        UsageError: the column is missing or has missing values, or all rows have the same value.
    """
    check_values(table, name)
    values = column(table, name)
    missing = table[name].null_count
    if missing:
        raise UsageError(
            f"{rows_have(missing)} no `{name}`, the column of `groups=` that says which rows belong together",
            hint="fill in the missing values, or give another column as `groups=`",
        )
    _, found = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
    if found.max(initial=0) == 0:
        raise UsageError(f"all rows have the same `{name}`", hint="give a column with many values as `groups=`")
    return found
