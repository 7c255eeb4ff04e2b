"""Writes versions and aliases of models and datasets, within the caller's transaction.

Version numbers are assigned within that transaction, so no number is skipped or assigned twice.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from headrace.ledger.database.database import Database
from headrace.spec.intent import Register, RegistryKind

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
    is_forced: bool = False,
    nonce: str | None = None,
) -> None:
    """Register a version, if it isn't registered yet, and point its aliases at it. The caller's transaction must hold
    the registry's lock (`lock`).

    `why` is the reason to move the aliases. `is_forced` is True if the version's report advises against the moves. If
    the transaction may be repeated after it was stored, pass the same `nonce` (from `new_nonce`) each time.

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
        move = Move(alias=alias, at=at, by=by, why=why, run=run, task=task, is_forced=is_forced)
        point(db, kind, name, identity, move, nonce or new_nonce())


class Move(Struct, frozen=True, kw_only=True):
    """A move of an alias: who moves it, when and why. `run` is the id of the run whose task moves it, or None if a user
    does. `is_forced` is True if the report of the alias's new version advises against the move."""

    alias: str
    at: float
    by: str
    why: str | None = None
    run: str | None = None
    task: str | None = None
    is_forced: bool = False


def point(db: Database, kind: RegistryKind, name: str, identity: str, move: Move, nonce: str) -> None:
    """Point an alias at the version whose artifact has this `identity`, and record the move. The caller's transaction
    must hold the registry's lock."""
    values = {**asdict(move), "kind": kind, "name": name, "identity": identity, "nonce": nonce}
    db.execute(db.sql.ADD_MOVE, db.sql.values("ADD_MOVE", values))
    forced = {**values, "why": move.why if move.is_forced else None, "reason": move.why}
    db.execute(db.sql.POINT_ALIAS, db.sql.values("POINT_ALIAS", forced))


def unpoint(db: Database, kind: RegistryKind, name: str, move: Move, nonce: str) -> None:
    """Remove an alias, and record the removal. The caller's transaction must hold the registry's lock."""
    values = {**asdict(move), "kind": kind, "name": name, "nonce": nonce}
    db.execute(db.sql.ADD_REMOVAL, db.sql.values("ADD_REMOVAL", values))
    db.execute(db.sql.FORGET_ALIAS, (kind, name, move.alias))


def new_nonce() -> str:
    """Return a random number for a move of an alias, as text."""
    return os.urandom(8).hex()
