"""Columns that predict the target too well: often such a column was filled in after the target was known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.types import plain_type
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
LEFT = 0.1
"""A column predicts the target if the number of wrong predictions is at most this share of the number of rows outside
the most frequent class."""
MOST_VALUES = 0.05
"""The largest number of different values in a column, as a share of the rows. A column with more would predict the
target by accident."""
Numbers = np.ndarray[Any, Any]


class Hint(NamedTuple):
    """A column from which the target can be predicted, and a sentence that says how.

    `is_sure` is False if the hint may come from a few rows by chance.
    """

    column: str
    how: str
    is_sure: bool


class Hints(NamedTuple):
    """The hints that were found, and the columns that couldn't be looked at.

    `unread` are columns of texts, lists and the like that have too many different values to be looked at. If no column
    could be looked at, `why_not` says why.
    """

    found: tuple[Hint, ...] = ()
    unread: tuple[str, ...] = ()
    why_not: str = ""


def label_hints(table: pa.Table, target: str, left_out: tuple[str, ...]) -> Hints:
    """Return a hint for each column from which the target can be predicted. A hint isn't a proof.

    Of a table with 100,000 rows or more, only every second, third, ... row is used, so that 50,000 to 100,000 rows are
    looked at.
    """
    step = max(1, len(table) // LOOKED_AT)
    some = rows_at(table, np.arange(0, len(table), step)) if step > 1 else table
    some = rows_where(some, _told(some.column(target)).to_numpy())
    if len(some) < FEWEST:
        return Hints(why_not=f"there are fewer than {FEWEST} rows with a target")
    digests = digests_each(some, [name for name in some.column_names if name not in left_out or name == target])
    labels = digests.pop(target)
    if len(np.unique(labels)) < 2:
        return Hints(why_not="the target has one value only")
    numbers = _numbers(some.column(target))
    is_enough = (1 - _guess(labels)) * len(labels) >= ENOUGH
    found, unread = [], []
    for name, values in digests.items():
        hint = _hint(some.column(name), values, labels, numbers)
        if hint is None:
            unread.append(name)
        elif hint[0]:
            found.append(Hint(name, hint[0], is_enough and hint[1]))
    return Hints(tuple(found), tuple(unread))


def missing_targets(column: pa.ChunkedArray) -> int:
    """Return the number of rows whose target is null or NaN."""
    return len(column) - int(pc.sum(_told(column)).as_py() or 0)


def _told(column: pa.ChunkedArray) -> pa.ChunkedArray:
    there = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        there = pc.and_(there, pc.fill_null(pc.invert(pc.is_nan(column)), False))
    return there


def _hint(column: pa.ChunkedArray, values: Numbers, labels: Numbers, target: Numbers | None) -> tuple[str, bool] | None:
    """Return a sentence that says how a column predicts the target, and whether the hint is sure. The sentence is empty
    if the column doesn't predict the target. Return None if the column can't be looked at: it has many different
    values, and they can't be converted to numbers.

    The hint isn't sure if it may come from a few rows by chance.
    """
    if column.null_count:
        gaps = column.is_valid().to_numpy()
        if 0.01 < gaps.mean() < 0.99 and _tells(gaps, labels):
            return "whether its value is missing tells the target", True
    few = len(np.unique(values)) <= max(2, MOST_VALUES * len(values))
    if few and _tells(values, labels):
        return "each of its values occurs with only one value of the target", True
    numbers = _numbers(column)
    if numbers is None:
        return ("", False) if few else None
    there = np.isfinite(numbers) if target is None else np.isfinite(numbers) & np.isfinite(target)
    found, classes = np.unique(labels[there], return_inverse=True)
    if there.sum() < FEWEST or not np.ptp(numbers[there]) or len(found) < 2:
        return "", False
    if len(found) == 2:
        area = _area(numbers[there], classes == 1)
        is_enough = np.bincount(classes).min() >= ENOUGH  # the column may have values in few rows only
        return (f"it alone ranks the target (AUC {area:.4f})", is_enough) if area >= CORRELATED else ("", False)
    if target is None:
        few = len(found) <= MOST_VALUES * len(classes)
        is_apart = few and _guess(classes) < SURE and _apart(numbers[there], classes) >= SURE
        is_enough = np.bincount(classes).min() >= ENOUGH
        return ("each value of the target has a range of its values to itself", is_enough) if is_apart else ("", False)
    if not np.ptp(target[there]):  # such as numbers too large for floats to tell them apart
        return "", False
    together = _together(numbers[there], target[there])
    if not together >= CORRELATED:  # NaN is not
        return "", False
    is_ordered = _together(_ranks(numbers[there]), _ranks(target[there])) >= IN_ORDER
    return f"its correlation with the target is {together:.4f}", is_ordered


def _together(first: Numbers, second: Numbers) -> float:
    with np.errstate(all="ignore"):  # huge numbers give NaN
        return abs(float(np.corrcoef(first, second)[0, 1]))


def _ranks(values: Numbers) -> Numbers:
    """Return the rank of each value, from 1. Equal values get the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Numbers = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return ranks


