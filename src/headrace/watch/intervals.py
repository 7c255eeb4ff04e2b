"""Intervals of metrics. They are computed from what one more row might add, or from bootstrap replicates.

A bootstrap only knows the rows that were seen. If there are ten positive rows, or forty errors but few large ones, it
misses the worse rows that could have been drawn. So its intervals are too narrow. `one_more` adds one row that is as
bad (or as good) as a row can be, and gives each row a random weight from an exponential distribution (Gaffke 2005,
"Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"; Learned-Miller &
Thomas 2020, "A new confidence interval for the mean of a bounded random variable"). For a share, this is the interval
of Clopper & Pearson (1934).

No random weights are drawn. The probability that the metric with random weights is below a certain number comes from
the saddlepoint approximation (Lugannani & Rice 1980), whose equation is that of the empirical likelihood (Owen 1988;
with an added point: Chen, Variyath & Abraham 2008).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

UNDEFINED_AT_MOST = 0.05
"""The largest share of resamples in which a metric may be undefined and still have an interval."""
FARTHER = 8.0
"""How much farther out one more row may be than the farthest seen row, if the values of rows have no bound.

With n rows, one more row may be 1 + 8 / sqrt(n) times as far out. The number 8 comes from simulations with errors up to
a lognormal of sigma 1.5: `make proofs` shows them.
"""
FEWEST, FEWEST_GROUPS = 10, 8
"""`FEWEST`: the fewest rows or groups for an interval of values that lack a bound. `FEWEST_GROUPS`: the fewest groups
for an interval of values with both bounds."""
MANY, KEPT = 4_000, 400
"""If there are more than `MANY` rows, the rows in the middle are binned, and the `KEPT` rows at each end stay
single."""
HALF = 0.5
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """The two ends of an interval. If there is no interval, both ends are None, and `why` is the reason."""

    low: float | None
    high: float | None
    why: str = ""

    def within(self, lowest: float, highest: float) -> Interval:
        """Return the part of the interval that lies between the least and the greatest possible value."""
        low, high = (None if end is None else min(max(end, lowest), highest) for end in (self.low, self.high))
        return Interval(low, high, self.why)


class Ratio(NamedTuple):
    """A number that is a ratio of two sums over rows: the sum of `above` divided by the sum of `below`.

    `lowest` and `highest` are the bounds of `above` for one more row whose `below` is 1. They are None if there is no
    bound. `might` is a function that returns an array of rows by labels: the value that `above` would have for each row
    if the row had that label. With `might`, the bounds of differences are tighter. If `squared`, the number is the
    square root of the ratio, as RMSE is. `power` says how fast `above` grows with a row's error: `one_more` raises its
    factor for one more row to this power.
    """

    above: Any
    below: Any
    lowest: float | None = None
    highest: float | None = None
    might: Callable[[], Any] | None = None
    squared: bool = False
    power: int = 1

    @property
    def value(self) -> float:
        """The ratio, or its square root if `squared`."""
        found = float(np.sum(self.above) / np.sum(self.below))
        return math.sqrt(max(0.0, found)) if self.squared else found

    def less(self, other: Ratio | Middle) -> Ratio | None:
        """Return the difference from another number on the same rows, or None if the other number is a median.

        If both numbers have the same `below`, the difference is a ratio too. Otherwise both numbers are first replaced
        by what their `linear` returns (the infinitesimal jackknife: Jaeckel 1972).
        """
        if isinstance(other, Middle):
            return None
        mine, theirs = self, other
        if self.squared or other.squared or not np.array_equal(self.below, other.below):
            mine, theirs = self.linear(), other.linear()
        above = mine.above - theirs.above
        power = max(self.power, other.power)
        if mine.might is not None and theirs.might is not None:
            mine_might, theirs_might = mine.might, theirs.might
            moved = mine_might() - theirs_might()
            return Ratio(above, mine.below, float(moved.min()), float(moved.max()), power=power)
        lowest = None if mine.lowest is None or theirs.highest is None else mine.lowest - theirs.highest
        highest = None if mine.highest is None or theirs.lowest is None else mine.highest - theirs.lowest
        return Ratio(above, mine.below, lowest, highest, power=power)

    def interval(self, level: float, groups: Any = None) -> Interval:
        """Return the interval of the number at the confidence `level`."""
        return one_more(self, level, groups)

    def linear(self) -> Ratio:
        """Return the number as a mean over rows. The value of each row says how far the row moves the number."""
        value, unit = self.value, float(np.mean(self.below))
        ratio = value**2 if self.squared else value
        slope = (1 / (2 * value) if value else 0.0) if self.squared else 1.0

        def moved(above: Any, below: Any) -> Any:
            return value + slope * (above - ratio * below) / unit

        low, high = (None if each is None else float(moved(each, 1.0)) for each in (self.lowest, self.highest))
        return Ratio(moved(self.above, self.below), np.ones(len(self.above)), low, high, power=self.power)


def share(some: Any, of: Any) -> Ratio:
    """Return a share as a ratio: the share of the rows in `of` that are also in `some`. Both `some` and `of` are arrays
    of booleans."""
    return Ratio((some & of).astype(np.float64), of.astype(np.float64), 0.0, 1.0)


def two_sided(placed: Any, positive: Any, ends: tuple[float, float] | None = None) -> Ratio:
    """Return the mean of `placed` over the positive rows, as a ratio to which the negative rows contribute too.

    `placed` has a number for each row, such as `Ranking.placements` for AUC. The mean of these numbers over the
    negative rows must be the same as over the positive rows. The denominator counts the rows of the rarer class. `ends`
    are the bounds of `placed` for one more row of the rarer class. By default, the bounds lie halfway between the most
    extreme value seen and 0 (or 1). Two simpler choices fail when 1% of the rows are positive, or when part of a class
    is never found: intervals from a bound of the variance (Newcombe 2006) miss the true value too often, and those with
    one more row at 0 are too wide (`make proofs`).
    """
    rare = positive if 2 * np.count_nonzero(positive) <= len(positive) else ~positive
    own = placed[rare]
    value, count = float(own.mean()), len(own)
    low, high = (float(own.min()) / 2, (1 + float(own.max())) / 2) if ends is None else ends
    above = np.where(rare, placed, (placed - value) * (count / (len(placed) - count)))
    return Ratio(above, rare.astype(np.float64), low, high)


def one_more(ratio: Ratio, level: float, groups: Any = None) -> Interval:
    """Return an interval for a ratio that allows for one more row, or for one more group of dependent rows.

    `groups` has a whole number from 0 for each row, or is None. One more group is assumed to be farther out than the
    farthest group seen, by the factor that `FARTHER` gives. At least one row of the added group is the worst possible
    row. The added group is never farther out than a group in which all rows are the worst possible.

    >>> one_more(Ratio(np.ones(30), np.ones(30), 0.0, 1.0), 0.95).low  # Clopper & Pearson: 0.025 ** (1 / 30)
    0.8837...
    """
    above, below = np.asarray(ratio.above, np.float64), np.asarray(ratio.below, np.float64)
    if groups is not None:
        above, below = (np.bincount(groups, weights=each).astype(np.float64) for each in (above, below))
    used = (above != 0) | (below != 0)
    above, below = above[used], below[used]
    count = len(above)
    is_bound = ratio.lowest is not None and ratio.highest is not None
    needed = FEWEST if not is_bound else 1 if groups is None else FEWEST_GROUPS
    if count < needed:
        of = "rows" if groups is None else "groups"
        return Interval(None, None, f"{count} {of} don't tell how far off the value may be: {needed} are needed")
    value = float(above.sum() / below.sum())
    moved = above - value * below
    above, below, times = _gathered(above, below, moved)
    # The bound of one row also holds for one more group, and sums over groups are less skewed than the errors of rows.
    reach = (1 + (FARTHER / 2 if is_bound else FARTHER) / math.sqrt(count)) ** ratio.power
    ends = []
    for sign, bound in ((1.0, ratio.lowest), (-1.0, ratio.highest)):
        unit = 1.0 if groups is None and bound is not None else float(below @ times / times.sum())
        far = reach * float((sign * moved).min())
        if bound is not None:
            row = sign * (bound - value)
            whole = row * float(below.max())  # where all groups are alike, one more may differ as much as possible
            far = row if groups is None else max(min(far, row), whole) if moved.any() else row * unit
        shifted = (sign * np.append(above, sign * far + value * unit), np.append(below, unit), np.append(times, 1.0))
        ends.append(sign * _end(*shifted, sign * value, (1 - level) / 2))
    low, high = (math.sqrt(max(0.0, each)) if ratio.squared else each for each in ends)
    return Interval(low, high)


def _gathered(above: Any, below: Any, moved: Any) -> tuple[Any, Any, Any]:
    """Return `above`, `below` and a count for each row, after binning the rows in the middle.

    Rows are binned by `moved`: how far each row moves the ratio. A bin has the means of its rows, and its count is the
    number of its rows. The rows at both ends stay single, with a count of 1.
    """
    if len(moved) <= MANY:
        return above, below, np.ones(len(moved))
    if not (above * (1 - above)).any() and not (1 - below).any():
        kinds = np.array([0.0, 1.0])
        return kinds, np.ones(2), np.array([len(above) - above.sum(), above.sum()])
    order = np.argpartition(moved, (KEPT, len(moved) - KEPT))
    low, high = moved[order[KEPT]], moved[order[len(moved) - KEPT]]
    inner, outer = order[KEPT : len(moved) - KEPT], np.append(order[:KEPT], order[len(moved) - KEPT :])
    bins = ((moved[inner] - low) * ((MANY - 1) / (high - low) if high > low else 0.0)).astype(np.intp)
    times = np.bincount(bins).astype(np.float64)
    there = times > 0
    sums = [np.bincount(bins, weights=each[inner])[there] / times[there] for each in (above, below)]
    both = [np.append(each[outer], mean) for each, mean in zip((above, below), sums, strict=True)]
    return both[0], both[1], np.append(np.ones(len(outer)), times[there])


def _end(above: Any, below: Any, times: Any, value: float, chance: float) -> float:
    """Return the lower end of an interval: the greatest number for which the observed result has at most the
    probability `chance`.

    The normal deviate of the probability rises nearly linearly with the number. So secant steps within a bracket find
    the number.
    """
    aim = _NORMAL.inv_cdf(chance)

    def off(number: float) -> float:
        return _deviate(above - number * below, times) - aim

    moved = above - value * below
    step = math.sqrt(float(times @ moved**2)) / float(times @ below)
    high, low, width = value, value, -aim * step
    if not width or off(value) <= 0:
        return value
    over, under = off(high), math.inf
    while under > 0:
        low, width = low - width, 2 * width
        under = off(low)
    for _ in range(60):
        if math.isfinite(under) and math.isfinite(over):
            middle = low + (high - low) * min(0.95, max(0.05, -under / (over - under)))
        else:
            middle = (low + high) / 2
        found = off(middle)
        if found > 0:
            high, over = middle, found
        else:
            low, under = middle, found
        if abs(found) < 1e-7 or high - low <= 1e-13 * max(1e-300, abs(low), abs(high)):
            return middle
    return low


def _deviate(moves: Any, times: Any) -> float:
    """Return the normal deviate of the chance that the sum of the randomly weighted moves is 0 or less.

    The weights are exponential. Each of `moves` occurs as often as `times` says.
    """
    least, most = float(moves.min()), float(moves.max())
    if least >= 0 or most <= 0:
        return -math.inf if least >= 0 else math.inf
    scale = max(-least, most)
    moves = moves / scale
    low, high, at = scale / least, scale / most, 0.0
    for _ in range(60):
        left = 1 - at * moves
        pull = moves / left
        slope = float(times @ pull)
        bend = float(times @ (pull * pull))
        if slope > 0:
            high = at
        else:
            low = at
        step = at - slope / bend
        if abs(slope) <= 1e-9 * math.sqrt(bend):
            break
        at = step if low < step < high else (low + high) / 2
    root = math.copysign(math.sqrt(max(0.0, 2 * float(times @ np.log(left)))), at)
    slant = at * math.sqrt(bend)
    if abs(root) < 1e-3 or abs(slant) < 1e-3:
        return root + float(times @ moves**3) / (3 * math.pow(times @ moves**2, 1.5))
    return root + math.log(slant / root) / root


class Middle(NamedTuple):
    """The median of values."""

    values: Any

    def interval(self, level: float, groups: Any = None) -> Interval:
        """Return the interval of the median: from the lowest to the highest value that may be the median.

        The ends are order statistics (Thompson 1936). With groups, look at the share of values that are at most v, and
        at the interval of this share: v may be the median if 1/2 is in the interval (Woodruff 1952).
        """
        ordered, ones = np.unique(self.values), np.ones(len(self.values))

        def share(place: int) -> Interval:
            return one_more(Ratio((self.values <= ordered[place]).astype(np.float64), ones, 0.0, 1.0), level, groups)

        every = range(len(ordered))
        low = bisect_left(every, True, key=lambda place: (share(place).high or 0.0) >= HALF)
        high = bisect_left(every, True, key=lambda place: (share(place).low or 0.0) > HALF)
        if high == len(ordered):
            return Interval(None, None, f"{len(self.values)} rows are too few for an interval of the median")
        return Interval(float(ordered[low]), float(ordered[high]))

    def less(self, other: Ratio | Middle) -> None:
        """Return None: the difference between two medians isn't a ratio of sums."""


