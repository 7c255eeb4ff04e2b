"""How runs share a pool.

A run claims resources: how much of the pool it wants, how much it uses, and how much its next attempt needs. The run
gets a grant: the amount that it may use until it asks again. The rules:

1. A run keeps the resources that it uses. It also keeps its whole grant until it asks again. So the sum of all grants
   never exceeds the capacity of the pool.
2. The free resources are handed out in steps of one attempt. Each step goes to the neediest run: the one with the
   smallest dominant share. A run's dominant share is the largest of its shares of cpus, memory and gpus. Among runs
   with the same dominant share, the one whose grant last grew longest ago comes first, then the oldest run. This is
   dominant resource fairness (Ghodsi et al., 2011). If only one resource is scarce, it is max-min fairness. To save
   time, a run that has something may get several attempts in one step, with the same result (see `_Level`).
3. If the neediest run has nothing yet, and its attempt doesn't fit into the free resources, then the free resources
   that the attempt needs are reserved for this run: runs after it don't get them. So an attempt that is larger than its
   run's share starts once enough attempts of other runs have ended. There is one exception: nothing is reserved for a
   run if a run before it has already got something in the same computation. The order of the runs is that of rule 2 at
   the beginning of the computation. So a run with large attempts can't reserve twice in a row: when its attempt has
   ended, its grant is the one that grew most recently. So other runs come before it, and fill the pool first.
4. If no other run claims anything, a run gets the whole pool at once. If the pool has all that the runs want, each run
   gets what it wants.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from headrace.spec.claim import Amount, Claim

SLACK = 1e-9
"""Two amounts that differ by no more than this count as equal, because of rounding errors."""

Three = tuple[float, float, float]
"""Cpus, GiB of memory and gpus."""


def grant(capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount:
    """Return the amount of the pool that one run may use: the run whose claim is at position `asks` in `claims`.

    `capacity` is the whole pool. `claims` are ordered by arrival, oldest first.
    """
    total, used = _three(capacity), _three(claims[asks].used)
    others = [_three(other.held) for i, other in enumerate(claims) if i != asks]
    if all(_is_idle(other) for i, other in enumerate(claims) if i != asks):
        fair = total
    else:
        fair = _shares(total, claims, asks)[asks]
    room = _minus(total, _sum(others))
    return _amount([max(used[r], min(fair[r], room[r])) for r in range(3)])


def shares(capacity: Amount, claims: Sequence[Claim]) -> list[Amount]:
    """Return each run's fair share of the pool, in the order of the claims.

    A run may use more than its fair share until its attempts end.
    """
    return [_amount(share) for share in _shares(_three(capacity), claims)]


def _shares(total: Three, claims: Sequence[Claim], asks: int | None = None) -> list[Three]:
    """Return each run's share. If `asks` is given, stop once the share of the run at this position is known."""
    has = [_three(claim.used) for claim in claims]
    want = [_most(_three(claim.want), used) for claim, used in zip(claims, has, strict=True)]
    if _fits(_sum(want), total):
        return want
    units = [_unit(claim) for claim in claims]
    free = _minus(total, _sum(has))
    queue = sorted([(_dominant(has[i], total), claim.served, i) for i, claim in enumerate(claims)])  # it is a heap, too
    places = {i: place for place, (_, _, i) in enumerate(queue)}
    got = len(claims)  # the earliest position in the order of those runs that got something
    level = _Level([_way(unit, _minus(want[i], has[i]), has[i], total) for i, unit in enumerate(units)])
    while queue:
        share, served, i = queue[0]
        mine = has[i]
        rest = _minus(want[i], mine)
        attempts = level.attempts(i, share, free) if any(mine) else 1
        step = _step(units[i], rest, attempts)
        if attempts > 1 and not _fits(step, free):
            step = _step(units[i], rest, 1)
        if _is_of_use(step, units[i], mine):
            if _fits(step, free):
                has[i] = _plus(mine, step)
                free = _minus(free, step)
                got = min(got, places[i])
                heapq.heapreplace(queue, (_dominant(has[i], total), served, i))
                if not level.ways[i].is_steady:
                    level.change(i, _way(units[i], _minus(want[i], has[i]), has[i], total))
                continue
            if not any(mine) and got >= places[i] and _fits(step, total):
                free = _minus(free, step)  # reserved
                level.drop()
        if i == asks:
            break
        heapq.heappop(queue)
        level.leave(i)
    return has


