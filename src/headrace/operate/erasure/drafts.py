"""Unfinished files of a store. Those of a process that was killed may hold the person, and no row of the ledger names
them."""

from __future__ import annotations

from headrace.errors import HeadraceError
from headrace.ledger import records
from headrace.ledger.database.database import Database
from headrace.ledger.upkeep.gc import CLOCKS_S, GRACE_S
from headrace.store.store import Store


def discard_drafts(db: Database, store: Store) -> str | None:
    """Delete the unfinished files of a store whose writers must be gone: those that are an hour old, and older than
    each attempt in progress. If there are others, return words which say so."""
    left = 0
    try:
        if next(iter(store.strays()), None) is None:
            return None
        now = store.now()
        edge = min([now - GRACE_S, *(since - CLOCKS_S for since in _attempts(db))])
        for stray in store.strays(now):
            if stray.modified < edge:
                store.discard(stray)
            else:
                left += 1
    except HeadraceError as error:
        return f"unfinished files may hold the person, and can't be deleted: {error.message}"
    files = f"{left:,} unfinished file{'s' * (left != 1)}"
    return f"{files} may hold the person; each is deleted once it is an hour old and nobody can need it" * bool(left)


def _attempts(db: Database) -> list[float]:
    """Return when the oldest attempt in progress of each run started, in Unix seconds."""
    started = []
    for run in records.runs(db):
        if not run.has_ended:
            (since,) = db.execute(db.sql.RUNNING_SINCE, (run.number,)).fetchone() or (None,)
            if since is not None:
                started.append(since or run.created)
    return started