def percentile(replicates: Any, level: float) -> Interval:
    """Return the percentile interval (Efron & Tibshirani 1993, chapter 13): the middle `level` of the replicates.

    >>> percentile(np.arange(101.0), 0.5)
    Interval(low=25.0, high=75.0, why='')
    """
    kept = replicates[np.isfinite(replicates)]
    lost = len(replicates) - len(kept)
    if lost > UNDEFINED_AT_MOST * len(replicates):
        return Interval(None, None, f"it is undefined in {lost:,} of {len(replicates):,} resamples")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def of_distance(value: float, replicates: Any, noise: Any, level: float) -> Interval:
    """Return the interval of a sum of distances, such as ECE.

    Chance alone raises such a sum above 0, and resampling raises the sum again. `noise` are replicates of the sum as it
    would be if all true distances were 0. If chance explains the value, the lower end is 0. Otherwise the lower end is
    that of the basic bootstrap, which removes the bias (Davison & Hinkley 1997, chapter 5). The upper end is that of
    the percentile interval. It is a little too high, which is safe: a gate that asks for a small sum doesn't pass by
    mistake.
    """
    low, high, why = percentile(replicates, level)
    if low is None or high is None:
        return Interval(low, high, why)
    explained = value <= float(np.quantile(noise, (1 + level) / 2))
    return Interval(0.0 if explained else max(0.0, min(value, 2 * value - high)), max(value, high))


