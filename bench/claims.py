"""Deciding how 3,000 runs share a pool: what one driver computes when it asks for its share.

Three pools of one kind of claims: in the first, most runs get nothing; in the last, each run gets something, and two
of three get all that they want.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.table import Row
from headrace.place.share import grant
from headrace.spec.claim import Amount, Claim

CLAIMS = 3000
BAR_S = 0.02
POOLS = {
    "64 cpus": Amount(cpu=64, memory_gib=256, gpus=8),
    "5,000 cpus": Amount(cpu=5000, memory_gib=20_000, gpus=400),
    "100,000 cpus": Amount(cpu=100_000, memory_gib=1_000_000, gpus=10_000),
}


def rows(folder: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001
    """Decide the share of one run in each pool."""
    for words, pool in POOLS.items():
        claims = drawn(pool)
        pairs = [(_took(pool, claims), _sorting(claims)) for _ in range(rounds)]
        yield Row(
            what=f"a run's share of a pool of {words}, {CLAIMS:,} claims",
            measured=min(decided for decided, _ in pairs),
            floor=min(sorting for _, sorting in pairs),
            bar=BAR_S,
            floor_is="sorting the claims by what they use",
        )


def drawn(pool: Amount) -> list[Claim]:
    """Return random claims, always the same: attempts of different sizes, from one to 500 of them wanted."""
    draw = random.Random(1)
    free = pool
    claims = []
    for _ in range(CLAIMS):
        least = Amount(
            cpu=draw.choice([0.5, 1, 2, 4]), memory_gib=draw.choice([0, 1, 2, 8]), gpus=draw.choice([0, 0, 0, 1])
        )
        used = _times(least, draw.choice([0, 0, 1, 2]))
        if used.cpu > free.cpu or used.memory_gib > free.memory_gib or used.gpus > free.gpus:
            used = Amount()
        free = Amount(cpu=free.cpu - used.cpu, memory_gib=free.memory_gib - used.memory_gib, gpus=free.gpus - used.gpus)
        want = _times(least, draw.choice([1, 4, 32, 500]))
        claims.append(Claim(want=want, used=used, held=used, least=least, served=draw.randrange(100)))
    return claims


def _times(amount: Amount, number: int) -> Amount:
    return Amount(cpu=amount.cpu * number, memory_gib=amount.memory_gib * number, gpus=amount.gpus * number)


def _took(pool: Amount, claims: Sequence[Claim]) -> float:
    began = time.perf_counter()
    grant(pool, claims, CLAIMS // 2)
    return time.perf_counter() - began


def _sorting(claims: Sequence[Claim]) -> float:
    began = time.perf_counter()
    sorted(claims, key=lambda claim: (claim.used.cpu, claim.used.memory_gib, claim.used.gpus, claim.served))
    return time.perf_counter() - began
