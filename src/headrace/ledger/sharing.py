"""Shares a pool among the runs of a ledger: each run's claim is a row, and a rule (`place.share`) decides how much each
run gets.

Each decision is one transaction, which first locks the pool's row. The pool's epoch counts the decisions. A claim
counts as long as its run's lease is held, no matter how much time has passed. Claims mean nothing after the machine
crashes, so these transactions don't wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import asdict

from headrace.ledger.database.database import Database
from headrace.ledger.ports import Share
from headrace.ledger.records import GRANTS
from headrace.run.ports import Grant, Want
from headrace.spec.claim import Amount, Claim
from headrace.spec.fleet import Pool

TERM_S = 10.0
"""How long a grant is valid, in seconds."""


Check = Callable[[], None]
"""A function that checks, within the transaction, that this driver still holds the run, and raises `Unmet` if the
driver doesn't."""


def grant(db: Database, check: Check, pool: Pool, share: Share, want: Want, *, run: str, now: float) -> Grant:
    """Store what a run wants and uses of a pool; return what the run may use now.

    Raises:
        Unmet: another driver holds the run's lease by now, so this driver may not change the run's claims.
    """
    return db.atomically(lambda: _decide(db, check, pool, share, want, run, now), durable=False)


def leave(db: Database, check: Check, run: str) -> None:
    """Delete a run's claims.

    Raises:
        Unmet: another driver holds the run's lease by now, so this driver may not change the run's claims.
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
    found = list(GRANTS.read(db.execute(sql.CLAIMS, (pool.name,))))
    held = db.leases.held([each.run for each in found if each.run != run])
    for each in found:
        if each.run == run:
            asks, arrived, before = len(claims), each.arrived, each.claim.held
            claims.append(_claim(want, before, each.served))
        elif each.run not in held:
            db.execute(sql.FORGET_GRANT, (pool.name, each.run))
        else:
            claims.append(each.claim)
    if asks < 0:
        asks = len(claims)
        claims.append(_claim(want, before, 0))
    capacity = Amount(cpu=pool.cpu, memory_gib=pool.memory_gib, gpus=pool.gpus)
    given = share(capacity, claims, asks)
    claim = claims[asks]
    served = epoch if _grows(before, given) else claim.served
    expires = now + TERM_S
    amounts = {"want_": claim.want, "used_": claim.used, "least_": claim.least, "": given}
    row = {f"{what}{name}": number for what, amount in amounts.items() for name, number in asdict(amount).items()}
    row |= {"pool": pool.name, "run": run, "arrived": arrived, "served": served, "expires": expires}
    db.execute(sql.PUT_GRANT, sql.values("PUT_GRANT", row))
    return Grant(pool=pool.name, cpu=given.cpu, memory_gib=given.memory_gib, gpus=given.gpus, expires=expires)


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


def _grows(before: Amount, after: Amount) -> bool:
    return after.cpu > before.cpu or after.memory_gib > before.memory_gib or after.gpus > before.gpus
