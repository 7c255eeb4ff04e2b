"""Unfinished files of a store. Those of a process that was killed may hold the person, and no row of the ledger names
them."""

from __future__ import annotations

import math
from collections.abc import Collection

from headrace.errors import HeadraceError, listed
from headrace.ledger import records
from headrace.ledger.database.database import Database
from headrace.ledger.upkeep.gc import GRACE_S
from headrace.ledger.upkeep.in_progress import clock_of, earliest, in_progress
from headrace.report.measures import count_text
from headrace.store.store import Store


def discard_drafts(db: Database, store: Store, drivers: Collection[str]) -> str | None:
    """Delete the unfinished files of a store whose writers must be gone: those that are an hour old, and older than
    each run with an attempt in progress. If there are others, return words which say so.

    `drivers` are the runs that a driver holds. The words name the other runs that may need such a file, since these
    runs don't end by themselves.
    """
    left, newest = 0, -math.inf
    try:
        if next(iter(store.strays()), None) is None:
            return None
        now = clock_of(store)
        out = in_progress(db, records.runs(db), set(drivers))
        since = {each.held.run: earliest(each, store, now) for each in out}
        edge = min([now - GRACE_S, *since.values()])
        for stray in store.strays(now):
            if stray.modified < edge:
                store.discard(stray)
            else:
                left, newest = left + 1, max(newest, stray.modified)
    except HeadraceError as error:
        return f"unfinished files may hold the person, and can't be deleted: {error.message}"
    if not left:
        return None
    when = "an hour old, and older than each run with an attempt in progress"
    words = f"{count_text(left, 'unfinished file')} may hold the person: each is deleted once it is {when}"
    if lonely := [run for run, begun in since.items() if begun <= newest and run not in drivers]:
        words += f"; first resume or cancel each run that has no driver and may need them: {listed(lonely)}"
    return words
