"""Columns that predict the target too well: often such a column was filled in after the target was known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.types import is_text, plain_type
from headrace.stages.prepare._split.leaks import digests_each
from headrace.stages.tables.columns import rows_at, rows_where

LOOKED_AT = 50_000
SURE = 0.999
CORRELATED = 0.995
FEWEST = 20
"""The fewest rows from which a hint is made."""
ENOUGH = 10
"""A hint is sure only if at least this many rows are outside the most frequent class. Fewer rows may be ranked right by
chance."""
IN_ORDER = 0.9
"""The least rank correlation of a sure hint. A few huge values can raise any correlation except a rank correlation."""
MOST_VALUES = 0.05
"""The largest number of different values in a column, as a share of the rows. A column with more would predict the
target by accident."""
Numbers = np.ndarray[Any, Any]


class Hint(NamedTuple):
    """A column from which the target can be read off, and a sentence on how.

    `is_sure` is False if the hint may come from a few rows by chance.
    """

    column: str
    how: str
    is_sure: bool


def label_hints(table: pa.Table, target: str, left_out: tuple[str, ...]) -> Iterator[Hint]:
    """Yield a hint for each column from which the target can be read off. A hint proves nothing.

    At most about 50,000 rows are used, spread evenly over the table.
    """
    step = max(1, len(table) // LOOKED_AT)
    some = rows_at(table, np.arange(0, len(table), step)) if step > 1 else table
    some = rows_where(some, _told(some.column(target)).to_numpy())
    if len(some) < FEWEST:
        return
    digests = digests_each(some, [name for name in some.column_names if name not in left_out or name == target])
    labels = digests.pop(target)
    if len(np.unique(labels)) < 2:
        return
    numbers = _numbers(some.column(target))
    is_enough = (1 - _guess(labels)) * len(labels) >= ENOUGH
    for name, values in digests.items():
        how, is_ordered = _hint(some.column(name), values, labels, numbers)
        if how:
            yield Hint(name, how, is_enough and is_ordered)


def missing_targets(column: pa.ChunkedArray) -> int:
    """Return the number of rows whose target is null or NaN."""
    return len(column) - int(pc.sum(_told(column)).as_py() or 0)


def _told(column: pa.ChunkedArray) -> pa.ChunkedArray:
    there = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        there = pc.and_(there, pc.fill_null(pc.invert(pc.is_nan(column)), False))
    return there


def _hint(column: pa.ChunkedArray, values: Numbers, labels: Numbers, target: Numbers | None) -> tuple[str, bool]:
    """Return a sentence on how a column tells the target, or an empty text.

    The returned boolean is False if a few huge values of the column may be the only reason for the sentence.
    """
    if column.null_count:
        gaps = column.is_valid().to_numpy()
        if 0.01 < gaps.mean() < 0.99 and _purity(gaps, labels) >= SURE:
            return "whether its value is missing tells the target", True
    few = len(np.unique(values)) <= max(2, MOST_VALUES * len(values))
    if few and _purity(values, labels) >= SURE and _guess(labels) < SURE:
        return "each of its values occurs with only one value of the target", True
    numbers = _numbers(column)
    if numbers is None or target is None:
        return "", False
    there = np.isfinite(numbers) & np.isfinite(target)
    if there.sum() < FEWEST or not numbers[there].std() or not target[there].std():
        return "", False
    if len(np.unique(labels)) == 2 and (area := _area(numbers[there], target[there])) >= CORRELATED:
        return f"it alone ranks the target (AUC {area:.4f})", True
    together = _together(numbers[there], target[there])
    if together < CORRELATED:
        return "", False
    is_ordered = _together(_ranks(numbers[there]), _ranks(target[there])) >= IN_ORDER
    return f"its correlation with the target is {together:.4f}", is_ordered


def _together(first: Numbers, second: Numbers) -> float:
    return abs(float(np.corrcoef(first, second)[0, 1]))


def _ranks(values: Numbers) -> Numbers:
    """Return the rank of each value, from 1. Equal values get the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Numbers = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return ranks


def _guess(labels: Numbers) -> float:
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def _purity(values: Numbers, labels: Numbers) -> float:
    """Return the share of rows whose label is the most frequent one among the rows with the same value."""
    places, labelled = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in (values, labels))
    pairs, counts = np.unique(places * (int(labelled.max()) + 1) + labelled, return_counts=True)
    best = np.zeros(int(places.max()) + 1, np.int64)
    np.maximum.at(best, pairs // (int(labelled.max()) + 1), counts)
    return float(best.sum() / len(values))


def _area(scores: Numbers, target: Numbers) -> float:
    """Return the AUC of scores for a target of two values, in the better of both directions (Mann and Whitney)."""
    ranks = _ranks(scores)
    positive = target == target.max()
    many, few = int(positive.sum()), int((~positive).sum())
    area = (ranks[positive].sum() - many * (many + 1) / 2.0) / (many * few)
    return float(max(area, 1 - area))


def _numbers(column: pa.ChunkedArray) -> Numbers | None:
    kind = plain_type(column.type)
    if is_text(kind) or not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    found: Numbers = (
        column.cast(pa.int8() if pa.types.is_boolean(kind) else kind).cast(pa.float64(), safe=False).to_numpy()
    )
    return found
