"""How well scores rank, under counts of rows: the scores are sorted once, and each resample is a pass over them."""

from __future__ import annotations

from typing import Any

import numpy as np


class Ranking:
    """Rows in the order of their scores, of which some are positive; ties count half.

    `positive` and `score` are arrays of n values. AUC is the chance that a positive row is scored above a negative one
    (Hanley & McNeil 1982), ties counting half; average precision is the sum of precisions weighted by the gain in
    recall, a tie being one step. Both are as scikit-learn has them.
    """

    def __init__(self, positive: Any, score: Any) -> None:
        order = np.argsort(score, kind="stable")
        self.order = None if np.array_equal(order, np.arange(len(order))) else order
        ordered = score[order]
        self.positive = positive[order].astype(np.uint8)
        self.places = np.flatnonzero(self.positive)
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, bool)
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(order))
        group = (np.cumsum(new) - 1)[self.places]
        self.below, self.upto = starts[group], ends[group]  # for each positive row, where those tied with it begin, end
        self.earlier = np.searchsorted(self.places, self.below)  # and how many positive rows come before
        self.tied = len(starts) < len(order)
        self.constant = len(starts) < 2

    def auc(self, counts: Any) -> Any:
        """Give the area under the ROC curve for each resample; NaN where a class is missing, or all scores equal."""
        rows = counts if self.order is None else counts[:, self.order]
        found = np.empty(len(rows))
        for place, row in enumerate(rows):
            weights = row[self.places].astype(np.float64)
            before = _sums(row * (1 - self.positive))
            negatives, positives = float(before[-1]), float(weights.sum())
            lower = before[self.below].astype(np.float64)
            if self.tied:
                lower = (lower + before[self.upto]) / 2
            pairs = positives * negatives
            found[place] = (weights @ lower) / pairs if pairs and not self.constant else np.nan
        return found

    def average_precision(self, counts: Any) -> Any:
        """Give the average precision for each resample; NaN where no row is positive, or all scores are equal."""
        rows = counts if self.order is None else counts[:, self.order]
        found = np.empty(len(rows))
        for place, row in enumerate(rows):
            weights = row[self.places].astype(np.float64)
            before = _sums(row)
            caught = _sums(row[self.places])
            flagged = (before[-1] - before[self.below]).astype(np.float64)
            true = caught[-1] - caught[self.earlier]
            positives = float(caught[-1])
            precision = np.divide(true, flagged, out=np.zeros(len(true)), where=flagged > 0)
            found[place] = (weights @ precision) / positives if positives and not self.constant else np.nan
        return found


def _sums(values: Any) -> Any:
    """Give the sums of the first 0, 1, ... values, whole numbers."""
    found = np.empty(len(values) + 1, np.int32 if len(values) < 2**23 else np.int64)
    found[0] = 0
    np.cumsum(values, dtype=found.dtype, out=found[1:])
    return found