class Spread(NamedTuple):
    """k numbers with their replicates (an array of resamples by k).

    `errors` has the least standard error that is assumed for each number, even if its replicates vary less. `low` and
    `high` have the ends of each number's interval.
    """

    point: Any
    replicates: Any
    errors: Any
    low: Any
    high: Any


class Widest(NamedTuple):
    """The largest of several differences: its value, its position among them, and its interval."""

    value: float
    which: int
    interval: Interval


def widest(values: Any, replicates: Any, errors: Any, highest: Any, level: float) -> Widest:
    """Return the largest of k values, with an interval that takes into account that it was chosen from k values.

    `values` has k numbers. `replicates` is an array of resamples by k. `errors` has the least standard error that is
    assumed for each value, even if its replicates vary less. `highest` has the upper end of each value's own interval.
    The lower end is the largest of k lower ends that hold simultaneously. These come from the largest studentised
    deviation in each resample (max-t bootstrap: Romano & Wolf 2005). So one of many small slices doesn't stand out by
    chance alone. The upper end is the largest of `highest`. It is too low only if the upper end of the truly largest
    value is too low.
    """
    spread = np.maximum(np.nanstd(replicates, axis=0), errors)
    which = int(np.argmax(values))
    moving = spread > 0
    high = float(np.max(np.maximum(values, highest)))
    if not moving.any():
        return Widest(float(values[which]), which, Interval(float(values[which]), high))
    deviations = np.abs(replicates - values)[:, moving] / spread[moving]
    most = np.nanmax(np.where(np.isfinite(deviations), deviations, 0.0), axis=1)
    reach = max(float(np.quantile(most, level)), NormalDist().inv_cdf((1 + level) / 2))
    return Widest(float(values[which]), which, Interval(float(np.max(values - reach * spread)), high))


