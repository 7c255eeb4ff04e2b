"""Intervals from bootstrap replicates."""

from __future__ import annotations

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
    return Interval(float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def of_share(value: float, replicates: Any, of: float | None, level: float) -> Interval:
    """Give the percentile interval of a share of `of` things; Wilson's where resamples don't vary: none or all of them.

    It also holds for means of what lies from 0 to 1, such as an AUC: if all are 0 or 1, a share varies the most. None
    for `of` is what has no such ends, an error in dollars.
    """
    if of and value in (0.0, 1.0):
        return wilson(value * of, of, level)
    return percentile(replicates, level)


def of_distance(value: float, replicates: Any, noise: Any, level: float) -> Interval:
    """Give the interval of a sum of distances, such as ECE, that chance alone puts above 0, and resampling once more.

    `noise` are replicates of what chance adds where there is no distance. Where that explains the value, the lower end
    is 0; else it is that of the basic bootstrap, which takes the bias off (Davison & Hinkley 1997, chapter 5). The
    upper end is that of the percentile interval: a little high, so that less distance is claimed by no gate.
    """
    low, high, why = percentile(replicates, level)
    if low is None or high is None:
        return Interval(low, high, why)
    explained = value <= float(np.quantile(noise, (1 + level) / 2))
    return Interval(0.0 if explained else max(0.0, min(value, 2 * value - high)), max(value, high))


class Spread(NamedTuple):
    """k numbers, their replicates (resamples by k), and the least standard error of each."""

    point: Any
    replicates: Any
    errors: Any


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


def widest_pair(blocks: Sequence[Spread], level: float) -> tuple[float, Interval]:
    """Give the widest difference between two things of a block, with an interval that allows for all pairs.

    It is `widest` of all pairs, but holds the differences of one thing to the others at a time: of 300 groups there are
    45,000 pairs, and a thousand resamples of each.
    """
    values, spreads, most = [], [], np.zeros(len(blocks[0].replicates))
    for point, drawn, errors in blocks:
        known = np.isfinite(drawn)
        moved = np.where(known, drawn - point, 0.0)
        every = np.atleast_2d(np.cov(np.where(known, moved, moved.mean(axis=0)), rowvar=False, bias=True))
        for first in range(len(point) - 1):
            after = slice(first + 1, None)
            both = np.maximum(every[first, first] + np.diagonal(every)[after] - 2 * every[first, after], 0.0)
            spread = np.maximum(np.sqrt(both), np.hypot(errors[first], errors[after]))
            per = np.divide(1.0, spread, out=np.zeros(len(spread)), where=spread > 0)
            np.maximum(most, (np.abs(moved[:, after] - moved[:, first, None]) * per).max(axis=1), out=most)
            values.append(np.abs(point[after] - point[first]))
            spreads.append(spread)
    value, spread = np.concatenate(values), np.concatenate(spreads)
    reach = max(float(np.quantile(most, level)), NormalDist().inv_cdf((1 + level) / 2))
    ends = Interval(float(np.max(value - reach * spread)), float(np.max(value + reach * spread)))
    return float(value.max()), ends


def share_error(share: Any, of: Any) -> Any:
    """Give the least standard error of shares of few: that of two more of each kind (Agresti & Coull 1998)."""
    drawn = (share * of + 2) / (of + 4)
    return np.sqrt(drawn * (1 - drawn) / (of + 4))


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
