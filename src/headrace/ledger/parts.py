"""Adds and rewrites parts of prediction logs, with predictions or labels, within the caller's transaction."""

from __future__ import annotations

import msgspec
from msgspec.structs import asdict

from headrace.ledger.database.database import Database
from headrace.ledger.records import PredictionPartRecord
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Part

_encode_ref = msgspec.msgpack.Encoder().encode


def lock(db: Database) -> None:
    """Lock the prediction logs until the caller's transaction ends. Other processes that want to add parts wait until
    then. Without this lock, a part could be committed before another part with a lower number."""
    db.execute(db.sql.LOCK_PREDICTIONS)


def add(db: Database, part: Part, *, at: float) -> None:
    """Add a part with predictions to its endpoint's log, with the next number. If the ledger already has the part's
    segment, do nothing. The transaction must hold the lock (`lock`)."""
    db.execute(db.sql.ADD_PREDICTION_PART, _row(part, at))


def add_labels(db: Database, part: Part, *, at: float) -> None:
    """Add a part with labels to its endpoint's log, with the next number. If the ledger already has the part's segment,
    do nothing. The transaction must hold the lock (`lock`)."""
    db.execute(db.sql.ADD_LABEL_PART, _row(part, at))


def rewrite(db: Database, part: PredictionPartRecord, out: Ref, count: int, *, is_labels: bool) -> None:
    """Put the table `out`, of `count` rows, in the place of a part's table. The transaction must hold the lock.

    Raises:
        Unmet: the part was changed meanwhile.
    """
    values = {**asdict(part), "was": part.out, "out": _encode_ref(out), "count": count}
    if is_labels:
        db.require(db.sql.REWRITE_LABEL_PART, db.sql.values("REWRITE_LABEL_PART", values))
    else:
        db.require(db.sql.REWRITE_PREDICTION_PART, db.sql.values("REWRITE_PREDICTION_PART", values))


def _row(part: Part, at: float) -> tuple[object, ...]:
    one = part.endpoint, part.writer, part.segment
    return *one, _encode_ref(part.out), part.count, part.first, part.last, at, part.endpoint, *one
