"""Rows that are near to rows of an earlier part, and how many pairs would be near by chance.

Two rows are near if all their numbers are within a tolerance of each other and all other values are equal. Among many
rows, some pairs are near by chance, so near pairs count only if there are more of them than would be expected by
chance. The expected number is estimated from pairs that are farther apart. As the tolerance shrinks, the expected
number falls as a power of the tolerance. The number of pairs in which one row is a copy of the other doesn't fall. The
power is the number of columns if the columns are independent, and lower if a column follows from others. This power is
called the correlation dimension (Grassberger and Procaccia 1983, "Measuring the strangeness of strange attractors").
The power is measured and not assumed, so a column that is computed from other columns does no harm.

Pairs are found on several grids with random origins: rows that share a cell are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from headrace.stages.prepare._split.parts import LEFT_OUT, PARTS

Numbers = np.ndarray[Any, Any]
NONE = np.empty(0, dtype=np.int64)
TOLERANCE = 0.02
"""Two numbers are near if they differ by at most this share of their column's spread.

Far from the column's middle, they may differ by this share of their distance from the middle.
"""
WIDEST, CELL = 128.0, 8.0
"""The width of the widest cells of a grid, and the width of the narrowest cells that miss hardly any near pair. The
unit of both is the tolerance."""
FINEST = CELL / 256
GRIDS, MANY_ROWS, FEWER_GRIDS = 8, 1_000_000, 2
"""The number of grids. With more than `MANY_ROWS` rows there are only `FEWER_GRIDS` grids, and some pairs aren't found.

A grid costs a sort of all rows.
"""
PAIRS = 100_000
"""The most pairs that are compared per grid. If there are more, the width of the cells is halved, again and again. If
cells become narrower than `CELL`, the tolerance shrinks too."""
PROBED = 50_000
DRAWN = 100_000
SURE = 0.001
TRIES = 3
"""Trying several tolerances counts as this many independent tests, since most of them test the same pairs."""
MANY_BY_CHANCE = 100
"""If more pairs than this are expected by chance, three times as many are surely no accident, so no probability is
computed."""
TIMES = 3.0
"""Near pairs count only if their number is at least `TIMES` times the number expected by chance.

The estimate of the expected number may be wrong by a factor of this size.
"""
ENOUGH = 100
"""The number of pairs falls as a power of their distance. This power is measured at the smallest distance within which
there are this many pairs."""
SCARCE = 30
"""The fewest pairs from which the power that `ENOUGH` describes can be measured."""
DOUBT = 2.0
"""The power that `ENOUGH` describes is taken to be this many standard errors lower than was measured."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Near(NamedTuple):
    """Rows of later parts that are near to rows of earlier parts.

    The three arrays of rows are empty if the number of near pairs isn't clearly above the number that chance alone
    would make. `rows` are rows of later parts, and `others` has a near row of an earlier part for each of them.
    `earlier` are all rows of earlier parts that are near to a row of a later part. `found` is the number of near pairs,
    and `chance` is about the number that chance alone would make. `within` is the tolerance in words.
    """

    rows: Numbers
    others: Numbers
    earlier: Numbers
    found: float
    chance: float
    within: str


class Scaled(NamedTuple):
    """A column's numbers, scaled so that 1 is the tolerance.

    `steps` is True if the tolerance is the step from one whole number to the next.
    """

    numbers: Numbers
    steps: bool


