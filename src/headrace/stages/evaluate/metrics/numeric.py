"""Metrics of predicted numbers, on resampled rows. Definitions are scikit-learn's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from headrace.stages.evaluate.metrics.part import Metric, divided
from headrace.watch.intervals import Middle, Ratio

METRICS = (
    Metric("MAE", "lower", 0),
    Metric("RMSE", "lower", 0),
    Metric("median absolute error", "lower", 0),
    Metric("R2", "higher", highest=1, is_relative=True),
    Metric("MAPE", "lower", 0, is_relative=True),
    Metric("mean error", ""),
    Metric("mean target", ""),
)
MAIN = "MAE"
LARGEST = 1e140
"""The largest number that is judged. Its square, and sums of some hundred million such squares, still fit into a float.
"""


class NumericPart:
    """Rows of numbers, with their metrics.

    `truth` and `predicted` are arrays of n numbers. An error is the predicted minus the true number.
    """

    sizes: Mapping[str, float]

    def __init__(self, truth: Any, predicted: Any, *, rows: Any = None, whole: bool = False) -> None:
        self.rows = rows
        self.size = len(truth)
        self.sizes = {}
        error = predicted - truth
        self.truth, self.error = truth, error
        # The mean is subtracted before squaring, so that large targets with small differences keep their digits.
        self.centre = float(truth.mean()) if self.size else 0.0
        self.nonzero = bool((truth != 0).all())
        share = divided(np.abs(error), np.abs(truth)) if self.nonzero else np.zeros(self.size)
        off = truth - self.centre
        self.added = np.stack([np.ones(self.size), np.abs(error), error**2, error, off, off**2, share], axis=1)
        self.order = np.argsort(np.abs(error), kind="stable") if whole else None
        self.errors = np.abs(error)[self.order] if self.order is not None else None
        once = np.ones((1, self.size), np.uint8)
        point = {name: float(values[0]) for name, values in self.replicates(once).items()} if self.size else {}
        self.point: Mapping[str, float] = {name: value for name, value in point.items() if np.isfinite(value)}

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:
        """Return each metric for each resample, NaN where it is undefined.

        The median is slow. If `only` isn't empty, the median is left out unless it is in `only`.
        """
        rows, sizes, squares, errors, offs, offs2, shares = (counts.astype(np.float64) @ self.added).T
        around = offs2 - divided(offs, rows) * offs
        around = np.where(around > 1e-12 * np.maximum(offs2, 1e-300), around, 0)
        found = {
            "MAE": divided(sizes, rows),
            "RMSE": np.sqrt(divided(squares, rows)),
            "R2": 1 - divided(squares, around),
            "mean error": divided(errors, rows),
            "mean target": self.centre + divided(offs, rows),
        }
        if self.nonzero:
            found["MAPE"] = divided(shares, rows)
        if self.order is not None and (not only or "median absolute error" in only):
            found["median absolute error"] = self._median(counts[:, self.order])
        return found

    def sums(self, name: str) -> Ratio | Middle | None:
        """Return a metric as a ratio of sums over rows, or as a median. The ratios have no `highest`, the bound for one
        more row, since the error of one more row may be of any size."""
        ones, sizes, squares, errors, _, off2, shares = self.added.T
        match name:
            case "MAE":
                return Ratio(sizes, ones, 0.0)
            case "RMSE":
                return Ratio(squares, ones, 0.0, squared=True, power=3)
            case "MAPE":
                return Ratio(shares, ones, 0.0)
            case "R2":
                return Ratio(off2 - squares, off2, power=3)
            case "mean error":
                return Ratio(errors, ones)
            case "mean target":
                return Ratio(self.truth, ones)
            case _:
                return Middle(sizes) if name == "median absolute error" else None

    def _median(self, counts: Any) -> Any:
        assert self.errors is not None
        sums = np.cumsum(counts, axis=1, dtype=np.int64)
        low = [np.searchsorted(each, (each[-1] + 1) // 2) for each in sums]
        high = [np.searchsorted(each, each[-1] // 2 + 1) for each in sums]
        last = self.size - 1
        return (self.errors[np.minimum(low, last)] + self.errors[np.minimum(high, last)]) / 2

    def why(self, name: str) -> str:
        """Return the reason why a metric is undefined."""
        if not self.size:
            return "there are no rows"
        if name == "R2":
            return "all targets are equal, so there is nothing to explain"
        if name == "MAPE":
            return "some targets are 0"
        if name == "median absolute error" and self.order is None:
            return "it is computed for all rows only, not for some of them"
        return "errors are infinite, or too large to be summed"
