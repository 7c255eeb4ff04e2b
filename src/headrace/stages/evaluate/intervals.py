"""Intervals from bootstrap replicates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

UNDEFINED_AT_MOST = 0.05
"""The share of resamples in which a metric may be undefined, and still have an interval."""


class Interval(NamedTuple):
    """The two ends, or None and why there is no interval."""

    low: float | None
    high: float | None
    why: str = ""


def percentile(replicates: Any, level: float) -> Interval:
    """Give the percentile interval (Efron & Tibshirani 1993, chapter 13): the middle `level` of the replicates.

    >>> percentile(np.arange(101.0), 0.5)
    Interval(low=25.0, high=75.0, why='')
    """
    kept = replicates[np.isfinite(replicates)]
    lost = len(replicates) - len(kept)
    if lost > UNDEFINED_AT_MOST * len(replicates):
        return Interval(None, None, f"it is undefined in {lost:,} of {len(replicates):,} resamples")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def wilson(count: float, of: float, level: float) -> Interval:
    """Give Wilson's interval of a share (1927), for what resamples don't vary: none or all of few.

    >>> wilson(30, 30, 0.95).low
    0.88648...
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


class Widest(NamedTuple):
    """The largest of several differences: its value, which one it is, and its interval."""

    value: float
    which: int
    interval: Interval


def widest(values: Any, replicates: Any, errors: Any, level: float) -> Widest:
    """Give the largest of k values, with an interval that allows for having looked at all of them.

    `values` has k, `replicates` resamples by k, `errors` the least standard error of each. The ends are the largest of
    the k simultaneous lower and upper ends, which the largest studentised deviation over the resamples gives (max-t
    bootstrap: Romano & Wolf 2005). So one of many small slices does not stand out by chance alone.
    """
    spread = np.maximum(np.nanstd(replicates, axis=0), errors)
    which = int(np.argmax(values))
    moving = spread > 0
    if not moving.any():
        return Widest(float(values[which]), which, Interval(float(values[which]), float(values[which])))
    deviations = np.abs(replicates - values)[:, moving] / spread[moving]
    most = np.nanmax(np.where(np.isfinite(deviations), deviations, 0.0), axis=1)
    reach = max(float(np.quantile(most, level)), NormalDist().inv_cdf((1 + level) / 2))
    low, high = float(np.max(values - reach * spread)), float(np.max(values + reach * spread))
    return Widest(float(values[which]), which, Interval(low, high))


def share_error(share: Any, of: Any) -> Any:
    """Give the least standard error of shares of few: that of two more of each kind (Agresti & Coull 1998)."""
    drawn = (share * of + 2) / (of + 4)
    return np.sqrt(drawn * (1 - drawn) / (of + 4))


def pairs(count: int) -> Sequence[tuple[int, int]]:
    """Give all ordered pairs of `count` things."""
    return list(itertools.permutations(range(count), 2))


def standing_out(values: Any, spread: Any, level: float) -> list[bool]:
    """Say which of k differences stand out from zero though k were looked at (Holm 1979, normal deviates)."""
    chances = [
        2 * (1 - NormalDist().cdf(abs(float(value) / float(error)))) if error > 0 and np.isfinite(value) else 1.0
        for value, error in zip(values, spread, strict=True)
    ]
    found = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > (1 - level) / (len(chances) - rank):
            break
        found[place] = True
    return found
