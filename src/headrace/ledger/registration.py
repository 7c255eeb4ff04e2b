"""Writes versions and aliases of models and datasets, within the caller's transaction.

Version numbers are assigned within that transaction, so no number is skipped or assigned twice.
"""

from __future__ import annotations

import msgspec

from headrace.ledger.database.database import Database
from headrace.spec.intent import Register

_encode_ref = msgspec.msgpack.Encoder().encode


def lock(db: Database) -> None:
    """Lock the registry until the caller's transaction ends. Other processes that want to register a version, or to
    move a cursor outside of runs, wait until then. The lock is only needed on a server, where several processes may
    write at the same time."""
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
    """Register a version, if it isn't registered yet, and point its aliases at it. The caller's transaction must hold
    the registry's lock (`lock`).

    If the version is already registered, but has no preparation yet, it gets the preparation in `wanted`.
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