class _Way(NamedTuple):
    """How much of each resource a run takes while its dominant share rises.

    What the run still wants of a resource is enough for a number of attempts. The resource with the largest number is
    the run's main resource. `step` is the most by which one attempt raises the run's dominant share. `rate` is how much
    of each resource the run takes while its share of the main resource rises by 1. `kept` is what one attempt takes,
    plus what the run takes until its share of the main resource has reached its present dominant share. If `is_steady`
    is True, these numbers don't change when the run gets attempts.
    """

    step: float
    rate: Three
    kept: Three
    is_steady: bool


NOTHING: Three = (0.0, 0.0, 0.0)


class _Level:
    """The level: a dominant share that all runs which still get something can reach with the free resources, and pass
    by one attempt each. So a run may get all attempts up to the level in one step: the result is the same as if they
    were handed out one by one.

    The level is computed as if all runs had the dominant share of the neediest run. A run gets attempts until its
    dominant share is above the level. The share of its main resource (see `_Way`) is never above its dominant share, so
    it limits the number of these attempts. Once all runs have reached the level, a new level is computed.
    """

    def __init__(self, ways: list[_Way]) -> None:
        self.ways = ways
        self._rate, self._kept = _sum([way.rate for way in ways]), _sum([way.kept for way in ways])
        self._level = 0.0

    def attempts(self, run: int, share: float, free: Three) -> int:
        """Return how many attempts (at least 1) bring `run`, the neediest run, from its dominant `share` to the level.

        `free` are the free resources.
        """
        if share >= self._level:
            spare = _minus(free, self._kept)
            self._level = share + min(
                [spare[r] / self._rate[r] for r in range(3) if self._rate[r] > SLACK], default=0.0
            )
        one = self.ways[run].step
        return max(1, math.floor((self._level - share) / one + SLACK)) if one else 1

    def change(self, run: int, way: _Way) -> None:
        """Replace the `way` of a run, because the run got something."""
        self.leave(run)
        self.ways[run] = way
        self._rate, self._kept = _plus(self._rate, way.rate), _plus(self._kept, way.kept)

    def leave(self, run: int) -> None:
        """Leave a run out of the computation from now on, because it gets nothing more."""
        way = self.ways[run]
        self._rate, self._kept = _minus(self._rate, way.rate), _minus(self._kept, way.kept)

    def drop(self) -> None:
        """Let the level be computed anew, because free resources were reserved."""
        self._level = 0.0


def _way(unit: Three, rest: Three, has: Three, total: Three) -> _Way:
    if unit[0] > rest[0] or unit[1] > rest[1] or unit[2] > rest[2]:
        unit = _step(unit, rest, 1)
    a, b, c = unit
    x, y, z = a / total[0] if total[0] else 0.0, b / total[1] if total[1] else 0.0, c / total[2] if total[2] else 0.0
    # how many attempts it wants, by each resource
    by_cpu = rest[0] / a if a > SLACK else 0.0
    by_memory = rest[1] / b if b > SLACK else 0.0
    by_gpus = rest[2] / c if c > SLACK else 0.0
    long = max(by_cpu, by_memory, by_gpus) - SLACK
    share, place = (x, 0) if by_cpu > long else (0.0, 0)
    if by_memory > long and y > share:
        share, place = y, 1
    if by_gpus > long and z > share:
        share, place = z, 2
    if not share:
        return _Way(0.0, NOTHING, unit, True)
    step = max(x, y, z)
    rate = a / share, b / share, c / share
    if any(has) and (gap := _dominant(has, total) - has[place] / total[place]):
        return _Way(step, rate, (a + gap * rate[0], b + gap * rate[1], c + gap * rate[2]), False)
    is_even = (
        share == step
        and (by_cpu > long or not by_cpu)
        and (by_memory > long or not by_memory)
        and (by_gpus > long or not by_gpus)
    )
    return _Way(step, rate, unit, is_even)