def _guess(labels: Numbers) -> float:
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def _tells(values: Numbers, labels: Numbers) -> bool:
    """Return whether values predict the labels. For each value, the most frequent label among its rows is predicted.
    This prediction may be wrong for at most the share `1 - SURE` of all rows. It may also be wrong for at most as many
    rows as the share `LEFT` of the rows outside the most frequent class. The second limit matters if the other labels
    are rare: a prediction that is always the most frequent label is then wrong for few rows."""
    wrong = 1 - _purity(values, labels)
    return wrong <= 1 - SURE and wrong <= LEFT * (1 - _guess(labels))


def _purity(values: Numbers, labels: Numbers) -> float:
    """Return the share of rows whose label is the most frequent one among the rows with the same value."""
    places, labelled = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in (values, labels))
    pairs, counts = np.unique(places * (int(labelled.max()) + 1) + labelled, return_counts=True)
    best = np.zeros(int(places.max()) + 1, np.int64)
    np.maximum.at(best, pairs // (int(labelled.max()) + 1), counts)
    return float(best.sum() / len(values))


def _area(scores: Numbers, positive: Numbers) -> float:
    """Return the AUC of scores for the rows that are positive, in the better of both directions (Mann and Whitney)."""
    ranks = _ranks(scores)
    many, few = int(positive.sum()), int((~positive).sum())
    area = (ranks[positive].sum() - many * (many + 1) / 2.0) / (many * few)
    return float(max(area, 1 - area))


def _apart(numbers: Numbers, classes: Numbers) -> float:
    """Return the share of rows whose class is predicted right by ranges of numbers. Each class gets one range, with as
    many rows in it as the class has. The ranges are in the order of the classes' median ranks."""
    order = np.random.default_rng(0).permutation(len(numbers))  # so that equal numbers are in no order
    order = order[np.argsort(numbers[order], kind="stable")]
    places = np.empty(len(order))
    places[order] = np.arange(len(order))
    counts = np.bincount(classes)
    middles = [np.median(places[classes == each]) for each in range(len(counts))]
    by_middle = np.argsort(middles, kind="stable")
    told = np.repeat(by_middle, counts[by_middle])
    return float((told == classes[order]).mean())


def _numbers(column: pa.ChunkedArray) -> Numbers | None:
    """Return a column of numbers, truths or times as floats, or None for another column. Null is NaN."""
    kind = plain_type(column.type)
    if pa.types.is_boolean(kind):
        whole: pa.DataType = pa.int8()
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        whole = pa.int32()
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        whole = pa.int64()
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        whole = kind
    else:
        return None
    found: Numbers = column.cast(kind).cast(whole).cast(pa.float64(), safe=False).to_numpy()
    return found