def widest_pair(blocks: Sequence[Spread], level: float) -> tuple[float, Interval]:
    """Return the largest difference between two numbers of one block, with an interval that takes into account that it
    was chosen from all pairs. A block has a number for each group, such as the recall of each group.

    The lower end is the same as that of `widest` for all pairs. To save memory, it is computed from one number's
    differences at a time: 300 groups have 45,000 pairs, each with a thousand resamples. The upper end is the largest of
    all pairs' upper ends. It needs no correction for many pairs, because it is too low only if the upper end of the
    truly widest pair is too low. A pair's upper end adds the squares of both numbers' own errors (Newcombe 1998, method
    10; Zou & Donner 2008). So it isn't too low if rows are few or rare.
    """
    values, spreads, most, farthest = [], [], np.zeros(len(blocks[0].replicates)), 0.0
    for point, drawn, errors, lowest, highest in blocks:
        apart = point[:, None] - point + np.hypot((highest - point)[:, None], point - lowest)
        farthest = max(farthest, float(apart[~np.eye(len(point), dtype=bool)].max()))
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
    return float(value.max()), Interval(float(np.max(value - reach * spread)), farthest)


def share_error(share: Any, of: Any) -> Any:
    """Return the standard error of each share in `share`; `of` is the number of rows from which each share is computed.
    The error is computed as if four more rows were seen, two of them in the share (Agresti & Coull 1998). So it is
    never 0, even for a share of 0 or 1."""
    drawn = (share * of + 2) / (of + 4)
    return np.sqrt(drawn * (1 - drawn) / (of + 4))


def standing_out(values: Any, spread: Any, level: float) -> list[bool]:
    """Return which of k differences stand out from zero, corrected for k comparisons (Holm 1979, normal deviates)."""
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
