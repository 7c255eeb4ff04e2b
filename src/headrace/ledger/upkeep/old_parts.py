"""Forgets the parts of prediction logs that are older than their endpoint keeps them.

A part is forgotten as a whole, when its newest prediction (or label) is old. It gets an empty table. Its row stays, for
three reasons. A segment that is sealed again is left out, since its row is there. A task that recorded labels has
recorded them, even if they are forgotten. And parts are numbered and cursors remember numbers, so no number may be
given again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Struct

from headrace.ledger import parts
from headrace.ledger.database.database import Database
from headrace.ledger.records import PREDICTION_LOGS, PREDICTION_PARTS, PredictionPartRecord
from headrace.spec.artifact import Ref

_encode_ref = msgspec.msgpack.Encoder().encode


class Together(Struct, frozen=True, kw_only=True):
    """A table made of several: `places` are the places of these in the sequence that was given, and `outs` are the
    slices of the new table with the same rows. A dry run makes none."""

    places: tuple[int, ...]
    outs: tuple[Ref, ...] = ()


class LogRules(Protocol):
    """How long the predictions of endpoints are kept, and how their tables are made."""

    def seconds(self, endpoint: str) -> float | None:
        """Return how many seconds the endpoint's predictions and labels are kept, or None if they are kept forever."""
        ...

    def empty(self, *, is_labels: bool) -> Ref:
        """Store the table of a part without predictions, or without labels, and return it."""
        ...

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> Sequence[Together]:
        """Store larger tables, each of those in `outs` that can be one table. `beat` is called once for each table."""
        ...


class OldLog(Struct, frozen=True, kw_only=True):
    """What was forgotten of an endpoint's log: how many predictions and labels, and the number of their parts."""

    endpoint: str
    predictions: int
    labels: int
    parts: int


class OldParts(Struct, frozen=True, kw_only=True):
    """What was forgotten of all logs, and the encoded tables that the forgotten parts named."""

    logs: tuple[OldLog, ...] = ()
    outs: frozenset[bytes] = frozenset()


def forget(db: Database, rules: LogRules, now: float, *, dry_run: bool) -> OldParts:
    """Forget the parts that are too old at the time `now`, and return what they were. A dry run changes nothing."""
    logs, outs = list[OldLog](), set[bytes]()
    for endpoint in sorted(_endpoints(db)):
        keep_s = rules.seconds(endpoint)
        if keep_s is None:
            continue
        predictions = _old(db, rules, endpoint, now - keep_s, is_labels=False, dry_run=dry_run)
        labels = _old(db, rules, endpoint, now - keep_s, is_labels=True, dry_run=dry_run)
        if predictions or labels:
            counts = (sum(part.count for part in each) for each in (predictions, labels))
            logs.append(
                OldLog(
                    endpoint=endpoint,
                    predictions=next(counts),
                    labels=next(counts),
                    parts=len(predictions) + len(labels),
                )
            )
            outs |= {part.out for part in (*predictions, *labels)}
    return OldParts(logs=tuple(logs), outs=frozenset(outs))


def _endpoints(db: Database) -> set[str]:
    """Return the endpoints that have parts."""
    statements = db.sql.PREDICTION_LOGS, db.sql.LABEL_LOGS
    return {row.endpoint for statement in statements for row in PREDICTION_LOGS.read(db.execute(statement))}


def _old(
    db: Database, rules: LogRules, endpoint: str, edge: float, *, is_labels: bool, dry_run: bool
) -> list[PredictionPartRecord]:
    """Forget the parts of an endpoint with labels, or those with predictions. Return them."""
    found = _before(db, endpoint, edge, is_labels=is_labels)
    if dry_run or not found:
        return found
    out = rules.empty(is_labels=is_labels)  # it is stored before a row names it
    return db.atomically(partial(_empty, db, endpoint, edge, out, is_labels=is_labels))


def _empty(db: Database, endpoint: str, edge: float, out: Ref, *, is_labels: bool) -> list[PredictionPartRecord]:
    parts.lock(db)
    found = _before(db, endpoint, edge, is_labels=is_labels)
    empties = db.sql.FORGET_LABEL_PARTS if is_labels else db.sql.FORGET_PREDICTION_PARTS
    db.execute(empties, (_encode_ref(out), endpoint, edge))
    return found


def _before(db: Database, endpoint: str, edge: float, *, is_labels: bool) -> list[PredictionPartRecord]:
    """Return the parts that are older than `edge` and not empty."""
    before = db.sql.LABEL_PARTS_BEFORE if is_labels else db.sql.PREDICTION_PARTS_BEFORE
    return list(PREDICTION_PARTS.read(db.execute(before, (endpoint, edge))))
