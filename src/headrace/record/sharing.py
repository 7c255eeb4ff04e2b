"""How the runs of this ledger share a pool: their claims are rows, and a rule (`place.share`) decides.

SQLite lets one transaction write at a time, so that lock is the pool's lease: each decision is one transaction, and
the pool's epoch counts them. A claim counts while its run's lease is held, whatever the clock says. Claims mean
nothing after a crash of the machine, so these transactions don't wait for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from headrace.record import lease
from headrace.record import statements as sql
from headrace.record.ports import Share
from headrace.run.ports import Grant, Want
from headrace.spec.claim import Amount, Claim
from headrace.spec.fleet import Pool

TERM_S = 10.0
"""How long a grant is good for."""


def grant(db: sqlite3.Connection, pool: Pool, share: Share, want: Want, *, run: str, leases: Path, now: float) -> Grant:
    """Store what a run wants and uses, and decide what it may use."""
    db.execute("PRAGMA synchronous=NORMAL")
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            given = _decide(db, pool, share, want, run, leases, now)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    finally:
        db.execute("PRAGMA synchronous=FULL")
    return given


def leave(db: sqlite3.Connection, run: str) -> None:
    """Forget a run's claims."""
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute(sql.FORGET_GRANTS, (run,))
    db.execute("PRAGMA synchronous=FULL")


def _decide(db: sqlite3.Connection, pool: Pool, share: Share, want: Want, run: str, leases: Path, now: float) -> Grant:
    row = db.execute(sql.POOL_EPOCH, (pool.name,)).fetchone()
    epoch = (row[0] if row else 0) + 1
    claims: list[Claim] = []
    asks, arrived, before = -1, epoch, Amount()
    for other, since, claim in _claims(db, pool.name):
        if other == run:
            asks, arrived, before = len(claims), since, claim.held
            claims.append(_claim(want, claim.held, claim.served))
        elif lease.holder(leases, other) is None:
            db.execute(sql.FORGET_GRANT, (pool.name, other))
        else:
            claims.append(claim)
    if asks < 0:
        asks = len(claims)
        claims.append(_claim(want, before, 0))
    capacity = Amount(cpu=pool.cpu, memory_gib=pool.memory_gib, gpus=pool.gpus)
    given = share(capacity, claims, asks)
    claim = claims[asks]
    served = epoch if _grows(before, given) else claim.served
    expires = now + TERM_S
    db.execute(sql.PUT_POOL, (pool.name, epoch))
    amounts = (claim.want, claim.used, claim.least, given)
    numbers = [number for each in amounts for number in (each.cpu, each.memory_gib, each.gpus)]
    db.execute(sql.PUT_GRANT, (pool.name, run, arrived, served, *numbers, expires))
    return Grant(pool=pool.name, cpu=given.cpu, memory_gib=given.memory_gib, gpus=given.gpus, expires=expires)


def _claims(db: sqlite3.Connection, pool: str) -> list[tuple[str, int, Claim]]:
    found = []
    for run, arrived, served, *numbers in db.execute(sql.CLAIMS, (pool,)).fetchall():
        want, used, least, held = (_amount(numbers[i : i + 3]) for i in (0, 3, 6, 9))
        found.append((run, arrived, Claim(want=want, used=used, least=least, held=held, served=served)))
    return found


def _claim(want: Want, held: Amount, served: int) -> Claim:
    used = Amount(cpu=want.used_cpu, memory_gib=want.used_memory_gib, gpus=want.used_gpus)
    return Claim(
        want=Amount(
            cpu=max(want.cpu, used.cpu),
            memory_gib=max(want.memory_gib, used.memory_gib),
            gpus=max(want.gpus, used.gpus),
        ),
        used=used,
        least=Amount(cpu=want.least_cpu, memory_gib=want.least_memory_gib, gpus=want.least_gpus),
        held=held,
        served=served,
    )


def _amount(numbers: Sequence[float]) -> Amount:
    return Amount(cpu=numbers[0], memory_gib=numbers[1], gpus=int(numbers[2]))


def _grows(before: Amount, after: Amount) -> bool:
    return after.cpu > before.cpu or after.memory_gib > before.memory_gib or after.gpus > before.gpus
