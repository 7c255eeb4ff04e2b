"""Test rows that stand in the training data as well: found by digests of rows, and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import UsageError
from headrace.spec.report import Grid
from headrace.stages.evaluate.predicting import check_column

SHOWN = 10


DISTINCT = 0.5
"""Where less than this share of a table's rows are different at all, rows that are equal tell nothing."""


class Leak(NamedTuple):
    """The places of test rows that were trained on, and for each the first place in the training data. `by` are the
    columns that were compared; with `is_by_key` they tell a row. Else rows may be equal by chance: `different` is the
    share of the rows of one table, the lower of the two, that are different at all."""

    rows: Any
    seen: Any
    by: tuple[str, ...]
    is_by_key: bool
    different: float = 1.0

    @property
    def tells(self) -> bool:
        """Whether rows that are equal may be taken for the same."""
        return self.is_by_key or self.different >= DISTINCT

    def grid(self, others: str = "training row") -> Grid:
        """Name the first of them."""
        pairs = list(zip(self.rows.tolist(), self.seen.tolist(), strict=True))
        return Grid(
            title="Test rows that were trained on",
            columns=("test row", others),
            rows=tuple((f"{mine:,}", f"{theirs:,}") for mine, theirs in pairs[:SHOWN]),
            note=f"{len(pairs):,} in all; rows are counted from 0. Compared by {', '.join(self.by)}.",
        )


def leaks(table: pa.Table, train: pa.Table, key: Sequence[str] | None) -> Leak:
    """Give the rows of a table that stand in another, by `key`, or by all columns that both have.

    Raises:
        UsageError: a column of the key isn't there, or the tables have no column in common.
    """
    both = set(train.column_names)
    names = list(key) if key is not None else [each for each in table.column_names if each in both]
    if not names:
        raise UsageError("`train` has no column of the table that is judged", hint="name what tells a row: `key=[...]`")
    for name in names:
        check_column(table, name)
        check_column(train, name)
    mine, theirs = digests(table, names), digests(train, names)
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    place = np.minimum(np.searchsorted(ordered, mine), max(0, len(ordered) - 1))
    same = ordered[place] == mine if len(ordered) else np.zeros(len(mine), bool)
    rows = np.flatnonzero(same)
    different = min(len(np.unique(each)) / max(1, len(each)) for each in (mine, theirs))
    return Leak(rows, order[place[rows]], tuple(names), key is not None, different)


def digests(table: pa.Table, names: Sequence[str]) -> Any:
    """Give a digest of 64 bits for each row; equal rows have equal ones, whatever type holds their values."""
    from pandas.util import hash_array  # noqa: PLC0415  0.3 s, that the tracer need not spend

    found = np.zeros(table.num_rows, np.uint64)
    for name in names:
        values = table[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        column = values.to_pandas()
        if column.dtype.kind == "O" and isinstance(next((each for each in column if each is not None), None), bytes):
            column = column.map(repr)  # bytes needn't be a text
        if column.dtype.kind in "iufb":
            own = hash_array(column.to_numpy(np.float64, na_value=np.nan)) + _beyond(values)
        else:
            own = hash_array(column.astype(str).to_numpy(dtype=object), categorize=True)
        found = found * np.uint64(1099511628211) + own
    return found


def _beyond(values: pa.ChunkedArray) -> Any:
    """Give what floats leave off whole numbers: 0 but for those beyond 2^53, of which several are one float."""
    if not pa.types.is_integer(values.type):
        return np.uint64(0)
    whole = pc.fill_null(values, 0).to_numpy()
    with np.errstate(invalid="ignore"):  # what rounds to 2^64 or 2^63 wraps around, alike for equal numbers
        rounded = whole.astype(np.float64).astype(whole.dtype)
    return (whole.astype(np.uint64) - rounded.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
