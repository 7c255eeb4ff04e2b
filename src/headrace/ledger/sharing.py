"""How the runs of this ledger share a pool: their claims are rows, and a rule (`place.share`) decides.

The lock of the pool's row is the pool's lease: each decision is one transaction, which begins with that row, and the
pool's epoch counts them. A claim counts while its run's lease is held, whatever the clock says. Claims mean
nothing after a crash of the machine, so these transactions don't wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.ledger.database.database import Database
from headrace.ledger.ports import Share
from headrace.run.ports import Grant, Want
from headrace.spec.claim import Amount, Claim
from headrace.spec.fleet import Pool

TERM_S = 10.0
"""How long a grant is good for."""


Check = Callable[[], None]
"""Asks, within the transaction, whether the run is still that of the driver that asks; raises `Unmet`."""


def grant(db: Database, check: Check, pool: Pool, share: Share, want: Want, *, run: str, now: float) -> Grant:
    """Store what a run wants and uses, and decide what it may use.

    Raises:
        Unmet: its lease is another's by now, and so are its claims.
    """
    return db.atomically(lambda: _decide(db, check, pool, share, want, run, now), durable=False)


def leave(db: Database, check: Check, run: str) -> None:
    """Forget a run's claims.

    Raises:
        Unmet: its lease is another's by now, and so are its claims.
    """

    def forget() -> None:
        check()
        db.execute(db.sql.FORGET_GRANTS, (run,))

    db.atomically(forget, durable=False)


def _decide(db: Database, check: Check, pool: Pool, share: Share, want: Want, run: str, now: float) -> Grant:
    check()
    sql = db.sql
    db.execute(sql.TAKE_POOL, (pool.name,))
    (epoch,) = db.execute(sql.POOL_EPOCH, (pool.name,)).fetchone()
    claims: list[Claim] = []
    asks, arrived, before = -1, epoch, Amount()
    found = _claims(db, pool.name)
    held = db.leases.held([other for other, _, _ in found if other != run])
    for other, since, claim in found:
        if other == run:
            asks, arrived, before = len(claims), since, claim.held
            claims.append(_claim(want, claim.held, claim.served))
        elif other not in held:
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
    amounts = (claim.want, claim.used, claim.least, given)
    numbers = [number for each in amounts for number in (each.cpu, each.memory_gib, each.gpus)]
    db.execute(sql.PUT_GRANT, (pool.name, run, arrived, served, *numbers, expires))
    return Grant(pool=pool.name, cpu=given.cpu, memory_gib=given.memory_gib, gpus=given.gpus, expires=expires)


def _claims(db: Database, pool: str) -> list[tuple[str, int, Claim]]:
    found = []
    for run, arrived, served, *numbers in db.execute(db.sql.CLAIMS, (pool,)).fetchall():
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
