"""Rows that are nearly those of an earlier part, and how many such there would be by chance.

Two rows are near where all of their numbers are within a tolerance of each other and all else is the same. Among many
rows some pairs are near by chance, the more the fewer columns there are. So near pairs count only where there are more
of them than chance gives. That is guessed in two ways, of which the greater counts: by what the columns would give if
they had nothing to do with each other, and by the pairs that are a little less near. Pairs of chance get rarer as a
power of their distance; copies of rows don't.

Pairs are found on grids of several random origins: those that share a cell are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp
from typing import Any, NamedTuple

import numpy as np

from headrace.stages.prepare.parts import LEFT_OUT, PARTS

Numbers = np.ndarray[Any, Any]
NONE = np.empty(0, dtype=np.int64)
TOLERANCE = 0.02
"""Numbers are near within this share of their column's spread; far out, of their distance from its middle."""
CELL = 8.0
"""The width of a grid's cells, in tolerances."""
FINEST = CELL / 256
GRIDS, MANY_ROWS, FEWER_GRIDS = 8, 1_000_000, 2
"""A grid costs a sort of all rows, so of many rows there are fewer: some of the pairs aren't found then."""
PAIRS = 300_000
"""So many pairs a grid are compared; where there are more, the tolerance is halved."""
DRAWN = 200_000
SURE = 0.001
MANY_BY_CHANCE = 100
"""Three times so many are sure to be more."""
TIMES = 3.0
"""Near rows tell something where they are so many times as many as by chance, which a guess may be wrong by."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Near(NamedTuple):
    """Rows of later parts, each with one that it is near in an earlier part; none where chance gives as many.

    `earlier` are all rows of earlier parts that are near to one of a later part. `found` is how many pairs are near,
    `chance` about how many would be by chance.
    """

    rows: Numbers
    others: Numbers
    earlier: Numbers
    found: float
    chance: float


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
        return Near(NONE, NONE, NONE, many, many)
    one, other = pairs
    apart = np.abs(numbers[one] - numbers[other]) if len(one) else np.empty((0, numbers.shape[1]))
    weight = 1 / (1 - (1 - np.prod(np.clip(1 - apart / width, 0.02, 1), axis=1)) ** grids)  # not all pairs are found
    pool = _Pool(apart, weight, steps, _drawn(numbers, parts), pairs_between(exact, parts))
    rungs = list(_rungs(pool, width / CELL))
    telling = [rung for rung in rungs if is_more(rung.found, rung.chance)]
    if not telling:
        return Near(NONE, NONE, NONE, rungs[0].found, rungs[0].chance)
    best = max(telling, key=lambda rung: rung.found - TIMES * rung.chance)
    rows, others, earlier = _by_later(one[best.near], other[best.near], parts)
    return Near(places[rows], places[others], places[earlier], best.found, best.chance)


class _Pool(NamedTuple):
    """Pairs of rows that may be near: how far apart their numbers are, and for how many pairs each stands. `drawn` are
    pairs drawn at random, `together` is how many pairs are the same in all else."""

    apart: Numbers
    weight: Numbers
    steps: Numbers
    drawn: Numbers
    together: float


class _Rung(NamedTuple):
    """A tolerance: how many pairs are within it, how many chance gives, and which they are."""

    found: float
    chance: float
    near: Numbers


def _rungs(pool: _Pool, top: float) -> Iterator[_Rung]:
    """Go down from the widest tolerance, once with and once without steps of whole numbers."""
    mixed = bool(pool.steps.any() and not pool.steps.all())
    distance = pool.apart[:, ~pool.steps | (not mixed)].max(axis=1, initial=0.0)
    stepped = pool.apart[:, pool.steps].max(axis=1, initial=0.0)
    for limit in dict.fromkeys((top, 0.0)) if mixed else (np.inf,):
        within = stepped <= limit
        for scale in (*(top / 2**step for step in range(7)), 0.0):
            limits = np.where(pool.steps & mixed, limit, scale)
            alone = pool.together * _alone(pool.drawn, limits)
            near = within & (distance <= scale)
            farther = _from_farther(distance[within], pool.weight[within], scale)
            yield _Rung(float(pool.weight[near].sum()), max(alone, farther), near)


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
    width = CELL
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


def _alone(drawn: Numbers, limits: Numbers) -> float:
    """Return how likely a pair is within each column's limit if the columns have nothing to do with each other."""
    return float(np.prod((np.count_nonzero(drawn <= limits, axis=0) + 1) / (len(drawn) + 1)))


def _from_farther(distance: Numbers, weight: Numbers, scale: float) -> float:
    """Return how many pairs chance gives within a distance, by those within twice and four times as much."""
    inner = weight[(distance > scale) & (distance <= 2 * scale)].sum()
    outer = weight[(distance > 2 * scale) & (distance <= 4 * scale)].sum()
    return float(inner**2 / (outer - inner)) if outer > 2 * inner else float(inner)


def is_more(there: float, chance: float) -> bool:
    """Tell whether there are more pairs than chance gives, surely and by far."""
    if there < max(1.0, TIMES * chance):
        return False
    if chance > MANY_BY_CHANCE:
        return True
    term, less = exp(-chance), 0.0
    for number in range(int(there)):
        less += term
        term *= chance / (number + 1)
        if number > chance and term < SURE * 1e-6:
            break
    return 1 - less <= SURE
