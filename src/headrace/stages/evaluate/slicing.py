"""Slices: the rows that share a value of a column, or of two."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.stages.evaluate.predicting import check_column

MOST_VALUES = 20
"""Of text, the largest so many are slices of their own, the rest is one. Numbers of more are cut at quartiles."""
MOST_PAIRS = 60
OTHERS, MISSING = "all others", "missing"


class Slice(NamedTuple):
    """Rows that share a value: `by` names the column or columns, `name` the value, `rows` the places of the rows."""

    by: str
    name: str
    rows: Any


class Cut(NamedTuple):
    """A column cut into values: a code for each row, and the names of the codes."""

    codes: Any
    names: list[str]


def cut(table: pa.Table, name: str) -> Cut:
    """Cut a column.

    Raises:
        UsageError: there is no such column.
    """
    check_column(table, name)
    values = table[name].to_pandas()
    missing = values.isna().to_numpy()
    if values.dtype.kind in "iuf" and values.nunique() > MOST_VALUES:
        return _quartiles(values.to_numpy(np.float64, na_value=np.nan), missing)
    shown = values.astype(object).map(_shown).to_numpy(dtype=object)
    shown[missing] = MISSING
    names, codes = np.unique(shown.astype(str), return_inverse=True)
    counts = np.bincount(codes, minlength=len(names))
    if len(names) <= MOST_VALUES:
        return Cut(codes, [str(each) for each in names])
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_VALUES - 1])
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    return Cut(place[codes], [*[str(each) for each in names[kept]], OTHERS])


def slices(table: pa.Table, columns: Sequence[str]) -> list[Slice]:
    """Give the slices of each column, then of each pair of columns, the largest pairs only."""
    cuts = {name: cut(table, name) for name in columns}
    found = [each for name, one in cuts.items() for each in _one(name, one)]
    for (first, a), (second, b) in itertools.combinations(cuts.items(), 2):
        found.extend(_largest(_one(f"{first} x {second}", _crossed([a, b]))))
    return found


def crossed(table: pa.Table, columns: Sequence[str]) -> list[Slice]:
    """Give the groups that several columns make together."""
    return _one(" x ".join(columns), _crossed([cut(table, name) for name in columns]))


def groups(table: pa.Table, columns: Sequence[str]) -> dict[str, list[Slice]]:
    """Give the groups of each column by its name, then those that all columns make together."""
    found = {name: crossed(table, [name]) for name in columns}
    if len(columns) > 1:
        found[" x ".join(columns)] = crossed(table, columns)
    return found


def _crossed(cuts: Sequence[Cut]) -> Cut:
    codes: Any = np.zeros(len(cuts[0].codes), np.int64)
    names = [""]
    for each in cuts:
        codes = codes * len(each.names) + each.codes
        names = [f"{left}, {right}" if left else right for left in names for right in each.names]
    return Cut(codes, names)


def _one(by: str, cut: Cut) -> list[Slice]:
    ranked = np.argsort(cut.codes, kind="stable")
    ends = np.cumsum(np.bincount(cut.codes, minlength=len(cut.names)))
    parts = np.split(ranked, ends[:-1])
    return [Slice(by, name, rows) for name, rows in zip(cut.names, parts, strict=True) if len(rows)]


def _largest(found: list[Slice]) -> list[Slice]:
    large = sorted(found, key=lambda each: -len(each.rows))[:MOST_PAIRS]
    return [each for each in found if any(each is kept for kept in large)]


def _quartiles(values: Any, missing: Any) -> Cut:
    edges = np.unique(np.quantile(values[~missing], [0, 0.25, 0.5, 0.75, 1])) if (~missing).any() else np.zeros(2)
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    names = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)] or [f"{edges[0]:.4g}"]
    return Cut(np.where(missing, len(names), codes), [*names, MISSING])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
