"""The garbage collector: deletes blobs that no run needs any more.

    with Collector(ledger, stores) as collector:
        collector.collect(Keep(runs=20), now=time.time(), dry_run=True).bytes

A blob that no row names is deleted when it is older than a grace time, and older than every run with an attempt in
progress. The second condition is needed because an output that a worker has stored but not yet reported has no row. If
there is a rule for keeping runs, the runs that it doesn't keep are forgotten first. Only ended runs are forgotten, each
under its lease. Then the parts of prediction logs that are too old are forgotten. Equal generations that several runs
name are merged into one.

Last, the small tables of the logs are merged into larger ones (`merged_parts`). The tables that they replace have no
name then, and a later pass deletes them.

A blob's age is measured by the clock of its store, since the clocks of drivers and of the collector may be a day apart.
A run's age is the age of its bundle in that store, since nothing of the run is older. If the store lacks the bundle,
the age counts from the start of the run's attempt by its driver's clock. While that start lies in the future, no
unnamed blob is deleted.

Within one tick (one round of its loop), a driver may look up a result just before the result's row is deleted, and name
the result's blobs just after that. So a blob that loses its last name in this pass is kept until a later pass. If no
driver is alive, the blob is deleted at once: a driver that starts later doesn't find the deleted row.

Names of blobs are collected and sorted on disk (`Inventory`), and the stores' listings are read as streams, so memory
doesn't grow with either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import islice

from msgspec.structs import replace

from headrace.errors import LeaseHeld
from headrace.ledger import generations, records
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.exclusive import COLLECTOR, alone, beating
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import RunRecord
from headrace.ledger.registration import lock
from headrace.ledger.standing.tables import STANDING
from headrace.ledger.upkeep import merge, merged_parts, old_parts
from headrace.ledger.upkeep.garbage import Collected, Pass
from headrace.ledger.upkeep.heirs import Heirs
from headrace.ledger.upkeep.in_progress import ahead_s, clock_of, earliest, in_progress
from headrace.ledger.upkeep.old_parts import LogRules, OldParts
from headrace.ledger.upkeep.retention import Keep, Past, past
from headrace.store.store import Store

GRACE_S = 3600.0

TICK_S = 120.0
"""Each tick of a driver takes less than this many seconds. If a server keeps the leases, a driver that is stopped in a
tick loses its lease before this time is over (`Leases.tidy`). If files keep the leases, the driver may later name blobs
that were deleted meanwhile."""

STANDING_S = 30 * 86400.0
"""The age in seconds after which standing rows aren't needed any more, if their table is declared with `forgets`."""

LEFT = "headrace.collector"
"""The cursor that holds the time when a pass last kept blobs for a later pass to delete."""

DELETED = 1000
"""How many blobs are deleted in one call."""


