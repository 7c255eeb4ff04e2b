"""Writing versions and aliases down, within a transaction of whoever registers.

Numbers are given in that transaction, one after another, so none is left out and none is given twice.
"""

from __future__ import annotations

import msgspec

from headrace.ledger.database.database import Database
from headrace.spec.intent import Register

_encode_ref = msgspec.msgpack.Encoder().encode


def lock(db: Database) -> None:
    """Make others who register, or move a cursor by hand, wait until this transaction has ended, where several may
    write at once."""
    db.execute(db.sql.LOCK_REGISTRY)


def put(
    db: Database,
    wanted: Register,
    *,
    run: str | None,
    task: str | None,
    by: str,
    at: float,
    origin: str | None = None,
    why: str | None = None,
) -> None:
    """Register a version within a transaction that holds the lock, unless it is there; point its aliases at it.

    One that is there gets the preparation, if it has none yet.
    """
    kind, name, identity = wanted.kind, wanted.name, wanted.out.identity
    out, *others = (each and _encode_ref(each) for each in (wanted.out, wanted.report, wanted.preparation))
    report, preparation = others
    one = kind, name, identity
    row = *one, out, report, run, task, at, by, wanted.note, origin, preparation, kind, name, *one
    db.execute(db.sql.ADD_VERSION, row)
    if preparation is not None:
        db.execute(db.sql.ADD_PREPARATION, (preparation, *one))
    for alias in wanted.aliases:
        db.execute(db.sql.POINT_ALIAS, (alias, at, by, why, *one))
