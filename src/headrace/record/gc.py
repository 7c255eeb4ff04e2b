"""The collector: it deletes what no run needs any more.

    with Collector(ledger, store, store.spool) as collector:
        collector.collect(keep_runs=20, dry_run=True).bytes

What no row names goes, once it is older than a grace time and than every attempt that is out: what a worker has kept
but not reported yet has no row. With a rule for keeping runs, those past it are forgotten first: only ended ones, under
their leases. Equal generations that runs name apart are made one.

A driver may have looked up a result just before its row goes, and name its blobs just after, within one tick. So what
has lost its last name in this pass stays until a later one, unless no driver lives: one that begins later finds no such
row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType

from msgspec import Struct

from headrace.errors import LeaseHeld, LedgerError
from headrace.record import lease, merging
from headrace.record import statements as sql
from headrace.record.database import connect, troubles
from headrace.record.names import Generation, Names, RunRecord
from headrace.record.ports import Blobs, Spills
from headrace.record.sqlite import SqliteLedger
from headrace.store.blob import Found

GRACE_S = 3600.0
CLOCKS_S = 60.0
"""How far the store's clock may be behind that of the driver which noted when an attempt began."""

TICK_S = 60.0
"""No driver's tick takes as long as this."""

COLLECTOR = "the-collector"
LEFT = "headrace.collector"
"""The cursor that says when a pass last left something to a later one."""


class Garbage(Struct, frozen=True, kw_only=True):
    """A blob that goes, and why."""

    digest: str
    nonce: str
    bytes: int
    reason: str


class Held(Struct, frozen=True, kw_only=True):
    """A run that has not ended, and so holds back what may be its own: all that is younger than its attempts."""

    run: str
    since: float
    is_driven: bool


class Collected(Struct, frozen=True, kw_only=True):
    """What a pass deleted, or would: `bytes` in `blobs` and `drafts`; `later_bytes` go at the next pass.

    `runs` were forgotten. `held` runs are why some is kept that no row names: `young_bytes` of it.
    """

    runs: tuple[str, ...]
    blobs: tuple[Garbage, ...]
    drafts: int
    bytes: int
    later_bytes: int
    young_bytes: int
    held: tuple[Held, ...]
    dry_run: bool


