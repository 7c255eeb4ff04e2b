"""Rows that are nearly those of an earlier part, and how many such there would be by chance.

Two rows are near where all of their numbers are within a tolerance of each other and all else is the same. Among many
rows some pairs are near by chance, so near pairs count only where there are more of them than chance gives. How many
that is follows from pairs that are farther apart: as the tolerance shrinks, pairs of chance get rarer as a power of it,
and copies of rows don't. The power is the number of columns where they have nothing to do with each other, and less
where one follows from others: the correlation dimension (Grassberger and Procaccia 1983, "Measuring the strangeness of
strange attractors"). It is measured, not assumed: a column made from others changes nothing.

Pairs are found on grids of several random origins: those that share a cell are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from headrace.stages.prepare.parts import LEFT_OUT, PARTS

Numbers = np.ndarray[Any, Any]
NONE = np.empty(0, dtype=np.int64)
TOLERANCE = 0.02
"""Numbers are near within this share of their column's spread; far out, of their distance from its middle."""
WIDEST, CELL = 128.0, 8.0
"""The widest cells of a grid, in tolerances; the narrowest that miss hardly a pair within a tolerance."""
FINEST = CELL / 256
GRIDS, MANY_ROWS, FEWER_GRIDS = 8, 1_000_000, 2
"""A grid costs a sort of all rows, so of many rows there are fewer: some of the pairs aren't found then."""
PAIRS = 100_000
"""So many pairs a grid are compared; where there are more, its cells are halved, and at last the tolerance."""
PROBED = 50_000
DRAWN = 100_000
SURE = 0.001
TRIES = 3
"""Several tolerances are tried, most of them on the same pairs: as good as so many that are apart."""
MANY_BY_CHANCE = 100
"""Three times so many are sure to be more."""
TIMES = 3.0
"""Near rows tell something where they are so many times as many as by chance, which a guess may be wrong by."""
ENOUGH = 100
"""The power is measured at the smallest distance within which there are so many pairs."""
SCARCE = 30
"""Of fewer pairs than this it can't be measured."""
DOUBT = 2.0
"""The power is taken this many standard errors lower than it is measured."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Near(NamedTuple):
    """Rows of later parts, each with one that it is near in an earlier part; none where chance gives as many.

    `earlier` are all rows of earlier parts that are near to one of a later part. `found` is how many pairs are near,
    `chance` about how many would be by chance, `within` the tolerance that they were counted with, in words.
    """

    rows: Numbers
    others: Numbers
    earlier: Numbers
    found: float
    chance: float
    within: str


class Scaled(NamedTuple):
    """A column's numbers such that 1 is the tolerance. `steps` says that the tolerance is a step from one whole number
    to the next."""

    numbers: Numbers
    steps: bool


def scaled(values: Numbers, *, whole: bool) -> Scaled:
    """Scale a column: the tolerance is a share of its spread, but at least 1 for whole numbers."""
    some = values[:: max(1, len(values) // DRAWN)]
    low, middle, high = np.percentile(some, [25, 50, 75]) if len(some) else (0.0, 0.0, 0.0)
    spread = (high - low) or float(np.std(some)) or 1.0
    steps = whole and spread * TOLERANCE < 1
    tolerance = 1 / spread if steps else TOLERANCE
    found: Numbers = np.arcsinh((values - middle) / spread) / (tolerance * (1 + 1e-6))
    return Scaled(found.astype(np.float32), steps)


def near_rows(columns: Sequence[Scaled], exact: Numbers, parts: Numbers, known: Numbers) -> Near:
    """Find rows of later parts that are near to rows of earlier ones.

    `columns` are the scaled numbers, `exact` is a digest of all else. Rows that are `known` to be the same as
    others are left out.
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
    """How far apart numbers may be, and how far those whose tolerance is a step."""

    scale: float
    step: float


class _Pool(NamedTuple):
    """Pairs of rows: how far apart their numbers are, those that are steps and all others, for how many pairs each
    stands, and the distance up to which there are enough of them to go by."""

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
    """How far apart the numbers of each column are in pairs of rows that are drawn, the nearest first."""

    ranked: Numbers
    steps: Numbers

    def shares(self, limits: _Limits) -> Numbers:
        """Return the share of pairs, of each column, that are within its limit."""
        each = np.where(self.steps, limits.step, limits.scale)
        counts = [np.searchsorted(one, limit, side="right") for one, limit in zip(self.ranked.T, each, strict=True)]
        return (np.array(counts) + 1) / (len(self.ranked) + 1)


class _Rung(NamedTuple):
    """A tolerance: how many pairs are within it, how many chance gives, which they are, and the tolerance in words."""

    found: float
    chance: float
    near: Numbers
    within: str


