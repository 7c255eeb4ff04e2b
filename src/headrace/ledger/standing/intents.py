"""Applies intents, and finds out whether an intent was applied. An intent is a change that a task asks for: to advance
a cursor, to register a version, to change the route of an endpoint, to record labels of its predictions, or to log a
batch of predictions. Each function here has one case for each kind of intent; no other module of the ledger tells the
kinds apart."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import asdict

from headrace.errors import UsageError
from headrace.ledger import parts, registration
from headrace.ledger.database.database import Database
from headrace.ledger.records import ROUTES, PredictionBatchRecord
from headrace.spec.artifact import decode_ref
from headrace.spec.endpoint import MAIN, SHADOW, Part, Route, decode_route, sole
from headrace.spec.intent import Advance, Deploy, Intent, LogBatch, Register, Tell

_encode_ref = msgspec.msgpack.Encoder().encode
_ORDER: tuple[type[Intent], ...] = (Advance, Register, Deploy, Tell, LogBatch)
"""The order in which intents are applied: a route may name a version that the same task registers."""


def apply(db: Database, intents: Sequence[tuple[str, Intent]], *, run: str, by: str, now: float) -> None:
    """Apply the intents of a run's tasks within the caller's transaction. `intents` are pairs of a task's name and an
    intent. They are sorted first, so that runs that write at the same time don't deadlock."""
    is_locked = is_log_locked = False
    for task, intent in sorted(intents, key=lambda each: (_ORDER.index(type(each[1])), each[1].name)):
        if not is_locked and isinstance(intent, Register | Deploy):
            registration.lock(db)
            is_locked = True
        if not is_log_locked and isinstance(intent, Tell | LogBatch):
            parts.lock(db)
            is_log_locked = True
        match intent:
            case Advance(name=name, version=version, value=value):
                moves = db.execute(db.sql.CURSOR_MOVES, (name, version)).fetchall()
                if all(mover == (run, task) for mover in moves):  # this task may overwrite only its own versions
                    row = name, version + len(moves) + 1, _encode_ref(value), run, task, now, None
                    db.execute(db.sql.MOVE_CURSOR, row)
            case Register():
                registration.put(db, intent, run=run, task=task, by=by, at=now)
            case Deploy():
                _deploy(db, intent, registration.Move(at=now, by=by, run=run, task=task))
            case Tell():
                parts.add_labels(db, _labels(intent, run, task), at=now)
            case LogBatch():
                _log(db, intent, run=run, task=task, now=now)


def is_applied(db: Database, run: str, task: str, intent: Intent) -> bool:
    """Return whether a task's intent was applied, or was overtaken by a change that another task or a user made."""
    match intent:
        case Advance():
            return _is_advanced(db, run, task, intent)
        case Register(kind=kind, name=name, identity=identity):
            return db.execute(db.sql.VERSION_OF, (kind, name, identity)).fetchone() is not None
        case Deploy(name=name, identity=identity):
            found = db.execute(db.sql.VERSION_OF, ("model", name, identity)).fetchone()
            moves = ROUTES.read(db.execute(db.sql.ROUTES_OF, (name,)))
            routes = [decode_route(each.route) for each in moves if each.route is not None]
            return found is not None and any(found[0] in route.versions for route in routes)
        case Tell():
            part = _labels(intent, run, task)
            one = part.endpoint, part.writer, part.segment
            return db.execute(db.sql.LABEL_PART_BY_SEGMENT, one).fetchone() is not None
        case LogBatch(out=out):
            return db.execute(db.sql.PREDICTION_BATCH_OF, (run, task, out.identity)).fetchone() is not None


def told(intent: Intent) -> tuple[str, str, str, str]:
    """Return four texts about an intent that was not applied: the kind of thing that it should have changed, the name
    of the thing, what is stored, and what should be stored instead."""
    match intent:
        case Advance(name=name, version=version, value=value):
            return "cursor", name, "another or no value", f"version {version + 1}, {value.digest[:12]}"
        case Register(kind=kind, name=name, out=out):
            return kind, name, "no version", out.digest[:12]
        case Deploy(name=name, identity=identity, variant=variant):
            return "endpoint", name, "no such route", f"{identity.rpartition(':')[2][:12]} as {variant}"
        case Tell(name=name, out=out, count=count):
            return "labels", name, "none of this task", f"{count:,}, {out.digest[:12]}"
        case LogBatch(name=name, out=out):
            return "batch of predictions", name, "no batch", out.digest[:12]


def _labels(told: Tell, run: str, task: str) -> Part:
    """Return a part of an endpoint's prediction log with the labels that a task recorded at once. The part's writer is
    the task. The part's segment is the number of this record among those of the task."""
    return Part(
        endpoint=told.name,
        writer=f"{run}/{task}",
        segment=told.part,
        out=told.out,
        count=told.count,
        first=told.at,
        last=told.at,
    )


def _deploy(db: Database, asked: Deploy, move: registration.Move) -> None:
    """Change the route of an endpoint as a task asks. If the endpoint doesn't exist yet, the version gets all requests,
    even if the task asked for a smaller share. If the version's share is too large for the shares of the other
    variants, these are removed (but not `production` and the shadow)."""
    version = db.execute(db.sql.VERSION_OF, ("model", asked.name, asked.identity)).fetchone()[0]

    def change(route: Route | None) -> Route:
        changed = sole(asked.name, version) if route is None else _beside(route, version, asked)
        return changed.about(asked.key, asked.time)

    registration.reroute(db, asked.name, change, move, registration.new_nonce())


def _beside(route: Route, version: int, asked: Deploy) -> Route:
    if asked.variant == MAIN:
        return route.promoted(version)
    if asked.variant == SHADOW:
        return route.shadowed(version)
    share = asked.share or 0.0
    try:
        return route.sharing(asked.variant, version, share)
    except UsageError:
        alone = route.only(route.main.version).shadowed(route.shadow)
        return alone.sharing(asked.variant, version, share)


def _log(db: Database, asked: LogBatch, *, run: str, task: str, now: float) -> None:
    """Add a batch to its endpoint's log, with the next number. If this task has already added the batch, do nothing."""
    named = asked.name
    if not named:
        found = db.execute(db.sql.MODEL_NAMED, (asked.model,)).fetchone()
        named = "" if found is None else found[0]
    row = PredictionBatchRecord(
        endpoint=named,
        number=0,  # the statement counts
        model=asked.model,
        given=_encode_ref(asked.rows),
        out=_encode_ref(asked.out),
        identity=asked.out.identity,
        count=asked.count,
        refused=asked.refused,
        first=asked.first,
        last=asked.last,
        at=now,
        run=run,
        task=task,
    )
    db.execute(db.sql.ADD_PREDICTION_BATCH, db.sql.values("ADD_PREDICTION_BATCH", asdict(row)))


def _is_advanced(db: Database, run: str, task: str, asked: Advance) -> bool:
    """Return whether a cursor was advanced as a task asked, or was advanced by another task or a user instead. Values
    with the same bytes count as equal, whatever their generations."""
    moves = db.execute(db.sql.CURSOR_MOVES, (asked.name, asked.version)).fetchall()
    if any(mover != (run, task) for mover in moves):
        return True
    after = (asked.version + 1 + place for place in range(len(moves)))
    values = (db.execute(db.sql.CURSOR_VALUE, (asked.name, version)).fetchone() for version in after)
    return any(row is not None and decode_ref(row[0]).identity == asked.value.identity for row in values)