def scaled(values: Numbers, *, whole: bool) -> Scaled:
    """Return a column's numbers, scaled so that a difference of 1 is the tolerance: a share of the column's spread, or
    for whole numbers at least 1."""
    some = values[:: max(1, len(values) // DRAWN)]
    low, middle, high = np.percentile(some, [25, 50, 75]) if len(some) else (0.0, 0.0, 0.0)
    spread = (high - low) or float(np.std(some)) or 1.0
    steps = whole and spread * TOLERANCE < 1
    tolerance = 1 / spread if steps else TOLERANCE
    found: Numbers = np.arcsinh((values - middle) / spread) / (tolerance * (1 + 1e-6))
    return Scaled(found.astype(np.float32), steps)


def near_rows(columns: Sequence[Scaled], exact: Numbers, parts: Numbers, known: Numbers) -> Near:
    """Return the rows of later parts that are near to rows of earlier parts.

    `columns` are the scaled numbers, and `exact` is a digest of all other columns. Rows in `known` are left out: they
    are already known to be equal to others.
    """
    counts = parts != LEFT_OUT
    counts[known] = False
    places = np.flatnonzero(counts)
    numbers = np.column_stack([column.numbers[places] for column in columns])
    steps = np.array([column.steps for column in columns])
    exact, parts = exact[places], parts[places]
    grids = GRIDS if len(places) <= MANY_ROWS else FEWER_GRIDS
    width, pairs = _candidates(numbers, exact, parts, grids)
    if pairs is None:
        many = pairs_between(exact, parts)
        return Near(NONE, NONE, NONE, many, many, "numbers aside")
    one, other = pairs
    apart = np.abs(numbers[one] - numbers[other]) if len(one) else np.empty((0, numbers.shape[1]))
    weight = 1 / (1 - (1 - np.prod(np.clip(1 - apart / width, 0.02, 1), axis=1)) ** grids)  # not all pairs are found
    drawn = _drawn(numbers, parts)
    each = pairs_between(exact, parts) / max(1, len(drawn))
    steps &= not steps.all()
    pools = _pool(apart, steps, weight, width / 4), _pool(drawn, steps, np.full(len(drawn), each), WIDEST)
    columns_apart = _Apart(np.sort(drawn, axis=0), steps)
    rungs = list(_rungs(pools, columns_apart, any(column.steps for column in columns), min(1.0, width / CELL)))
    telling = [rung for rung in rungs if is_more(rung.found, rung.chance, SURE / TRIES)]
    if not telling:
        return Near(NONE, NONE, NONE, rungs[0].found, rungs[0].chance, rungs[0].within)
    best = max(telling, key=lambda rung: rung.found - TIMES * rung.chance)
    rows, others, earlier = _by_later(one[best.near], other[best.near], parts)
    return Near(places[rows], places[others], places[earlier], best.found, best.chance, best.within)


class _Limits(NamedTuple):
    """The greatest distances that count as near.

    `step` is for columns whose tolerance is the step from one whole number to the next, and `scale` for all others.
    """

    scale: float
    step: float


class _Pool(NamedTuple):
    """Pairs of rows with the distances of their numbers.

    `distance` is, for each pair, the largest distance in columns whose tolerance isn't a step. `stepped` is the largest
    distance in columns whose tolerance is a step. `weight` is, for each pair, the estimated number of pairs that it
    represents, since not all pairs are looked at. An estimate that has too few pairs also uses pairs that are farther
    apart, but only up to the distance `reach`.
    """

    distance: Numbers
    stepped: Numbers
    weight: Numbers
    reach: float

    def within(self, limits: _Limits) -> Numbers:
        near: Numbers = (self.distance <= limits.scale) & (self.stepped <= limits.step)
        return near


def _pool(apart: Numbers, steps: Numbers, weight: Numbers, reach: float) -> _Pool:
    return _Pool(apart[:, ~steps].max(axis=1, initial=0.0), apart[:, steps].max(axis=1, initial=0.0), weight, reach)


class _Apart(NamedTuple):
    """For each column, the sorted distances of its numbers in random pairs of rows."""

    ranked: Numbers
    steps: Numbers

    def shares(self, limits: _Limits) -> Numbers:
        """Return, for each column, the share of pairs within the column's limit."""
        each = np.where(self.steps, limits.step, limits.scale)
        counts = [np.searchsorted(one, limit, side="right") for one, limit in zip(self.ranked.T, each, strict=True)]
        return (np.array(counts) + 1) / (len(self.ranked) + 1)


class _Rung(NamedTuple):
    """A tolerance with the pairs within it.

    `near` says which pairs are within the tolerance. `found` is the number of these pairs, and `chance` the number that
    would be expected by chance. `within` is the tolerance in words.
    """

    found: float
    chance: float
    near: Numbers
    within: str


def _rungs(pools: tuple[_Pool, _Pool], columns: _Apart, has_steps: bool, top: float) -> Iterator[_Rung]:
    """Yield the tolerances to try, each with the pairs within it: the widest tolerance first, and 0 last.

    The tolerance of some columns may be a step: from one whole number to the next. If there are other columns too, each
    tolerance of the other columns is tried twice: once with numbers that may differ by the step, and once with equal
    numbers in the columns with a step.

    The first pool has pairs of rows that are equal in all columns without numbers. The second pool has pairs of any
    rows. The number of pairs to expect by chance is estimated from the first pool, or from the second pool if the first
    has too few pairs. The estimate with the step is never less than the estimate with equal numbers, because pairs with
    equal numbers are within the step too. This matters if a column is the product of a column with a step and another
    column: the nearest pairs then have equal numbers in the column with a step.
    """
    mixed = bool(columns.steps.any())
    only_steps = has_steps and not mixed
    scales = (top, 0.0) if only_steps else (*(top / 2**step for step in range(7)), 0.0)
    for step in dict.fromkeys((top, 0.0)) if mixed else (top,):
        for scale in scales:
            limits = _Limits(scale, step)
            near = pools[0].within(limits)
            alone = float(pools[1].weight.sum() * np.prod(columns.shares(limits)))
            words = _in_words(None if only_steps else scale, (step if mixed else scale) if has_steps else None)
            chance = max(alone, _from_farther(pools, columns, limits))
            if mixed and step:
                same, seen = _from_pairs(pools[0], columns, _Limits(scale, 0.0), fixed=True)
                chance = max(chance, same if seen >= SCARCE else 0.0)
            yield _Rung(float(np.count_nonzero(near)), chance, near, words)


def _in_words(scale: float | None, step: float | None) -> str:
    """Return a tolerance in words: of numbers, and of whole numbers that may differ by a step."""
    words = []
    if scale is not None:
        words.append(f"numbers within {100 * scale * TOLERANCE:.6g}%" if scale else "numbers the same")
    if step is not None:
        words.append("whole numbers within 1" if step >= 1 else "whole numbers the same")
    return ", ".join(words)


def _by_later(one: Numbers, other: Numbers, parts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return three arrays of rows, made from pairs of rows.

    A pair is a row in `one` and the row at the same place in `other`; the two are in different parts. The first array
    has each row that is in the later part of its pair. The second has, for each of these rows, the row of the earliest
    part that it is paired with. The third has all rows that are in the earlier part of their pair.
    """
    first = parts[one] < parts[other]
    before, after = np.where(first, one, other), np.where(first, other, one)
    order = np.lexsort((before, parts[before], after))
    after, before = after[order], before[order]
    kept = np.append(True, after[1:] != after[:-1])
    return after[kept], before[kept], np.unique(before)


def _candidates(
    numbers: Numbers, exact: Numbers, parts: Numbers, grids: int
) -> tuple[float, tuple[Numbers, Numbers] | None]:
    """Return the width of the cells, and the pairs of rows of different parts that share a cell.

    The pairs are None if there are too many of them.
    """
    draw = np.random.default_rng(0)
    origins = draw.random((grids, numbers.shape[1]))
    width = _first_width(numbers, exact, parts, origins[0])
    while width >= FINEST:
        found: list[Numbers] = []
        for origin in origins:
            grouped = _grouped(_cells(numbers, exact, width, origin), parts)
            if _pairs(*grouped) > PAIRS:
                break
            found.append(_enumerated(grouped[0], grouped[1], parts))
        else:
            pairs = np.unique(np.concatenate(found)) if found else NONE
            return width, (pairs // max(1, len(parts)), pairs % max(1, len(parts)))
        width /= 2
    return width, None


def _first_width(numbers: Numbers, exact: Numbers, parts: Numbers, origin: Numbers) -> float:
    """Return the width of the widest cells that are worth trying, estimated from some of the rows."""
    some = slice(None, None, max(1, len(parts) // PROBED))
    times = (len(parts) / max(1, len(parts[some]))) ** 2
    width = WIDEST
    while width > CELL:
        if times * pairs_between(_cells(numbers[some], exact[some], width, origin), parts[some]) <= PAIRS:
            break
        width /= 2
    return width


def _cells(numbers: Numbers, exact: Numbers, width: float, origin: Numbers) -> Numbers:
    cells = exact.copy()
    for column, shift in zip(numbers.T, origin, strict=True):
        cells = (cells ^ np.floor(column / width + shift).astype(np.int64).view(np.uint64)) * _MIX
        cells ^= cells >> np.uint64(29)
    return cells


def pairs_between(digests: Numbers, parts: Numbers) -> float:
    """Return the number of pairs of rows of different parts with the same digest."""
    return _pairs(*_grouped(digests, parts))


def _grouped(digests: Numbers, parts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return an order of the rows that puts rows of the same digest together, and two more arrays.

    The second array has the start of each group of rows with the same digest, and the third has the part of each row,
    in the new order.
    """
    order = np.argsort(digests, kind="stable")
    ranked = digests[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])) if len(ranked) else NONE
    return order, starts, parts[order]


def _pairs(order: Numbers, starts: Numbers, parts: Numbers) -> float:
    """Return the number of pairs of rows of different parts in the same group."""
    if not len(order):
        return 0.0
    sizes = np.diff(np.append(starts, len(order))).astype(np.float64)
    same = sum(np.add.reduceat((parts == part).astype(np.float64), starts) ** 2 for part in range(len(PARTS)))
    return float((sizes**2 - same).sum() / 2)


def _enumerated(order: Numbers, starts: Numbers, parts: Numbers) -> Numbers:
    """Return all pairs of rows that are in the same group, but in different parts.

    Each pair is one number: the lower row number times the number of rows, plus the higher row number.
    """
    count = len(order)
    group = np.zeros(count, np.int64)
    group[starts[1:]] = 1
    group = np.cumsum(group)
    found, at = [], np.arange(count)
    for step in range(1, count):
        at = at[: np.searchsorted(at, count - step)]
        at = at[group[at] == group[at + step]]
        if not len(at):
            break
        one, other = order[at], order[at + step]
        differ = parts[one] != parts[other]
        one, other = one[differ], other[differ]
        found.append(np.minimum(one, other) * count + np.maximum(one, other))
    return np.concatenate(found) if found else NONE


def _drawn(numbers: Numbers, parts: Numbers) -> Numbers:
    """Return the distances of the numbers in random pairs of rows of different parts."""
    draw = np.random.default_rng(1)
    one, other = draw.integers(0, max(1, len(parts)), (2, DRAWN if len(parts) else 0))
    differ = parts[one] != parts[other]
    apart: Numbers = np.abs(numbers[one[differ]] - numbers[other[differ]])
    return apart


def _from_farther(pools: tuple[_Pool, _Pool], columns: _Apart, small: _Limits) -> float:
    """Return the number of pairs to expect by chance within the limits `small`, estimated from pairs that are farther
    apart.

    First, pairs are used that are farther apart in the numbers whose tolerance isn't a step. If there are too few such
    pairs, pairs that are farther apart in any number are used. If these are too few as well, the second pool is used:
    random pairs of rows, which may also differ in the columns without numbers. The largest of these estimates is
    returned, because an estimate may be too low. For example, a column may be computed from whole numbers: it is equal
    wherever these numbers are equal, and may be very different where they differ by a step.
    """
    pool, rare = pools
    largest = 0.0
    for pairs, fixed in ((pool, True), (pool, False), (rare, False)):
        chance, seen = _from_pairs(pairs, columns, small, fixed=fixed)
        largest = max(largest, chance)
        if seen >= SCARCE:
            break
    return largest


def _from_pairs(pairs: _Pool, columns: _Apart, small: _Limits, *, fixed: bool) -> tuple[float, int]:
    """Return the number of pairs to expect by chance within the limits `small`, and the number of pairs from which it
    was estimated. These pairs are farther apart than `small`. With `fixed`, they are not farther apart in columns with
    a step."""
    inside = pairs.within(small)
    radius = small.scale or 2**-6
    while True:
        radius *= 2
        wide = [_Limits(each, small.step if fixed else each) for each in (radius, 2 * radius)]
        inner, outer = (pairs.within(each) & ~inside for each in wide)
        seen, more = np.count_nonzero(inner), np.count_nonzero(outer)
        if seen >= ENOUGH or 4 * radius > pairs.reach:
            break
    doubt = DOUBT * sqrt(max(0.0, 1 / (seen + 1) - 1 / (more + 1)))
    counts = (float(pairs.weight[inner].sum()), float(pairs.weight[outer].sum()))
    return _extrapolated(counts, doubt, columns, (small, *wide)), int(more)


def _extrapolated(counts: tuple[float, float], doubt: float, columns: _Apart, limits: Sequence[_Limits]) -> float:
    """Return the number of pairs to expect by chance within the first of three `limits`. `counts` are the numbers of
    pairs within the second and the third limits, which are wider.

    Each column has a share: the share of random pairs within the limit. As the limits shrink, the number of pairs falls
    as a power of the product of these shares. The power is 1 if the columns are independent, and 1/2 if each column
    follows from another. The number is assumed to fall at least as fast as the share of each column in which few random
    pairs have equal numbers. If a pair is within the first limits, one of its rows may be a copy of the other. So
    `counts` doesn't include these pairs, and the number to expect by chance is found by iteration.
    """
    inner, outer = counts
    small, middle, large = (columns.shares(each) for each in limits)
    fine = columns.shares(_Limits(0.0, 0.0)) <= small / 4
    finest = float(np.min((small / middle)[fine], initial=0.99))
    volume, wider = float(np.prod(small / middle)), float(np.prod(large / middle))
    chance = 0.0
    for _ in range(50):
        grown = log((outer + chance) / (inner + chance)) - doubt if inner > 0 else 0.0
        power = max(0.0, grown / log(wider)) if wider > 1 else 0.0
        share = min(finest, volume**power)
        chance = inner * share / (1 - share)
    return chance


def is_more(there: float, chance: float, sure: float = SURE) -> bool:
    """Return whether there are clearly more pairs (`there`) than are expected by chance (`chance`): at least `TIMES` as
    many, and so many that an accident has at most the probability `sure`."""
    if there < max(1.0, TIMES * chance):
        return False
    if chance > MANY_BY_CHANCE:
        return True
    term, less = exp(-chance), 0.0
    for number in range(int(there)):
        less += term
        term *= chance / (number + 1)
        if number > chance and term < sure * 1e-6:
            break
    return 1 - less <= sure