class Collector:
    """Collects a ledger's garbage in the stores of all regions. Only one collector can work at a time."""

    def __init__(self, ledger: Ledger, stores: Mapping[str, Store]) -> None:
        self._ledger = ledger
        self._stores = stores
        self._exits = ExitStack()

    def __enter__(self) -> Collector:
        with ExitStack() as exits:
            self._lease = exits.enter_context(alone(self._ledger, "headrace gc"))
            self._db = exits.enter_context(closing(self._ledger.connect()))
            self._leases = self._db.leases
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def collect(
        self,
        keep: Keep | None = None,
        *,
        logs: LogRules | None = None,
        grace_s: float | None = None,
        now: float,
        dry_run: bool = False,
    ) -> Collected:
        """Forget the runs that `keep` doesn't keep at the time `now`, and what `logs` doesn't keep of prediction logs;
        then delete the blobs that no run names. A dry run changes nothing."""
        with self._db.troubles(), Inventory() as needed, Inventory() as lost, Inventory() as spilled:
            pass_ = Pass(dry_run=dry_run, needed=needed, lost=lost, spilled=spilled)
            clocks = {region: clock_of(store) for region, store in self._stores.items()}
            if not dry_run:
                self._leases.tidy()
            self._look(pass_, keep or Keep(), logs, now)
            grace_s = GRACE_S if grace_s is None else grace_s
            for region, store in self._stores.items():
                pass_.edge = self._edge(pass_, store, clocks[region], grace_s)
                self._sweep(pass_, region, store, clocks[region])
            if not dry_run:
                self._forget_spills(pass_.runs)
                self._forget_standing(now)
            if logs is not None:
                leaving = pass_.old.outs if dry_run else ()
                pass_.merged_logs = merged_parts.merge(
                    self._db, self._lease, logs, now, leaving=leaving, dry_run=dry_run
                )
            if not dry_run and (pass_.merged_logs or (pass_.later and not pass_.waits)):
                # recorded at the end, after the last row was deleted, or got another blob
                self._db.execute(self._db.sql.PUT_CURSOR, (LEFT, 1, str(self._ledger.now()).encode()))
            return pass_.result()

    def _look(self, pass_: Pass, keep: Keep, logs: LogRules | None, now: float) -> None:
        """Forget runs and parts of logs, and merge equal generations; then read which generations are still named. The
        drivers are listed after the rows are deleted: so a driver that saw a row before its deletion is in the list."""
        with self._db.snapshot():
            before = records.runs(self._db)
            keep = replace(keep, pinned=keep.pinned | generations.pinned(self._db))
        pass_.forgotten = self._forget_past(pass_, before, past(before, keep, now))
        gone = {each.run.number for each in pass_.forgotten}
        old = OldParts() if logs is None else old_parts.forget(self._db, logs, now, dry_run=pass_.dry_run)
        pass_.forget_logs(old)
        drivers = set(self._drivers())
        # Reports in progress are read before the rows: a report may become a row meanwhile, and must not be missed.
        pass_.out = in_progress(self._db, [run for run in before if run.number not in gone], drivers)
        pass_.spilled.add(generations.spilled(before, (store.spool for store in self._stores.values())))
        self._settle()
        with self._db.snapshot():
            pass_.runs = records.runs(self._db)
            kept = [run for run in pass_.runs if run.number not in gone]
            leaving = old.outs if pass_.dry_run else ()
            pass_.needed.add(beating(self._lease, generations.needed(self._db, kept, leaving)))
        if self._merge(pass_, kept) and not pass_.dry_run:  # the names that were read are out of date
            drivers |= set(self._drivers())
            pass_.needed.clear()
            self._settle()
            with self._db.snapshot():
                pass_.runs = kept = records.runs(self._db)
                pass_.needed.add(beating(self._lease, generations.needed(self._db, kept)))
        pass_.bundles = generations.unnamed_bundles(pass_.needed, kept)
        pass_.erased = records.erased(self._db)
        pass_.ids = {run.number: run.id for run in before}
        pass_.lives = bool(drivers)
        pass_.waits = pass_.lives and self._has_just_left(dry_run=pass_.dry_run)

    def _settle(self) -> None:
        """Wait for transactions that register a version or move a cursor outside of runs. Such a transaction may have
        found a row that names its artifact just before this pass deleted that row. The transaction then writes a row of
        its own, and this row must be there before the pass reads which artifacts are named. If a transaction begins
        later and its artifact has lost its last row, the transaction is refused.
        """
        self._db.atomically(partial(lock, self._db))

    # -- forgetting runs ------------------------------------------------------------------------------------------

    def _forget_past(self, pass_: Pass, runs: Sequence[RunRecord], found: Sequence[Past]) -> list[Past]:
        """Forget runs, except those that a driver holds; record the generations that the forgotten runs named. Return
        the forgotten runs."""
        if not found:
            return []
        if pass_.dry_run:
            for each in found:
                pass_.lost.add(generations.of_run(self._db, each.run.number))
            return list(found)
        gone = {each.run.number for each in found}
        with Heirs(self._db, self._lease, gone, (run.number for run in runs if run.number not in gone)) as heirs:
            return [each for each in found if self._forget(pass_, each.run, heirs)]

    def _forget(self, pass_: Pass, run: RunRecord, heirs: Heirs) -> bool:
        """Delete a run's rows, unless a driver holds the run; return whether the rows were deleted. A result that a
        kept run uses becomes that run's result."""
        self._lease.renew()
        try:
            held = self._leases.acquire(run.id, COLLECTOR, is_patient=False)
        except LeaseHeld:
            return False
        try:
            return self._db.atomically(partial(self._forget_rows, held, pass_, run, heirs))
        except Unmet:
            return False  # this collector was stopped, and another process holds the run
        finally:
            held.release()

    def _forget_rows(self, held: Lease, pass_: Pass, run: RunRecord, heirs: Heirs) -> bool:
        db, sql = self._db, self._db.sql
        held.check()
        if not _is_past_still(db, run):
            return False
        pass_.lost.add(generations.of_run(db, run.number))
        results = heirs.of(run.number)
        adopted = [(heir, task, key, run.number) for key, heir, task in results if heir is not None]
        forgotten = [(key, run.number) for key, heir, _ in results if heir is None]
        for statement, rows in ((sql.ADOPT_RESULT, adopted), (sql.FORGET_RESULT, forgotten)):
            if rows:
                db.executemany(statement, rows)
        for statement in (
            sql.FORGET_EVENTS,
            sql.FORGET_TASKS,
            sql.FORGET_METRICS,
            sql.FORGET_LOGGED,
            sql.FORGET_BLOBS,
            sql.FORGET_INBOX,
            sql.FORGET_RUN,
        ):
            db.execute(statement, (run.number,))
        return True

    def _forget_standing(self, now: float) -> None:
        """Delete the rows of standing tables that nobody needs any more."""
        for table in STANDING:
            if table.forgets is not None:
                self._db.execute(getattr(self._db.sql, table.forgets), (now - STANDING_S,))

    # -- merging equal generations --------------------------------------------------------------------------------

    def _merge(self, pass_: Pass, kept: Sequence[RunRecord]) -> bool:
        """Where runs name several equal generations, make them name the same one, and record the others for deletion.
        Return whether there were equal generations.

        A run that has not ended keeps its names: the run's workers know these names, and may outlive the driver.
        """
        driven = set(self._drivers())
        numbers = {run.number for run in kept if run.id in driven or not run.has_ended}
        plan = merge.plan(pass_.needed, self._stores, numbers)
        if pass_.dry_run:
            pass_.merged = {
                each: keep for each, keep in plan.moves.items() if numbers.isdisjoint(pass_.needed.runs(*each))
            }
            return bool(pass_.merged)
        pass_.merged = plan.moves
        for run in kept:
            if run.number not in numbers and (mine := plan.by_run.get(run.number)):
                self._point(run, mine)
        if plan.moves:
            self._db.atomically(partial(merge.point_results, self._db, plan.moves))
            self._db.atomically(partial(merge.point_standing, self._db, plan.moves))
        return bool(plan.moves)

    def _point(self, run: RunRecord, moves: Mapping[Generation, str]) -> None:
        """Replace generations in a run's rows as `moves` says, under the run's lease. If a driver holds the run, its
        rows stay as they are."""
        self._lease.renew()
        try:
            held = self._leases.acquire(run.id, COLLECTOR, is_patient=False)
        except LeaseHeld:
            return
        try:
            with suppress(Unmet):  # this collector was stopped, and another process holds the run
                self._db.atomically(partial(self._point_rows, held, run, moves))
        finally:
            held.release()

    def _point_rows(self, held: Lease, run: RunRecord, moves: Mapping[Generation, str]) -> None:
        held.check()
        merge.point_run(self._db, run.number, moves)

    # -- live drivers ---------------------------------------------------------------------------------------------

    def _drivers(self) -> Iterator[str]:
        """Yield the ids of the runs that a driver holds, including those without a row yet."""
        return (run for run in self._leases.all() if run != COLLECTOR)

    def _has_just_left(self, *, dry_run: bool) -> bool:
        """Return whether, within the last `TICK_S`, an earlier pass kept blobs for a later pass to delete. If the time
        of that pass is in the future, because the clock was set back, it counts as now."""
        row = self._db.execute(self._db.sql.CURSOR, (LEFT,)).fetchone()
        left, now = float(row[1]) if row else 0.0, self._ledger.now()
        if left > now and not dry_run:
            self._db.execute(self._db.sql.PUT_CURSOR, (LEFT, 1, str(now).encode()))
        return left > now - TICK_S

    # -- age ------------------------------------------------------------------------------------------------------

    def _edge(self, pass_: Pass, store: Store, now: float, grace_s: float) -> float:
        """Return a time by a store's clock: an unnamed blob that is older belongs to no run. `now` is the present time
        by the same clock."""
        for out in pass_.out:
            if ahead := ahead_s(out, now):
                pass_.ahead[out.held.run] = max(pass_.ahead.get(out.held.run, 0.0), ahead)
        return min([now - grace_s, *(earliest(out, store, now) for out in pass_.out)])

    # -- deleting -------------------------------------------------------------------------------------------------

    def _sweep(self, pass_: Pass, region: str, store: Store, now: float) -> None:
        doomed = (
            (blob.digest, blob.nonce)
            for blob in beating(self._lease, store.blobs())
            if pass_.takes(blob, region) and not pass_.dry_run
        )
        while some := list(islice(doomed, DELETED)):
            store.delete_all(some)
        for stray in store.strays(now):
            if stray.modified < pass_.edge:
                pass_.drafts += 1
                pass_.bytes += stray.size
                if not pass_.dry_run:
                    store.discard(stray)

    def _forget_spills(self, runs: Iterable[RunRecord]) -> None:
        """Delete the spilled reports of ended runs: no driver will read them."""
        ended = {run.id: run.has_ended for run in runs}
        for store in self._stores.values():
            for run_id in store.spool.runs():
                if ended.get(run_id, True) and self._leases.holder(run_id) is None:
                    store.spool.forget(run_id)


def _is_past_still(db: Database, run: RunRecord) -> bool:
    """Return whether a run's state is unchanged since the pass began: somebody may have resumed or forgotten the run
    meanwhile."""
    row = db.execute(db.sql.RUN_BY_ID, (run.id,)).fetchone()
    return row is not None and row[3] == run.state
