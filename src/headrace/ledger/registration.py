"""Writes versions and aliases of models and datasets, and routes of endpoints, within the caller's transaction.

Version numbers are assigned within that transaction, so no number is skipped or assigned twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from headrace.errors import NotFoundError, RefusedError
from headrace.ledger.database.database import Database
from headrace.ledger.records import ROUTES, VERSIONS, erased, has_erased
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.endpoint import MAIN, Route, decode_route, encode_route
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

    If the version is already registered, but has no preparation or no signature yet, it gets those of `wanted`. If
    bytes of it were erased together with a person's data, it gets the equal artifacts of `wanted`, which can be read.
    """
    kind, name, identity = wanted.kind, wanted.name, wanted.identity
    out, *others = (each and _encode_ref(each) for each in (wanted.out, wanted.report, wanted.preparation))
    report, preparation = others
    one = kind, name, identity
    row = *one, out, report, run, task, at, by, wanted.note, origin, preparation, kind, name, *one
    db.execute(db.sql.ADD_VERSION, row)
    if preparation is not None:
        db.execute(db.sql.ADD_PREPARATION, (preparation, *one))
    if wanted.out.signature is not None:
        (known,) = VERSIONS.read(db.execute(db.sql.VERSION_BY_IDENTITY, one))
        if decode_ref(known.out).signature is None:
            values = {**asdict(known), "out": out}
            db.execute(db.sql.POINT_VERSION, db.sql.values("POINT_VERSION", values))
    _restore(db, wanted)
    for alias in wanted.aliases:
        move = Move(alias=alias, at=at, by=by, why=why, run=run, task=task, is_forced=is_forced)
        point(db, kind, name, identity, move, nonce or new_nonce())


def _restore(db: Database, wanted: Register) -> None:
    """If bytes of an artifact of a version were erased together with a person's data, and `wanted` has an equal
    artifact that can be read, let the version name that one. This is done for all versions of the model or dataset,
    since versions may share a preparation."""
    gone = erased(db)

    def readable(was: bytes | None, now: Ref | None) -> bytes | None:
        ref = None if was is None else decode_ref(was)
        if ref is None or now is None or ref.identity != now.identity or not has_erased(ref, gone):
            return was
        return _encode_ref(replace(now, signature=now.signature or ref.signature))

    for row in list(VERSIONS.read(db.execute(db.sql.VERSIONS_OF, (wanted.kind, wanted.name)))) if gone else ():
        now = {
            "out": readable(row.out, wanted.out),
            "report": readable(row.report, wanted.report),
            "preparation": readable(row.preparation, wanted.preparation),
        }
        if now != {name: getattr(row, name) for name in now}:
            db.execute(db.sql.POINT_VERSION, db.sql.values("POINT_VERSION", {**asdict(row), **now}))


class Move(Struct, frozen=True, kw_only=True):
    """A move of an alias or of a route: who moves it, when and why. `run` is the id of the run whose task moves it, or
    None if a user does. `is_forced` is True if the report of the new version advises against the move."""

    alias: str = MAIN
    at: float
    by: str
    why: str | None = None
    run: str | None = None
    task: str | None = None
    is_forced: bool = False


def point(db: Database, kind: RegistryKind, name: str, identity: str, move: Move, nonce: str) -> None:
    """Point an alias at the version whose artifact has this `identity`, and record the move. If the alias is
    `production` and the model has an endpoint, the endpoint's route is changed too. The caller's transaction must hold
    the registry's lock."""
    values = {**asdict(move), "kind": kind, "name": name, "identity": identity, "nonce": nonce}
    db.execute(db.sql.ADD_MOVE, db.sql.values("ADD_MOVE", values))
    forced = {**values, "why": move.why if move.is_forced else None, "reason": move.why}
    db.execute(db.sql.POINT_ALIAS, db.sql.values("POINT_ALIAS", forced))
    if kind == "model" and move.alias == MAIN and (route := route_of(db, name)) is not None:
        version = db.execute(db.sql.VERSION_OF, (kind, name, identity)).fetchone()[0]
        if version != route.main.version:
            _add_route(db, name, route.promoted(version), move, nonce)


def unpoint(db: Database, kind: RegistryKind, name: str, move: Move, nonce: str) -> None:
    """Remove an alias, and record the removal. The caller's transaction must hold the registry's lock.

    Raises:
        RefusedError: the alias is `production`, and the model has an endpoint, which sends requests to this version.
    """
    if kind == "model" and move.alias == MAIN and route_of(db, name) is not None:
        raise RefusedError(
            f"the alias `{MAIN}` of `{name}` can't be removed: endpoint `{name}` sends requests to the version that has"
            " this alias",
            hint=f"point the alias at another version, or end the endpoint: `headrace retire {name}`",
        )
    values = {**asdict(move), "kind": kind, "name": name, "nonce": nonce}
    db.execute(db.sql.ADD_REMOVAL, db.sql.values("ADD_REMOVAL", values))
    db.execute(db.sql.FORGET_ALIAS, (kind, name, move.alias))


def route_of(db: Database, name: str) -> Route | None:
    """Return the route of an endpoint, or None if there is no such endpoint."""
    newest = next(iter(ROUTES.read(db.execute(db.sql.ROUTES_OF, (name,)))), None)
    return None if newest is None or newest.route is None else decode_route(newest.route)


def reroute(db: Database, name: str, change: Callable[[Route | None], Route | None], move: Move, nonce: str) -> None:
    """Change the route of an endpoint, and record the move. `change` takes the present route (None if there is no such
    endpoint) and returns the new one (None to end the endpoint). If another version becomes the variant `production`,
    the alias `production` is moved to this version too. The caller's transaction must hold the registry's lock.

    Raises:
        NotFoundError: the model has no such version.
    """
    before = route_of(db, name)
    route = change(before)
    if route == before:
        return
    _add_route(db, name, route, move, nonce)
    if route is not None:
        found = {row.version: row.identity for row in VERSIONS.read(db.execute(db.sql.VERSIONS_OF, ("model", name)))}
        if lacking := [version for version in route.versions if version not in found]:
            raise NotFoundError(
                f"model `{name}` has no version {lacking[0]}",
                hint=f"its newest is {max(found)}" if found else "there is no model of this name",
            )
        if before is None or route.main.version != before.main.version:
            point(db, "model", name, found[route.main.version], move, nonce)


def _add_route(db: Database, name: str, route: Route | None, move: Move, nonce: str) -> None:
    values = {**asdict(move), "name": name, "nonce": nonce, "route": None, "version": None}
    if route is not None:
        values |= {"route": encode_route(route), "version": route.main.version}
    db.execute(db.sql.ADD_ROUTE, db.sql.values("ADD_ROUTE", values))


def new_nonce() -> str:
    """Return a random number for a move, as text."""
    return os.urandom(8).hex()
