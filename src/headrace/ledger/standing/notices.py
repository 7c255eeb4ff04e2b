"""Puts notices into the outbox, each in the same transaction as its cause."""

from __future__ import annotations

import os
from collections.abc import Collection

import msgspec
from msgspec.structs import asdict

from headrace.ledger.database.database import Database
from headrace.ledger.records import NoticeRecord
from headrace.run.ports import NoticeRow
from headrace.spec.noun import UNREADABLE

LASTS_S = 3 * 86400.0
"""A notice that is older than this many seconds is not sent any more."""


def record(notice: NoticeRow, *, run: str) -> NoticeRecord:
    """Return the row of a new notice about a run, with a new id."""
    return NoticeRecord(
        id=f"notice_{os.urandom(12).hex()}",
        kind=notice.kind,
        run=run,
        at=notice.at,
        facts=notice.facts,
        state="pending",
        tries=0,
        due=notice.at,
        sent="",
        error=None,
    )


def put(db: Database, notices: Collection[NoticeRecord]) -> None:
    """Add notices, within the caller's transaction."""
    if notices:
        db.executemany(db.sql.PUT_NOTICE, [db.sql.values("PUT_NOTICE", asdict(notice)) for notice in notices])


def facts_of(notice: NoticeRecord) -> dict[str, object]:
    """Return the facts of a notice, or an empty dict if another release wrote them in a form that this release can't
    read."""
    try:
        return msgspec.json.decode(notice.facts, type=dict[str, object])
    except UNREADABLE:
        return {}
