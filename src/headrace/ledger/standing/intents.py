"""Applies intents, and finds out whether an intent was applied. An intent is a change that a task asks for: to advance
a cursor, or to register a version. Each function here has one case for each kind of intent; no other module of the
ledger tells the kinds apart."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.ledger import registration
from headrace.ledger.database.database import Database
from headrace.spec.artifact import decode_ref
from headrace.spec.intent import Advance, Intent, Register

_encode_ref = msgspec.msgpack.Encoder().encode


def apply(db: Database, intents: Sequence[tuple[str, Intent]], *, run: str, by: str, now: float) -> None:
    """Apply the intents of a run's tasks within the caller's transaction. `intents` are pairs of a task's name and an
    intent. They are sorted first, so that runs that write at the same time don't deadlock."""
    is_locked = False
    for task, intent in sorted(intents, key=lambda each: (type(each[1]).__name__, each[1].name)):
        match intent:
            case Advance(name=name, version=version, value=value):
                moves = db.execute(db.sql.CURSOR_MOVES, (name, version)).fetchall()
                if all(mover == (run, task) for mover in moves):  # this task may overwrite only its own versions
                    row = name, version + len(moves) + 1, _encode_ref(value), run, task, now, None
                    db.execute(db.sql.MOVE_CURSOR, row)
            case Register():
                if not is_locked:
                    registration.lock(db)
                    is_locked = True
                registration.put(db, intent, run=run, task=task, by=by, at=now)


def is_applied(db: Database, run: str, task: str, intent: Intent) -> bool:
    """Return whether a task's intent was applied, or was overtaken by a change that another task or a user made."""
    match intent:
        case Advance():
            return _is_advanced(db, run, task, intent)
        case Register(kind=kind, name=name, out=out):
            return db.execute(db.sql.VERSION_OF, (kind, name, out.identity)).fetchone() is not None


def told(intent: Intent) -> tuple[str, str, str, str]:
    """Return four texts about an intent that was not applied: the kind of thing that it should have changed, the name
    of the thing, what is stored, and what should be stored instead."""
    match intent:
        case Advance(name=name, version=version, value=value):
            return "cursor", name, "another or no value", f"version {version + 1}, {value.digest[:12]}"
        case Register(kind=kind, name=name, out=out):
            return kind, name, "no version", out.digest[:12]


def _is_advanced(db: Database, run: str, task: str, asked: Advance) -> bool:
    """Return whether a cursor was advanced as a task asked, or was moved on by another task or a user. Values with the
    same bytes count as equal, whatever their generations."""
    moves = db.execute(db.sql.CURSOR_MOVES, (asked.name, asked.version)).fetchall()
    if any(mover != (run, task) for mover in moves):
        return True
    after = (asked.version + 1 + place for place in range(len(moves)))
    values = (db.execute(db.sql.CURSOR_VALUE, (asked.name, version)).fetchone() for version in after)
    return any(row is not None and decode_ref(row[0]).identity == asked.value.identity for row in values)