def _rungs(pools: tuple[_Pool, _Pool], columns: _Apart, has_steps: bool, top: float) -> Iterator[_Rung]:
    """Go down from the widest tolerance, once with and once without steps of whole numbers.

    The first pool are pairs that are the same in all else. The second, of all pairs, tells of chance where those are
    few.
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
            yield _Rung(float(np.count_nonzero(near)), chance, near, words)


def _in_words(scale: float | None, step: float | None) -> str:
    """Say a tolerance: of numbers, and of whole numbers that may differ by a step."""
    words = []
    if scale is not None:
        words.append(f"numbers within {100 * scale * TOLERANCE:.6g}%" if scale else "numbers the same")
    if step is not None:
        words.append("whole numbers within 1" if step >= 1 else "whole numbers the same")
    return ", ".join(words)


def _by_later(one: Numbers, other: Numbers, parts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return each row of a later part with the first of the earliest part that it is paired with, and all earlier."""
    first = parts[one] < parts[other]
    before, after = np.where(first, one, other), np.where(first, other, one)
    order = np.lexsort((before, parts[before], after))
    after, before = after[order], before[order]
    kept = np.append(True, after[1:] != after[:-1])
    return after[kept], before[kept], np.unique(before)


def _candidates(
    numbers: Numbers, exact: Numbers, parts: Numbers, grids: int
) -> tuple[float, tuple[Numbers, Numbers] | None]:
    """Return the width of the cells, and the pairs of rows of two parts in one cell; None where they are too many."""
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
    """Return the widest cells worth a try, by some of the rows."""
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
    """Return how many pairs of rows of two parts have one digest."""
    return _pairs(*_grouped(digests, parts))


def _grouped(digests: Numbers, parts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the order that puts rows of one digest together, where each such group begins, and the parts in it."""
    order = np.argsort(digests, kind="stable")
    ranked = digests[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])) if len(ranked) else NONE
    return order, starts, parts[order]


def _pairs(order: Numbers, starts: Numbers, parts: Numbers) -> float:
    """Return how many pairs of rows of two parts are in one group."""
    if not len(order):
        return 0.0
    sizes = np.diff(np.append(starts, len(order))).astype(np.float64)
    same = sum(np.add.reduceat((parts == part).astype(np.float64), starts) ** 2 for part in range(len(PARTS)))
    return float((sizes**2 - same).sum() / 2)


def _enumerated(order: Numbers, starts: Numbers, parts: Numbers) -> Numbers:
    """Return the pairs of rows of two parts in one group, each as one number: the row of the lower place, then the
    other."""
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
    """Return how far apart the numbers of pairs of rows of two parts are, of pairs drawn at random."""
    draw = np.random.default_rng(1)
    one, other = draw.integers(0, max(1, len(parts)), (2, DRAWN if len(parts) else 0))
    differ = parts[one] != parts[other]
    apart: Numbers = np.abs(numbers[one[differ]] - numbers[other[differ]])
    return apart


def _from_farther(pools: tuple[_Pool, _Pool], columns: _Apart, small: _Limits) -> float:
    """Return how many pairs chance gives within limits, by those that are farther apart: in the numbers that aren't
    steps, else in all, else by pairs that aren't the same in all else."""
    pool, rare = pools
    for pairs, fixed in ((pool, True), (pool, False), (rare, False)):
        inside = pairs.within(small)
        radius = small.scale or 2**-6
        while True:
            radius *= 2
            wide = [_Limits(each, small.step if fixed else each) for each in (radius, 2 * radius)]
            inner, outer = (pairs.within(each) & ~inside for each in wide)
            seen, more = np.count_nonzero(inner), np.count_nonzero(outer)
            if seen >= ENOUGH or 4 * radius > pairs.reach:
                break
        if more >= SCARCE or pairs is rare:
            doubt = DOUBT * sqrt(max(0.0, 1 / (seen + 1) - 1 / (more + 1)))
            counts = (float(pairs.weight[inner].sum()), float(pairs.weight[outer].sum()))
            return _extrapolated(counts, doubt, columns, (small, *wide))
    raise AssertionError


def _extrapolated(counts: tuple[float, float], doubt: float, columns: _Apart, limits: Sequence[_Limits]) -> float:
    """Return how many pairs chance gives within the first limits, by how many more there are within two wider ones.

    Their number is a power of the product of the columns' own shares: 1 where the columns have nothing to do with each
    other, 1/2 where each is told by another. In the column that is measured most finely alone, pairs get rarer as
    their distance. What is within the first limits may be copies, so it isn't counted but solved for.
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
    """Return whether there are more pairs than chance gives, surely and by far."""
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
