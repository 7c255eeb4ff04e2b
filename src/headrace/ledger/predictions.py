"""Adds sealed parts of prediction logs to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import msgspec

from headrace.ledger.database.database import Database
from headrace.ledger.ledger import Ledger
from headrace.spec.endpoint import Part

_encode_ref = msgspec.msgpack.Encoder().encode


def record(ledger: Ledger, parts: Sequence[Part]) -> None:
    """Add parts, each as the next one of its endpoint, in one transaction. A part whose segment the ledger has already
    is left out. Numbers follow the order of commits: whoever has read up to a number has missed nothing before it.

    Raises:
        LedgerError: the ledger can't be written.
    """

    def work(db: Database) -> None:
        db.execute(db.sql.LOCK_PREDICTIONS)  # or a number could be committed before a lower one
        for part in parts:
            one = part.endpoint, part.writer, part.segment
            row = (*one, _encode_ref(part.out), part.count, part.first, part.last, ledger.now())
            db.execute(db.sql.ADD_PREDICTION_PART, (*row, part.endpoint, *one))

    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: work(db))