def _step(unit: Three, rest: Three, attempts: int) -> Three:
    """Return what `attempts` attempts need, but at most `rest`. `unit` is what one attempt needs, `rest` what the run
    still wants. If `rest` has none of the resources in `unit`, return `rest`: attempts of another kind need it."""
    a, b, c = unit
    x, y, z = rest
    if not ((a > SLACK and x > SLACK) or (b > SLACK and y > SLACK) or (c > SLACK and z > SLACK)):
        return rest
    if attempts > 1 and (a * attempts > x or b * attempts > y or c * attempts > z):
        whole = max([math.floor((left + SLACK) / need) for left, need in zip(rest, unit, strict=True) if need > SLACK])
        attempts = max(1, min(attempts, whole))
    return min(x, a * attempts), min(y, b * attempts), min(z, c * attempts)


def _is_of_use(step: Three, unit: Three, has: Three) -> bool:
    """Return whether a run should get `step`. If the run has nothing yet, `step` must give something. Otherwise, `step`
    must give as much of at least one resource as one attempt needs (`unit`). A run's last attempt may need less of the
    other resources."""
    if not any(has):
        return any(given > SLACK for given in step)
    return any(given >= need - SLACK for given, need in zip(step, unit, strict=True) if need > SLACK)


def _unit(claim: Claim) -> Three:
    """Return the cpus, GiB of memory and gpus that the run's next attempt needs.

    If the claim doesn't say what the attempt needs, assume that each attempt takes one cpu: divide the resources that
    the run still wants by the number of cpus that it still wants.
    """
    least = _three(claim.least)
    if any(least):
        return least
    cpu, memory_gib, gpus = _minus(_three(claim.want), _three(claim.used))
    part = 1 / cpu if cpu > 1 else 1.0
    return cpu * part, memory_gib * part, float(math.ceil(gpus * part))


def _is_idle(claim: Claim) -> bool:
    return not any((*_three(claim.want), *_three(claim.used), *_three(claim.held)))


# Written out for the three resources, since a pool may have thousands of claims.


def _dominant(has: Three, total: Three) -> float:
    return max(
        has[0] / total[0] if total[0] else 0.0,
        has[1] / total[1] if total[1] else 0.0,
        has[2] / total[2] if total[2] else 0.0,
    )


def _plus(a: Three, b: Three) -> Three:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Three, b: Three) -> Three:
    """Return `a` minus `b`, but at least 0 of each resource."""
    cpu, memory_gib, gpus = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return cpu if cpu > 0 else 0.0, memory_gib if memory_gib > 0 else 0.0, gpus if gpus > 0 else 0.0


def _most(a: Three, b: Three) -> Three:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])


def _sum(amounts: Sequence[Three]) -> Three:
    return sum(a for a, _, _ in amounts), sum(b for _, b, _ in amounts), sum(c for _, _, c in amounts)


def _fits(amount: Three, room: Three) -> bool:
    return amount[0] <= room[0] + SLACK and amount[1] <= room[1] + SLACK and amount[2] <= room[2] + SLACK


def _three(amount: Amount) -> Three:
    return amount.cpu, amount.memory_gib, float(amount.gpus)


def _amount(three: Sequence[float]) -> Amount:
    return Amount(cpu=three[0], memory_gib=three[1], gpus=math.floor(three[2] + SLACK))
