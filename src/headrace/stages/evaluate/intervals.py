"""Intervals: from what one more row might add, and from bootstrap replicates.

A bootstrap only knows the rows that there are. Of ten positive rows, or of forty errors of which few are large, it
doesn't see those that would have been worse, and so it is sure too often. `one_more` adds one row that is as bad (or as
good) as a row may be, and weighs all rows anew, each by a draw of an exponential (Gaffke 2005, "Three test statistics
for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"; Learned-Miller & Thomas 2020, "A new
confidence interval for the mean of a bounded random variable"). Of a share it is the interval of Clopper & Pearson
(1934). Nothing is drawn: the chance is read from the saddlepoint (Lugannani & Rice 1980), whose equation is that of the
empirical likelihood (Owen 1988; with a point added: Chen, Variyath & Abraham 2008).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

UNDEFINED_AT_MOST = 0.05
"""The share of resamples in which a metric may be undefined, and still have an interval."""
FARTHER = 8.0
"""Where a row has no worst, one more of n is taken to lie 1 + 8 / sqrt(n) times as far out as the farthest seen. The
number comes from simulations of errors up to a lognormal of sigma 1.5: `make proofs` shows them."""
FEWEST, FEWEST_GROUPS = 10, 8
"""Of fewer rows nothing is known of how far errors go that have no end; of fewer groups, how far groups go."""
MANY, KEPT = 4_000, 400
"""Of more rows than these, those in the middle are taken together; so many at each end stay as they are."""
HALF = 0.5
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """The two ends, or None and why there is no interval."""

    low: float | None
    high: float | None
    why: str = ""

    def within(self, lowest: float, highest: float) -> Interval:
        """Return the part of it that lies between these, where all that it tells of lies."""
        low, high = (None if end is None else min(max(end, lowest), highest) for end in (self.low, self.high))
        return Interval(low, high, self.why)


class Ratio(NamedTuple):
    """A number as a ratio of two sums over rows: `above` and `below` the line.

    `lowest` and `highest` are what may stand above the line of one more row, below which stands 1; None where that has
    no end. `might` gives what stands above the line of each row under each label that it might have had (rows by
    labels), for what is known so of a difference. The number is the root of the ratio if `squared`, as RMSE is; `power`
    is that of the errors which are summed.
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
        """The ratio, or its root."""
        found = float(np.sum(self.above) / np.sum(self.below))
        return math.sqrt(max(0.0, found)) if self.squared else found

    def less(self, other: Ratio | Middle) -> Ratio | None:
        """Return the difference to another's number on the same rows.

        Where both have the same sums below the line, the difference is a ratio too. Else both are taken by how far each
        row moves them (the infinitesimal jackknife: Jaeckel 1972).
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
        """Return its interval."""
        return one_more(self, level, groups)

    def linear(self) -> Ratio:
        """Return it as the mean of what each row makes of it."""
        value, unit = self.value, float(np.mean(self.below))
        ratio = value**2 if self.squared else value
        slope = (1 / (2 * value) if value else 0.0) if self.squared else 1.0

        def moved(above: Any, below: Any) -> Any:
            return value + slope * (above - ratio * below) / unit

        low, high = (None if each is None else float(moved(each, 1.0)) for each in (self.lowest, self.highest))
        return Ratio(moved(self.above, self.below), np.ones(len(self.above)), low, high, power=self.power)


def share(some: Any, of: Any) -> Ratio:
    """Return the share that `some` rows are `of` these; both are arrays of truth values."""
    return Ratio((some & of).astype(np.float64), of.astype(np.float64), 0.0, 1.0)


def two_sided(placed: Any, positive: Any, ends: tuple[float, float] | None = None) -> Ratio:
    """Return the mean that `placed` has of positive rows and of negative ones alike, each of which moves it.

    Below the line stand the rows of the rarer class. `ends` are what one more of these may add. Without them, it lies
    halfway between the farthest that was seen and 0, or 1: with 1% positive, or a class part of which is never found, a
    bound of the variance (Newcombe 2006) is passed too often, and one more at 0 is asked too much (`make proofs`).
    """
    rare = positive if 2 * np.count_nonzero(positive) <= len(positive) else ~positive
    own = placed[rare]
    value, count = float(own.mean()), len(own)
    low, high = (float(own.min()) / 2, (1 + float(own.max())) / 2) if ends is None else ends
    above = np.where(rare, placed, (placed - value) * (count / (len(placed) - count)))
    return Ratio(above, rare.astype(np.float64), low, high)


def one_more(ratio: Ratio, level: float, groups: Any = None) -> Interval:
    """Return the interval of a ratio that allows for one more row, or one more group of rows that depend on each other.

    `groups` holds a whole number from 0 for each row. A group more is as far out as the farthest group, and farther as
    `FARTHER` says, but no farther than if each of its rows were the worst; and it has one row at least that is.

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
        return Interval(None, None, f"{count} {of} don't tell how far off it may be: {needed} are needed")
    value = float(above.sum() / below.sum())
    moved = above - value * below
    above, below, times = _gathered(above, below, moved)
    # what is bound is so for a group more too, and the sums of groups are less skew than errors
    reach = (1 + (FARTHER / 2 if is_bound else FARTHER) / math.sqrt(count)) ** ratio.power
    ends = []
    for sign, bound in ((1.0, ratio.lowest), (-1.0, ratio.highest)):
        unit = 1.0 if groups is None and bound is not None else float(below @ times / times.sum())
        far = reach * float((sign * moved).min())
        if bound is not None:
            row = sign * (bound - value)
            whole = row * float(below.max())  # where all groups are alike, one may be as different as it can be
            far = row if groups is None else max(min(far, row), whole) if moved.any() else row * unit
        shifted = (sign * np.append(above, sign * far + value * unit), np.append(below, unit), np.append(times, 1.0))
        ends.append(sign * _end(*shifted, sign * value, (1 - level) / 2))
    low, high = (math.sqrt(max(0.0, each)) if ratio.squared else each for each in ends)
    return Interval(low, high)


