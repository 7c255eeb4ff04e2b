"""Adds parts of prediction logs, with predictions or labels, within the caller's transaction."""

from __future__ import annotations

import msgspec

from headrace.ledger.database.database import Database
from headrace.spec.endpoint import Part

_encode_ref = msgspec.msgpack.Encoder().encode


def lock(db: Database) -> None:
    """Make others that add parts wait until the caller's transaction ends. Otherwise a number could be committed before
    a lower one."""
    db.execute(db.sql.LOCK_PREDICTIONS)


def add(db: Database, part: Part, *, at: float) -> None:
    """Add a part with predictions, as the next one of its endpoint, unless the ledger has its segment already. The
    transaction must hold the lock (`lock`)."""
    db.execute(db.sql.ADD_PREDICTION_PART, _row(part, at))


def add_labels(db: Database, part: Part, *, at: float) -> None:
    """Add a part with labels in the same way."""
    db.execute(db.sql.ADD_LABEL_PART, _row(part, at))


def _row(part: Part, at: float) -> tuple[object, ...]:
    one = part.endpoint, part.writer, part.segment
    return *one, _encode_ref(part.out), part.count, part.first, part.last, at, part.endpoint, *one
