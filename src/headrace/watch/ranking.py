"""How well scores rank rows, on resampled rows.

The scores are sorted once, and each resample then takes one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

import numpy as np

BLOCK = 500_000
"""The number of counts that are processed at a time, so that the intermediate arrays stay in the processor's cache."""
MOST_UNITS = 300
"""The most units for which a matrix of wins between units is faster than passes over the rows."""


class Ranking:
    """Rows in the order of their scores. Some of the rows are positive, the others negative.

    `positive` and `score` are arrays of n values. AUC is the chance that a positive row has a higher score than a
    negative one (Hanley & McNeil 1982); a tie counts half. Average precision is the sum of precisions weighted by the
    gain in recall; a tie is one step. AUC and average precision are defined as in scikit-learn. AUC comes from sums of
    whole and half numbers. So all bits of the AUC are the same, whatever the order in which the numbers are summed.
    """

    def __init__(self, positive: Any, score: Any) -> None:
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        self.units = order
        self.positive = positive[order].astype(bool)
        self.places = np.flatnonzero(self.positive)
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, bool)
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(order))
        group = (np.cumsum(new) - 1)[self.places]
        self.below, self.upto = starts[group], ends[group]  # start and end of the rows tied with each positive row
        self.earlier = np.searchsorted(self.places, self.below)  # and the number of positive rows before that start
        self.starts, self.ends, self.group = starts, ends, np.cumsum(new) - 1
        self.constant = len(starts) < 2
        self._wins: tuple[Any, Any] | None = None

    def placed(self, units: Any, *, shared: bool) -> Self:
        """Return this ranking for resamples of units: row n counts as often in a resample as the unit `units[n]`.

        If `shared`, several rows may have the same unit, such as a day. If there are few units, AUC is then computed
        from units and not from rows.
        """
        made = copy(self)
        made.units = units[self.units]
        if shared and not self.constant and int(units.max()) < MOST_UNITS:
            made._wins = made._of_units()
        return made

    def auc(self, counts: Any) -> Any:
        """Return the area under the ROC curve for each resample.

        The area is NaN if the resample lacks a class or all its scores are equal.
        """
        if self.constant:
            return np.full(len(counts), np.nan)
        if self._wins is None:
            return self._by_rows(counts)
        wins, sides = self._wins
        weights = counts[:, : len(wins)].astype(np.float64)
        sums = weights @ sides
        return _share_won((weights @ wins * weights).sum(axis=1), sums[:, 0] * sums[:, 1])

    def _of_units(self) -> tuple[Any, Any]:
        """Return a matrix of wins between units, and the numbers of positive and negative rows of each unit.

        A win is a pair of rows in which the positive row, of the first unit, has a higher score than the negative row,
        of the second unit.
        """
        count = int(self.units.max()) + 1
        own = self.units[self.places]
        wins = np.empty((count, count))
        for unit in range(count):
            before = _sums((self.units == unit) & ~self.positive)
            lower = before[self.below] + before[self.upto]
            wins[:, unit] = np.bincount(own, weights=lower, minlength=count) / 2
        sides = [np.bincount(self.units[each], minlength=count) for each in (self.positive, ~self.positive)]
        return wins, np.stack(sides, axis=1).astype(np.float64)

    def _by_rows(self, counts: Any) -> Any:
        """Return the AUC for each resample, from the number of negative rows below each positive row."""
        negative = self.units[~self.positive]
        positive = self.units[self.places]
        below = self.below - self.earlier
        upto = self.upto - np.searchsorted(self.places, self.upto)
        tied = np.flatnonzero(below != upto)  # the positive rows that are tied with negative rows

        def some(counts: Any) -> Any:
            before = _sums(np.take(counts, negative, axis=1))
            weights = np.take(counts, positive, axis=1).astype(np.float64)
            won = np.einsum("ri,ri->r", weights, np.take(before, below, axis=1).astype(np.float64))
            if len(tied):
                level = (np.take(before, ends[tied], axis=1) for ends in (upto, below))
                won += np.einsum("ri,ri->r", weights[:, tied], np.subtract(*level).astype(np.float64)) / 2
            return _share_won(won, weights.sum(axis=1) * before[:, -1])

        return _in_blocks(some, counts, len(self.units))

    def average_precision(self, counts: Any) -> Any:
        """Return the average precision for each resample. It is NaN if no row of the resample is positive, or if all
        scores of the resample are equal."""
        found = np.full(len(counts), np.nan)
        for place, drawn in enumerate(counts if not self.constant else ()):
            row = drawn[self.units]
            weights = row[self.places].astype(np.float64)
            before = _sums(row)
            caught = _sums(row[self.places])
            flagged = (before[-1] - before[self.below]).astype(np.float64)
            true = caught[-1] - caught[self.earlier]
            positives = float(caught[-1])
            precision = np.divide(true, flagged, out=np.zeros(len(true)), where=flagged > 0)
            found[place] = (weights @ precision) / positives if positives else np.nan
        return found

    def placements(self) -> Any:
        """Return for each row a share: how many rows of the other class are ranked right in comparison with this row.
        For a positive row, these are the negative rows below it; for a negative row, the positive rows above it. A tie
        counts half.

        Rows are in the order in which they were given. The mean over the rows of either class is the AUC.
        """
        negatives, positives = _sums(~self.positive), _sums(self.positive)
        below = (negatives[self.starts] + negatives[self.ends])[self.group] / (2 * negatives[-1])
        above = 1 - (positives[self.starts] + positives[self.ends])[self.group] / (2 * positives[-1])
        return self._as_given(np.where(self.positive, below, above))

    def precisions(self) -> tuple[Any, float, float]:
        """Return how far each row moves the sum of the positive rows' precisions, and the limits for one more row.

        The first value is an array, with the rows in the order in which they were given. The second value says how far
        one more negative row with the highest score would move the sum. The third says the same of a positive row. All
        values are derivatives: a row changes the precision of each positive row whose score is not higher than its own.
        """
        caught = _sums(self.positive)
        flagged = len(self.positive) - self.starts
        precision, count = (caught[-1] - caught[self.starts]) / flagged, np.bincount(self.group, weights=self.positive)
        each, squares = np.cumsum(count / flagged), np.cumsum(count * precision / flagged)
        moved = np.where(self.positive, (precision + each)[self.group], 0.0) - squares[self.group]
        return self._as_given(moved), -float(squares[-1]), float(1 + each[-1] - squares[-1])

    def _as_given(self, ordered: Any) -> Any:
        found = np.empty(len(ordered))
        found[self.units] = ordered
        return found


def _in_blocks(some: Callable[[Any], Any], counts: Any, rows: int) -> Any:
    """Return what `some` returns for `counts`. `some` is called for a few resamples at a time, and its results are
    joined.

    `counts` has a line for each resample. `rows` is the number of rows.
    """
    width = max(1, BLOCK // max(1, rows))
    return np.concatenate([some(counts[start : start + width]) for start in range(0, len(counts), width)])


def _share_won(won: Any, pairs: Any) -> Any:
    """Return the share of pairs that were won, NaN where there are no pairs."""
    return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)


def _sums(values: Any) -> Any:
    """Return the sums of the first 0, 1, ... values along the last axis, as whole numbers."""
    count = values.shape[-1]
    found = np.zeros((*values.shape[:-1], count + 1), np.int32 if count < 2**23 else np.int64)
    np.cumsum(values, axis=-1, dtype=found.dtype, out=found[..., 1:])
    return found
