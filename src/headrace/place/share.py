"""How runs share a pool.

A run claims resources: how much of the pool it wants, how much it uses, and how much its next attempt needs. The run
gets a grant: the amount that it may use until it asks again. The rules:

1. A run keeps the resources that it uses. It also keeps its whole grant until it asks again. So the sum of all grants
   never exceeds the capacity of the pool.
2. The free resources are handed out in steps of one attempt. Each step goes to the neediest run: the one with the
   smallest dominant share (the largest of its shares of cpus, memory and gpus). Among equal runs, the one whose grant
   last grew longest ago comes first, then the oldest run. This is dominant resource fairness (Ghodsi et al., 2011). If
   only one resource is scarce, it is max-min fairness.
3. If the neediest run has nothing yet, and its attempt doesn't fit into the free resources, then the free resources
   that the attempt needs are reserved for this run, so that the runs behind it don't get them. So an attempt that is
   larger than its run's share starts once enough attempts of other runs have ended. There is one exception: nothing is
   reserved if the same computation has handed out something to a run that was ahead of this run when the computation
   began, in the order of rule 2. Because of the exception, a run with large attempts can't reserve again at once: when
   its attempt has ended, it is the run whose grant grew last, so other runs are ahead of it and fill the pool first.
4. If no other run claims anything, a run gets the whole pool at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from headrace.spec.claim import Amount, Claim

SLACK = 1e-9
"""Two amounts that differ by no more than this count as equal, because of rounding errors."""
STEPS = 256
"""The resources that a run wants are handed out in about this many steps at most, so that the computation for a large
pool takes no longer than for a small one."""


def grant(capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount:
    """Return the amount of the pool that one run may use: the run whose claim is at position `asks` in `claims`.

    `capacity` is the whole pool. `claims` are ordered by arrival, oldest first.
    """
    claim = claims[asks]
    others = [_three(other.held) for i, other in enumerate(claims) if i != asks]
    total = _three(capacity)
    if all(_is_idle(other) for i, other in enumerate(claims) if i != asks):
        fair = total
    else:
        fair = _three(shares(capacity, claims)[asks])
    used = _three(claim.used)
    room = [total[r] - sum(held[r] for held in others) for r in range(3)]
    return _amount([max(used[r], min(fair[r], room[r])) for r in range(3)])


def shares(capacity: Amount, claims: Sequence[Claim]) -> list[Amount]:
    """Return each run's fair share of the pool, in the order of the claims.

    A run may use more than its fair share until its attempts end.
    """
    total = _three(capacity)
    has = [_three(claim.used) for claim in claims]
    free = [max(0.0, total[r] - sum(used[r] for used in has)) for r in range(3)]
    queue = [(_dominant(has[i], total), claim.served, i) for i, claim in enumerate(claims)]
    places = {i: place for place, (_, _, i) in enumerate(sorted(queue))}
    got = len(claims)  # the earliest position in the order of those runs that got something
    heapq.heapify(queue)
    units = [_unit(claim) for claim in claims]
    while queue:
        _, served, i = heapq.heappop(queue)
        rest = [max(0.0, want - have) for want, have in zip(_three(claims[i].want), has[i], strict=True)]
        if not any(r > SLACK for r in rest):
            continue
        step = _step(units[i], rest, free, total)
        if any(step[r] > total[r] - has[i][r] + SLACK for r in range(3)):
            continue  # it can never fit beside what the run itself uses
        if any(has[i]) and all(step[r] < units[i][r] - SLACK for r in range(3) if units[i][r] > SLACK):
            continue  # less than one attempt needs is of no use to the run
        if all(step[r] <= free[r] + SLACK for r in range(3)):
            has[i] = [have + more for have, more in zip(has[i], step, strict=True)]
            heapq.heappush(queue, (_dominant(has[i], total), served, i))
            got = min(got, places[i])
        elif any(has[i]) or got < places[i]:
            continue
        free = [max(0.0, free[r] - step[r]) for r in range(3)]  # handed out, or reserved
    return [_amount(used) for used in has]


def _step(unit: Sequence[float], rest: Sequence[float], free: Sequence[float], total: Sequence[float]) -> list[float]:
    """Return the resources to hand out in one step: the needs of one or more attempts, so that there are few steps.

    A step covers only as many attempts as fit into `free`. If not even one fits, it covers one attempt. `unit` is what
    one attempt needs, `rest` what the run still wants, `total` the capacity of the pool. Each list holds cpus, GiB of
    memory and gpus.
    """
    if not any(unit[r] > SLACK and rest[r] > SLACK for r in range(3)):
        return list(rest)
    most = max((min(rest[r], total[r]) / unit[r] for r in range(3) if unit[r] > SLACK), default=1.0)
    fit = min((free[r] / unit[r] for r in range(3) if unit[r] > SLACK), default=1.0)
    count = max(1, min(math.ceil(most / STEPS), math.floor(fit + SLACK)))
    return [min(rest[r], unit[r] * count) for r in range(3)]


def _unit(claim: Claim) -> list[float]:
    """Return the cpus, GiB of memory and gpus that the run's next attempt needs.

    If the claim doesn't say what the attempt needs, assume that each attempt takes one cpu, and divide the resources
    that the run still wants by the number of cpus among them.
    """
    least = _three(claim.least)
    if any(least):
        return least
    rest = [max(0.0, want - used) for want, used in zip(_three(claim.want), _three(claim.used), strict=True)]
    cpu, memory_gib, gpus = rest
    part = 1 / cpu if cpu > 1 else 1.0
    return [cpu * part, memory_gib * part, float(math.ceil(gpus * part))]


def _dominant(has: Sequence[float], total: Sequence[float]) -> float:
    return max(has[r] / total[r] if total[r] else 0.0 for r in range(3))


def _is_idle(claim: Claim) -> bool:
    return not any((*_three(claim.want), *_three(claim.used), *_three(claim.held)))


def _three(amount: Amount) -> list[float]:
    return [amount.cpu, amount.memory_gib, float(amount.gpus)]


def _amount(three: Sequence[float]) -> Amount:
    return Amount(cpu=three[0], memory_gib=three[1], gpus=math.floor(three[2] + SLACK))
