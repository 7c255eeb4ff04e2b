"""Adds parts of prediction logs, with predictions or labels, within the caller's transaction; and finds the parts that
share a table."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

import msgspec

from headrace.ledger.database.database import Database
from headrace.ledger.records import PREDICTION_PARTS, PredictionPartRecord
from headrace.spec.artifact import Ref, decode_ref, gather
from headrace.spec.endpoint import MOST_PARTS, Part, Segments, is_shared

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


def after(db: Database, endpoint: str, number: int) -> tuple[int, Ref] | None:
    """Return two values about the parts of an endpoint's log that come after the part `number`, at most `MOST_PARTS` of
    them: the number of the last part, and the list of their tables. Return None if there are no such parts.

    If a table may have rows of other parts too, the list has a dictionary in its place. Its one item is the text of the
    segments whose rows are meant (`Segments`), and the table.
    """
    rows = list(PREDICTION_PARTS.read(db.execute(db.sql.PREDICTION_PARTS_AFTER, (endpoint, number, MOST_PARTS))))
    if not rows:
        return None
    tables = list[Ref]()
    for encoded, some in groupby(rows, key=attrgetter("out")):
        out, own = decode_ref(encoded), list(some)
        if is_shared(out):
            table = out.parts[0] if out.parts and len(out.parts) == 1 else out
            tables.append(gather([table], type="builtins.dict", names=(str(Segments.of(segments_of(own))),)))
        else:
            tables += [out] * len(own)
    return rows[-1].number, gather(tables)


def by_table(rows: Iterable[PredictionPartRecord]) -> list[list[PredictionPartRecord]]:
    """Return parts as lists: parts that share a table are in one list, and each other part in a list of its own."""
    found: dict[object, list[PredictionPartRecord]] = {}
    for row in rows:
        found.setdefault(row.out if is_shared(decode_ref(row.out)) else (row.endpoint, row.number), []).append(row)
    return [*found.values()]


def segments_of(rows: Iterable[PredictionPartRecord]) -> set[tuple[str, int]]:
    """Return the segments whose predictions these parts have: of each, the writer and the number."""
    return {(row.writer, row.segment) for row in rows}


def _row(part: Part, at: float) -> tuple[object, ...]:
    one = part.endpoint, part.writer, part.segment
    return *one, _encode_ref(part.out), part.count, part.first, part.last, at, part.endpoint, *one