class Collector:
    """Collects a ledger's garbage in one store; only one works at a time."""

    def __init__(self, ledger: SqliteLedger, store: Blobs, spills: Spills) -> None:
        self._ledger = ledger
        self._store = store
        self._spills = spills
        self._exits = ExitStack()

    def __enter__(self) -> Collector:
        try:
            held = lease.acquire(self._ledger.leases, COLLECTOR)
        except LeaseHeld as error:
            raise LedgerError("another collector is at work", hint="wait until it ends") from error
        self._exits.callback(held.release)
        self._db = connect(self._ledger.path)
        self._exits.callback(self._db.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def collect(
        self,
        *,
        keep_runs: int | None = None,
        keep_s: float | None = None,
        grace_s: float = GRACE_S,
        now: float,
        dry_run: bool = False,
    ) -> Collected:
        """Forget the runs that are neither among the newest `keep_runs` nor ended within `keep_s` seconds, where either
        is given; then delete what no run names. A dry run changes nothing."""
        with troubles(self._ledger.path):
            pass_ = self._look(keep_runs, keep_s, now - grace_s, now, dry_run=dry_run)
            self._sweep(pass_)
            if not dry_run:
                self._forget_spills(pass_.runs)
                self._forget_locks()
                if pass_.later and not pass_.waits:
                    self._db.execute(sql.PUT_CURSOR, (LEFT, 1, str(now).encode()))
        return pass_.result()

    def _look(self, keep_runs: int | None, keep_s: float | None, edge: float, now: float, *, dry_run: bool) -> _Pass:
        """Forget runs and make equal generations one; then read what is still named. The order matters: whoever has
        seen a row before it went is a driver that lives after."""
        before = Names(self._db, self._spills)
        past = _past(before.runs, keep_runs, keep_s, now)
        numbers = {run.number for run in past}
        forgotten = past if dry_run else [run for run in past if self._forget(run, before, numbers)]
        merged = self._merge(before, forgotten, dry_run=dry_run)
        lives = any(self._drivers())
        after = before if dry_run else Names(self._db, self._spills)
        kept = [run for run in after.runs if run not in forgotten]
        held = self._held(kept)
        return _Pass(
            dry_run=dry_run,
            runs=after.runs,
            forgotten=forgotten,
            held=held,
            named=before.of(before.runs),
            needed=after.needed(kept) - (merged.keys() if dry_run else set()),
            merged=merged,
            lives=lives,
            waits=lives and now - self._left() < TICK_S,
            edge=min([edge, *(each.since - CLOCKS_S for each in held)]),
        )

    def _sweep(self, pass_: _Pass) -> None:
        for blob in self._store.blobs():
            if pass_.takes(blob) and not pass_.dry_run:
                self._store.delete(blob.digest, blob.nonce)
        for stray in self._store.strays():
            if stray.modified < pass_.edge:
                pass_.drafts += 1
                pass_.bytes += stray.size
                if not pass_.dry_run:
                    self._store.discard(stray)

    def _forget(self, run: RunRecord, names: Names, past: Container[int]) -> bool:
        """Delete the rows of a run, unless a driver has it; a result that a kept run uses becomes that one's."""
        try:
            held = lease.acquire(self._ledger.leases, run.id, COLLECTOR)
        except LeaseHeld:
            return False
        try:
            with _Transaction(self._db):
                if not _is_past_still(self._db, run):
                    return False
                for result in names.results_of(run):
                    users = [each for each in names.keys.get(result.key, ()) if each not in past]
                    if users:
                        self._db.execute(sql.ADOPT_RESULT, (max(users), result.key, run.number))
                    else:
                        self._db.execute(sql.FORGET_RESULT, (result.key, run.number))
                for statement in (sql.FORGET_EVENTS, sql.FORGET_TASKS, sql.FORGET_BLOBS, sql.FORGET_INBOX):
                    self._db.execute(statement, (run.number,))
                self._db.execute(sql.FORGET_RUN, (run.number,))
        finally:
            held.release()
        return True

    def _merge(self, names: Names, forgotten: Iterable[RunRecord], *, dry_run: bool) -> dict[Generation, str]:
        """Have runs name one of equal generations; give those that go, each with the one that stays."""
        gone = set(forgotten)
        kept = [run for run in names.runs if run not in gone]
        named = names.of(kept)
        driven = set(self._drivers())
        moves = merging.plan(named, self._store, driven)
        if dry_run:
            return {each: keep for each, keep in moves.items() if all(run.id not in driven for run in named[each])}
        if not moves:
            return {}
        for run in kept:
            mine = {generation: moves[generation] for generation in names.by_run[run.number] if generation in moves}
            if mine:
                self._point(run, mine)
        with _Transaction(self._db):
            merging.point_results(self._db, moves)
        return moves

    def _point(self, run: RunRecord, moves: Mapping[Generation, str]) -> None:
        """Rewrite the rows of a run under its lease; one that a driver has goes on naming what it named."""
        try:
            held = lease.acquire(self._ledger.leases, run.id, COLLECTOR)
        except LeaseHeld:
            return
        try:
            with _Transaction(self._db):
                merging.point_run(self._db, run.number, moves)
        finally:
            held.release()

    def _drivers(self) -> Iterable[str]:
        """Name the runs that a driver has, those without a row yet included."""
        folder = self._ledger.leases
        for path in folder.glob("*.lock") if folder.is_dir() else ():
            if path.stem != COLLECTOR and lease.holder(folder, path.stem) is not None:
                yield path.stem

    def _held(self, runs: Iterable[RunRecord]) -> tuple[Held, ...]:
        found = []
        for run in runs:
            if not run.has_ended:
                (since,) = self._db.execute(sql.RUNNING_SINCE, (run.number,)).fetchone()
                driven = lease.holder(self._ledger.leases, run.id) is not None
                if since is not None:
                    found.append(Held(run=run.id, since=since or run.created, is_driven=driven))
        return tuple(found)

    def _forget_locks(self) -> None:
        """Delete the lock files of drivers that died."""
        for path in self._ledger.leases.glob("*.lock"):
            with suppress(LeaseHeld):
                lease.acquire(self._ledger.leases, path.stem, COLLECTOR, patience_s=0).release()

    def _left(self) -> float:
        row = self._db.execute(sql.CURSOR, (LEFT,)).fetchone()
        return float(row[1]) if row else 0.0

    def _forget_spills(self, runs: Iterable[RunRecord]) -> None:
        """Delete what the workers of ended runs spilled: no driver will read it."""
        ended = {run.id: run.has_ended for run in runs}
        for run_id in self._spills.runs():
            if ended.get(run_id, True) and lease.holder(self._ledger.leases, run_id) is None:
                self._spills.forget(run_id)


class _Pass(Struct, kw_only=True):
    """What a pass goes by, and what it has found to delete so far."""

    dry_run: bool
    runs: Sequence[RunRecord]
    forgotten: Sequence[RunRecord]
    held: tuple[Held, ...]
    named: Mapping[Generation, Sequence[RunRecord]]
    needed: Container[Generation]
    merged: Mapping[Generation, str]
    lives: bool
    waits: bool
    edge: float
    blobs: list[Garbage] = []
    drafts: int = 0
    bytes: int = 0
    later: int = 0
    young: int = 0

    def takes(self, blob: Found) -> bool:
        """Decide about a blob, and note it."""
        generation = blob.digest, blob.nonce
        if generation in self.needed or (blob.digest, "") in self.needed:
            return False
        runs = self.named.get(generation, ())
        if blob.modified >= self.edge and not runs:
            self.young += blob.size
            return False
        if self.waits or (self.lives and runs):
            self.later += blob.size
            return False
        reason = _reason(runs, self.merged.get(generation))
        self.blobs.append(Garbage(digest=blob.digest, nonce=blob.nonce, bytes=blob.size, reason=reason))
        self.bytes += blob.size
        return True

    def result(self) -> Collected:
        return Collected(
            runs=tuple(run.id for run in self.forgotten),
            blobs=tuple(self.blobs),
            drafts=self.drafts,
            bytes=self.bytes,
            later_bytes=self.later,
            young_bytes=self.young,
            held=self.held,
            dry_run=self.dry_run,
        )


class _Transaction:
    """All of it, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _past(runs: Sequence[RunRecord], keep_runs: int | None, keep_s: float | None, now: float) -> list[RunRecord]:
    """Name the ended runs that no rule keeps; without a rule, all are kept."""
    if keep_runs is None and keep_s is None:
        return []
    newest = {run.number for run in runs[max(0, len(runs) - (keep_runs or 0)) :]}

    def keeps(run: RunRecord) -> bool:
        return run.number in newest or (keep_s is not None and (run.ended or run.created) >= now - keep_s)

    return [run for run in runs if run.has_ended and not keeps(run)]


def _is_past_still(db: sqlite3.Connection, run: RunRecord) -> bool:
    """Say whether a run is as it was when the pass began: somebody may have resumed it, or forgotten it."""
    row = db.execute(sql.RUN_BY_ID, (run.id,)).fetchone()
    return row is not None and row[3] == run.state


def _reason(runs: Sequence[RunRecord], equal: str | None) -> str:
    if equal is not None:
        return f"equal to generation `{equal}`, which stays"
    if runs:
        return f"only runs that are forgotten named it: {', '.join(f'`{run.id}`' for run in runs[:3])}"
    return "no run names it"
