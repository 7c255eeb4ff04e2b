"""Adds to the ledger: sealed parts of prediction logs, with predictions or labels, and withdrawals of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

from msgspec.structs import asdict

from headrace.ledger import parts
from headrace.ledger.database.database import Database
from headrace.ledger.erasures import Spared, spare
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import WithdrawalRecord
from headrace.ledger.registration import new_nonce
from headrace.spec.endpoint import Part

NOTHING: Mapping[str, Spared] = MappingProxyType({})


def record(
    ledger: Ledger, predictions: Sequence[Part], labels: Sequence[Part] = (), *, spared: Mapping[str, Spared] = NOTHING
) -> bool:
    """Add parts with predictions and parts with labels to the logs of their endpoints, in one transaction. Return True.

    A part whose segment the ledger already has is left out. Parts are numbered in the order in which they are
    committed. So a reader that has read all parts up to a number will never miss a part with a lower number.

    `spared` has what was left out of the parts because of each erasure, by the erasure's id. Return False, and add
    nothing, if the ledger has another erasure by now, or if one of these erasures has erased more predictions.

    Raises:
        LedgerError: the ledger can't be written.
    """

    def work(db: Database) -> bool:
        parts.lock(db)
        if not spare(db, spared):
            return False
        for part in predictions:
            parts.add(db, part, at=ledger.now())
        for part in labels:
            parts.add_labels(db, part, at=ledger.now())
        return True

    with closing(ledger.connect()) as db, db.troubles():
        return db.atomically(lambda: work(db))


def withdraw(ledger: Ledger, endpoint: str, source: str, *, by: str, why: str) -> WithdrawalRecord:
    """Withdraw all labels that the source `source` has sent to an endpoint until now: they aren't used any more. Return
    the row of the withdrawal.

    Raises:
        LedgerError: the ledger can't be written.
    """
    row = WithdrawalRecord(endpoint=endpoint, source=source, nonce=new_nonce(), at=ledger.now(), by=by, why=why)
    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: db.execute(db.sql.PUT_WITHDRAWAL, db.sql.values("PUT_WITHDRAWAL", asdict(row))))
    return row
