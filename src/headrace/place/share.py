"""How runs share a pool.

A run asks with what it wants of the pool, what it uses and what its next attempt needs at least; it gets what it may
use until it asks again. The rule:

1. What is in use stays. What others were granted is theirs until they ask again, so that the sum of all grants never
   passes the capacity.
2. The rest goes out in steps of one attempt, each to the run that is neediest: whose dominant share (the largest of
   its shares of cpus, memory and gpus) is least; among equals, the one that got more longest ago; then the oldest.
   This is dominant resource fairness (Ghodsi et al., 2011), max-min where one resource is scarce.
3. If the neediest run has nothing in use and its attempt doesn't fit into what is free now, what is free of its needs
   is held back for it, and nobody behind it gets that; unless a run that was before it got something this time. So an
   attempt larger than its run's share gets its turn once the attempts of others end, and since it then has had the
   most recent turn, the others fill the pool before its next one.
4. A run that is alone gets all of the pool at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from headrace.spec.claim import Amount, Claim

SLACK = 1e-9
STEPS = 256
"""A run's want is handed out in at most some such number of steps, so that large pools cost no more than small ones."""


def grant(capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount:
    """Return what the run of claim `asks`, which asks now, may use; claims are ordered by arrival."""
    claim = claims[asks]
    others = [_three(each.held) for i, each in enumerate(claims) if i != asks]
    total = _three(capacity)
    if all(_is_idle(each) for i, each in enumerate(claims) if i != asks):
        fair = total
    else:
        fair = _three(shares(capacity, claims)[asks])
    used = _three(claim.used)
    room = [total[r] - sum(held[r] for held in others) for r in range(3)]
    return _amount([max(used[r], min(fair[r], room[r])) for r in range(3)])


def shares(capacity: Amount, claims: Sequence[Claim]) -> list[Amount]:
    """Return what each run should have in the end, if nothing changed but that attempts beyond it ended."""
    total = _three(capacity)
    has = [_three(claim.used) for claim in claims]
    free = [max(0.0, total[r] - sum(each[r] for each in has)) for r in range(3)]
    queue = [(_dominant(has[i], total), claim.served, i) for i, claim in enumerate(claims)]
    places = {i: place for place, (_, _, i) in enumerate(sorted(queue))}
    got = len(claims)  # the first place of those that got something
    heapq.heapify(queue)
    units = [_unit(claim) for claim in claims]
    while queue:
        _, served, i = heapq.heappop(queue)
        rest = [max(0.0, want - have) for want, have in zip(_three(claims[i].want), has[i], strict=True)]
        if not any(r > SLACK for r in rest):
            continue
        step = _step(units[i], rest, free, total)
        if any(step[r] > total[r] - has[i][r] + SLACK for r in range(3)):
            continue  # it never fits beside what the run has itself
        if any(has[i]) and all(step[r] < units[i][r] - SLACK for r in range(3) if units[i][r] > SLACK):
            continue  # less than an attempt is of no use to it
        if all(step[r] <= free[r] + SLACK for r in range(3)):
            has[i] = [have + more for have, more in zip(has[i], step, strict=True)]
            heapq.heappush(queue, (_dominant(has[i], total), served, i))
            got = min(got, places[i])
        elif any(has[i]) or got < places[i]:
            continue
        free = [max(0.0, free[r] - step[r]) for r in range(3)]  # given, or held back
    return [_amount(each) for each in has]


def _step(unit: Sequence[float], rest: Sequence[float], free: Sequence[float], total: Sequence[float]) -> list[float]:
    """Return as many attempts at once as keep the number of steps small, but no more than fit; at least something."""
    if not any(unit[r] > SLACK and rest[r] > SLACK for r in range(3)):
        return list(rest)
    most = max((min(rest[r], total[r]) / unit[r] for r in range(3) if unit[r] > SLACK), default=1.0)
    fit = min((free[r] / unit[r] for r in range(3) if unit[r] > SLACK), default=1.0)
    count = max(1, min(math.ceil(most / STEPS), math.floor(fit + SLACK)))
    return [min(rest[r], unit[r] * count) for r in range(3)]


def _unit(claim: Claim) -> list[float]:
    """What the run's next attempt needs."""
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
