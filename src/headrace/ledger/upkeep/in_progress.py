"""Runs in progress. They may have stored blobs and unfinished files that no row names yet, so what is younger than such
a run isn't deleted. Times are by the clock of the store, as far as possible."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set

from headrace.errors import StoreError
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation
from headrace.ledger.records import RunRecord
from headrace.ledger.upkeep.garbage import Held, Out
from headrace.store.store import Store

CLOCKS_S = 600.0
"""The largest difference, in seconds, that is allowed between the clocks that set the times of blobs and of
attempts."""


def in_progress(db: Database, runs: Iterable[RunRecord], drivers: Set[str]) -> tuple[Out, ...]:
    """Return those of the runs that have attempts in progress, and the runs that have a driver but no row yet.
    `drivers` are the ids of all runs that a driver holds."""
    found = []
    known = set()
    for run in runs:
        known.add(run.id)
        if not run.has_ended:
            (since,) = db.execute(db.sql.RUNNING_SINCE, (run.number,)).fetchone()
            if since is not None:
                held = Held(run=run.id, since=since or run.created, is_driven=run.id in drivers)
                found.append(Out(held=held, bundles=_bundles(db, run)))
    now = db.now()
    for name in sorted(drivers - known):  # the bundle is stored before the run's row: tracing may take long
        holder = db.leases.holder(name)
        if holder is not None and holder.since:
            held = Held(run=name, since=holder.since, is_driven=True)
            found.append(Out(held=held, age_s=now - holder.since))
    return tuple(found)


def ahead_s(out: Out, now: float) -> float:
    """Return how many seconds a run's start lies in the future, if that can only be due to a wrong clock, otherwise 0.
    `now` is the present time by a store's clock."""
    ahead = 0.0 if out.age_s is not None else out.held.since - now
    return ahead if ahead > CLOCKS_S else 0.0


def earliest(out: Out, store: Store, now: float) -> float:
    """Return a time by a store's clock: what is older can't belong to the run. `now` is the present time by the same
    clock. If the run's start lies in the future, return minus infinity, since the run's age isn't known."""
    return -math.inf if ahead_s(out, now) else _since(out, store, now) - CLOCKS_S


def clock_of(store: Store) -> float:
    """Return the time by a store's clock. If the store is full, that time can't be read, so return the time of the
    store's newest blob."""
    try:
        return store.now()
    except StoreError:
        return max((blob.modified for blob in store.blobs()), default=0.0)


def _since(out: Out, store: Store, now: float) -> float:
    """Return the earliest time when a store may have received data of a run, by the store's clock if possible."""
    if out.age_s is not None:
        return now - out.age_s
    dates = [store.modified(digest, nonce) for digest, nonce in out.bundles]
    return min([out.held.since, *(date for date in dates if date is not None)])


def _bundles(db: Database, run: RunRecord) -> tuple[Generation, ...]:
    """Return the generations of a run's bundle, if the run names any."""
    rows = db.execute(db.sql.BLOBS_FROM, (run.number, run.bundle, "", scan.PAGE)).fetchall()
    return tuple([(digest, nonce) for digest, nonce, *_ in rows if digest == run.bundle])