def _gathered(above: Any, below: Any, moved: Any) -> tuple[Any, Any, Any]:
    """Take rows in the middle together, by how far they move the number; give their means, and how many each is."""
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
    """Return the lower end: the greatest number of which so little would be seen by no more than this chance.

    The normal deviate of that chance rises with the number, nearly on a line: secants within a bracket find it.
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
    """Return the normal deviate of the chance that the sum of moves, each drawn from an exponential, is 0 or less."""
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
        """Return those values of which it isn't ruled out that half of all lie below, and half above.

        They are order statistics (Thompson 1936), of groups by way of the interval of a share (Woodruff 1952).
        """
        ordered, ones = np.unique(self.values), np.ones(len(self.values))

        def share(place: int) -> Interval:
            return one_more(Ratio((self.values <= ordered[place]).astype(np.float64), ones, 0.0, 1.0), level, groups)

        every = range(len(ordered))
        low = bisect_left(every, True, key=lambda place: (share(place).high or 0.0) >= HALF)
        high = bisect_left(every, True, key=lambda place: (share(place).low or 0.0) > HALF)
        if high == len(ordered):
            return Interval(None, None, f"{len(self.values)} rows don't tell where the middle is")
        return Interval(float(ordered[low]), float(ordered[high]))

    def less(self, other: Ratio | Middle) -> None:
        """Return nothing: the difference of two medians is the ratio of no sums."""


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
    """k numbers, their replicates (resamples by k), the least standard error of each, and the ends of its interval."""

    point: Any
    replicates: Any
    errors: Any
    low: Any
    high: Any


class Widest(NamedTuple):
    """The largest of several differences: its value, which one it is, and its interval."""

    value: float
    which: int
    interval: Interval


def widest(values: Any, replicates: Any, errors: Any, highest: Any, level: float) -> Widest:
    """Return the largest of k values, with an interval that allows for having looked at all of them.

    `values` has k, `replicates` resamples by k, `errors` the least standard error of each, `highest` the upper end of
    each alone. The lower end is the largest of the k simultaneous ones, which the largest studentised deviation over
    the resamples gives (max-t bootstrap: Romano & Wolf 2005). So one of many small slices does not stand out by chance
    alone. The upper end is the largest of theirs: it is wrong only if that of the largest in truth is.
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
    """Give the widest difference between two things of a block, with an interval that allows for all pairs.

    The lower end is that of `widest` of all pairs, but holds the differences of one thing to the others at a time: of
    300 groups there are 45,000 pairs, and a thousand resamples of each. The upper end needs no correction for many: it
    is wrong only if that of the pair is which is the widest in truth. It is the largest that a pair's has by squares of
    both things' own ends (Newcombe 1998, method 10; Zou & Donner 2008), which few or rare ones don't make too short.
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
