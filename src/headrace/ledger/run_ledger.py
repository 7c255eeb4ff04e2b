"""One run's ledger, for the driver that holds the run's lease.

A new run is in the ledger after its first commit. Each commit is one transaction, and returns when it is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from headrace.errors import LeaseLost, LedgerError
from headrace.ledger import generations as names
from headrace.ledger import sharing
from headrace.ledger.database.database import NO_END, Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.ports import Share
from headrace.ledger.records import (
    ALIASES,
    ERASED,
    ERASURES,
    VERSIONS,
    ErasureRecord,
    NoticeRecord,
    erased,
    has_erased,
)
from headrace.ledger.standing import intents, notices
from headrace.run.ports import Batch, Earlier, Found, Grant, RunRow, Signal, TaskRow, Want
from headrace.spec.artifact import blobs, decode_ref, fused, gather, generations
from headrace.spec.endpoint import MOST_PARTS
from headrace.spec.fleet import Pool
from headrace.spec.intent import PointKind, RegistryKind, wanted, with_preparation
from headrace.spec.noun import stored

EARLIER_RUNS = 5
"""In how many earlier runs `earlier` looks for a task. One isn't enough, since a run may end before it reaches the
task."""

CHUNK = 1000

_encode_ref = msgspec.msgpack.Encoder().encode


class _Head(Struct, frozen=True, array_like=True):
    """The first fields of an encoded `Ref`. A task's row needs only these."""

    digest: str
    size: int


_decode_head = stored(msgspec.msgpack.Decoder(_Head).decode, "a stored artifact")


class RunLedger:
    """One run's ledger, for the driver that holds the run's lease; it implements `run.ports.Ledger`.

    `run` is the run's id. `epoch` counts the run's drivers. `next_seq` is the number of the next event.
    """

    def __init__(
        self,
        db: Database,
        *,
        lease: Lease,
        run: str,
        pipeline: str,
        holder: str,
        number: int | None,
        epoch: int,
        next_seq: int,
        pools: dict[str, Pool],
        share: Share | None,
        clock: Callable[[], float],
    ) -> None:
        self.run = run
        self.epoch = epoch
        self.next_seq = next_seq
        self._db = db
        self._lease = lease
        self._pipeline = pipeline
        self._holder = holder
        self._number = number
        self._pools = pools
        self._share = share
        self._clock = clock
        self._earlier: dict[str, Earlier] = {}
        self._earlier_runs: list[tuple[int, str]] | None = None
        self._regions: dict[int, set[str]] = {}

    def __enter__(self) -> RunLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the run's grants, release its lease, and close the connection."""
        db = self._db
        db.hurry()
        try:
            with suppress(LedgerError, Unmet), db.troubles():  # grants don't count once the lease is released
                sharing.leave(db, self._check_held, self.run)
        finally:
            try:
                self._lease.release()
            finally:
                db.close()

    def commit(self, batch: Batch) -> None:
        """Store all changes of one tick (one round of the driver's loop) together, or none.

        Raises:
            LeaseLost: another driver took the run.
            LedgerError: the ledger can't be written; nothing was stored.
        """
        if batch.bodies and batch.first != self.next_seq:
            raise LedgerError(
                f"run `{self.run}` tried to store event {batch.first}, but its next event is number {self.next_seq}",
                hint="this is a fault of Headrace's: please report it",
            )
        if batch.run is not None:
            self._check_is_there()
        db = self._db
        sends = [notices.record(notice, run=self.run) for notice in batch.notices]  # one id in all tries to commit
        try:
            with db.troubles():
                self._number = db.atomically(lambda: self._store(batch, sends), done=lambda: self._stored(batch))
        except Unmet:
            raise _lost(self.run) from None
        self.next_seq += len(batch.bodies)

    def events(self) -> Iterator[bytes]:
        """Yield the run's encoded events, in order."""
        db = self._db
        seq = 0
        while True:
            with db.troubles():
                db.end_reading()
                found = db.execute(db.sql.EVENTS_FROM, (self._number, seq, CHUNK)).fetchall()
            for _, body in found:
                yield body
            if len(found) < CHUNK:
                return
            seq = found[-1][0] + 1

    def result(self, key: str) -> Found | None:
        """Return the stored output under a key, or None if there is no such output."""
        return self.results((key,)).get(key)

    def results(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """Return the stored outputs under some keys, in one round trip. Keys without an output are left out."""
        db = self._db
        with db.troubles():
            db.begin_reading()
            rows = db.lookups(db.sql.RESULT, [(key,) for key in keys])
        return {key: _found(row) for key, row in zip(keys, rows, strict=True) if row is not None}

    def earlier(self, task: str) -> Earlier | None:
        """Return how a task's key was made in an earlier run, or None.

        The earlier run is the pipeline's latest run that has the task and that had ended before this run began.
        """
        while (found := self._earlier.get(task)) is None and self._read_earlier():
            pass
        return found

    def point(self, about: PointKind, name: str) -> tuple[int, bytes | None] | None:
        """Return the number of a version and its encoded artifact, or None if there is no such version.

        `about` says what `name` names. For a cursor, the version is the latest one; if a part of its value was erased
        together with a person's data, the artifact is None, so that the source is read again from the beginning. For a
        model or dataset, it is the version that `name` selects. For predictions, `name` is an endpoint and a number,
        such as `delays:17`. This selects the parts of the endpoint's log after number 17, at most `MOST_PARTS` of them.
        Then the returned number is that of the last of these parts, and the artifact is the list of their tables.

        Raises:
            UsageError: the name of a model or dataset is malformed.
        """
        if about == "cursor":
            found = self.cursor(name)
            is_erased = found is not None and has_erased(decode_ref(found[1]), erased(self._db))
            return (found[0], None) if found is not None and is_erased else found
        if about != "predictions":
            return self.registered(about, name)
        endpoint, _, number = name.rpartition(":")
        db = self._db
        with db.troubles():
            db.end_reading()
            rows = db.execute(db.sql.PREDICTION_PARTS_AFTER, (endpoint, int(number), MOST_PARTS)).fetchall()
        return (rows[-1][0], _encode_ref(gather(fused([decode_ref(row[1]) for row in rows])))) if rows else None

    def cursor(self, name: str) -> tuple[int, bytes] | None:
        """Return a cursor's latest version and its encoded value, or None if the cursor has no version yet."""
        db = self._db
        with db.troubles():
            db.end_reading()
            found: tuple[int, bytes] | None = db.execute(db.sql.CURSOR, (name,)).fetchone()
        return found

    def set_here(self, name: str, version: int) -> tuple[bool, bytes] | None:
        """Return whether this run has set a version of a cursor, and the version's encoded value. Return None if the
        cursor has no such version."""
        db = self._db
        with db.troubles():
            db.end_reading()
            row = db.execute(db.sql.CURSOR_VALUE, (name, version)).fetchone()
        return None if row is None else (row[1] == self.run, row[0])

    def registered(self, kind: RegistryKind, name: str) -> tuple[int, bytes] | None:
        """Return the version of a model or dataset that `NAME`, `NAME:3` or `NAME@ALIAS` selects, with its encoded
        artifact. If a model has a preparation of rows, the artifact includes the preparation. Return None if there is
        no such version.

        Raises:
            UsageError: the name has none of these forms.
        """
        of, version, alias = wanted(kind, name)
        db = self._db
        with db.troubles():
            db.end_reading()
            if alias is not None:
                aliases = ALIASES.read(db.execute(db.sql.ALIASES, (kind,)))
                version = next((row.version for row in aliases if (row.name, row.alias) == (of, alias)), 0)
            rows = list(VERSIONS.read(db.execute(db.sql.VERSIONS_OF, (kind, of))))
        row = next((row for row in rows if version in (None, row.version)), None)
        if row is None or row.preparation is None:
            return None if row is None else (row.version, row.out)
        return row.version, _encode_ref(with_preparation(decode_ref(row.out), decode_ref(row.preparation)))

    def regions(self, generation: str | None = None, *, run: str | None = None) -> set[str]:
        """Return regions. Given `run`, return those in which the run's attempts were started; empty if the ledger
        doesn't have the run. Given `generation` (`DIGEST.NONCE`), return those that may have the generation: the
        regions of all runs that name it."""
        db = self._db
        with db.troubles():
            db.end_reading()
            if generation is not None:
                return names.regions_naming(db, generation, self._regions)
            row = db.execute(db.sql.RUN_BY_ID, (run,)).fetchone()
            return set() if row is None else names.regions_of(db, row[0])

    def erasure_of(self, generation: str) -> tuple[str, ErasureRecord] | None:
        """Return what an erased generation (`DIGEST.NONCE`) was, and the erasure that erased it. Return None if none
        did."""
        digest, _, nonce = generation.partition(".")
        db = self._db
        with db.troubles():
            db.end_reading()
            for row in ERASED.read(db.execute(db.sql.ERASED_ROW, (digest, nonce))):
                for erasure in ERASURES.read(db.execute(db.sql.ERASURE_ROW, (row.erasure,))):
                    return row.what, erasure
        return None

    def inbox(self) -> Sequence[Signal]:
        """Return the signals that haven't become events yet, oldest first.

        Raises:
            LedgerError: the ledger can't be read, or its file was removed.
        """
        if self._number is None:
            return ()
        self._check_is_there()
        db = self._db
        with db.troubles():
            db.end_reading()
            try:
                self._lease.renew()
            except Unmet:
                raise _lost(self.run) from None
            rows = db.execute(db.sql.INBOX, (self._number,)).fetchall()
        return [Signal(id=id, kind=kind, by=by, body=body, at=at) for id, kind, by, body, at in rows]

    def share(self, pool: Pool) -> None:
        """Replace the settings' description of a pool by `pool`, the description that the pool's backend gives: a
        cluster's real size may differ from the size in the settings."""
        self._pools = {**self._pools, pool.name: pool}

    def grant(self, want: Want) -> Grant:
        """Record what the run wants and uses of a pool; return what the run may use from now on.

        Raises:
            LedgerError: the ledger was opened without this pool, or without a sharing rule.
            LeaseLost: another driver took the run.
        """
        pool = self._pools.get(want.pool)
        if pool is None or self._share is None:
            raise LedgerError(
                f"the ledger has no pool `{want.pool}`", hint=f"describe it under `[pool.{want.pool}]` in headrace.toml"
            )
        try:
            with self._db.troubles():
                return sharing.grant(
                    self._db, self._check_held, pool, self._share, want, run=self.run, now=self._clock()
                )
        except Unmet:
            raise _lost(self.run) from None

    def _check_held(self) -> None:
        """Check within a transaction that this driver still holds the run; raise `Unmet` if it doesn't."""
        self._lease.check()
        if self._number is not None:
            self._db.require(self._db.sql.HELD, (self._number, self.epoch))

    def _check_is_there(self) -> None:
        """Raise if the ledger's file was removed: writes to a removed file that is still open would be lost."""
        if not self._db.is_there():
            raise LedgerError(
                f"the ledger `{self._db.name}` was removed while run `{self.run}` was active",
                hint="the run can't be recorded any more: put the state folder back from a backup, or run again",
            )

    def _store(self, batch: Batch, sends: Sequence[NoticeRecord]) -> int:
        """Store one tick within a transaction; return the run's number."""
        self._lease.check()
        number = self._write_run(batch.run)
        self._write(number, batch)
        notices.put(self._db, sends)
        return number

    def _stored(self, batch: Batch) -> int | None:
        """After the server's answer was lost, find out whether a tick was committed. If it was committed, return the
        run's number. Return None if it wasn't, or if the tick has no events to look for."""
        db = self._db
        found = db.execute(db.sql.RUN_BY_ID, (self.run,)).fetchone()
        if found is None or not batch.bodies or found[1] != self.epoch:
            return None
        number: int = found[0]
        (seq,) = db.execute(db.sql.NEXT_SEQ, (number,)).fetchone()
        return number if seq == batch.first + len(batch.bodies) else None

    def _write_run(self, row: RunRow | None) -> int:
        """Check the epoch, and write the run's row if it has changed; return the run's number."""
        db = self._db
        if self._number is None:
            if row is None:
                raise LedgerError(
                    f"the first commit of run `{self.run}` contains no row of this run",
                    hint="this is a fault of Headrace's: please report it",
                )
            new = {"id": self.run, "epoch": self.epoch, "holder": self._holder}
            db.execute(db.sql.INSERT_RUN, db.sql.values("INSERT_RUN", asdict(row) | new))
            number: int = db.execute(db.sql.RUN_BY_ID, (self.run,)).fetchone()[0]
            return number
        if row is None:
            db.require(db.sql.HELD, (self._number, self.epoch))
        else:
            held = {"number": self._number, "epoch": self.epoch}
            db.require(db.sql.UPDATE_RUN, db.sql.values("UPDATE_RUN", asdict(row) | held))
        return self._number

    def _write(self, number: int, batch: Batch) -> None:
        db, sql = self._db, self._db.sql
        if batch.bodies:
            first = batch.first
            db.executemany(sql.INSERT_EVENT, [(number, first + i, body) for i, body in enumerate(batch.bodies)])
        if batch.renewed:
            db.execute(sql.FORGET_TASKS, (number,))
        if batch.tasks:
            db.executemany(sql.PUT_TASK, [sql.values("PUT_TASK", _task(number, row)) for row in batch.tasks])
        if batch.results or batch.kept:
            now = self._clock()
            if batch.results:
                # Several runs may store results under the same keys at the same time. Sorted keys prevent deadlocks.
                made = sorted((row.key, number, row.task, now, None, _encode_ref(row.out)) for row in batch.results)
                db.executemany(sql.PUT_RESULT, made)
            # A result is usually in `kept` too, so the dict removes duplicates.
            named = {(ref.digest, ref.nonce): ref.size for each in batch.kept for ref in blobs(each)}
            named.update(((ref.digest, ref.nonce), ref.size) for row in batch.results for ref in blobs(row.out))
            if named:
                rows = [(number, digest, nonce, size, now) for (digest, nonce), size in named.items()]
                db.executemany(sql.PUT_BLOB, rows)
        if batch.intents:
            intents.apply(db, batch.intents, run=self.run, by=self._holder, now=self._clock())
        if batch.relogged:
            db.execute(sql.FORGET_METRICS, (number,))
        if batch.metrics:
            own = {"run": number, "source": None, "source_task": None}
            db.executemany(sql.PUT_METRIC, [sql.values("PUT_METRIC", asdict(each) | own) for each in batch.metrics])
        if batch.logged:
            db.executemany(sql.PUT_LOGGED, [(number, task, seq) for task, seq in batch.logged])
        if batch.inherited:
            db.executemany(sql.INHERIT_METRICS, [(number, task, key) for task, key in batch.inherited])
        for doubt in batch.doubts:
            row = db.execute(sql.RESULT, (doubt.key,)).fetchone()
            if row is not None and doubt.generation in generations(decode_ref(row[0])):
                db.execute(sql.DOUBT_RESULT, (doubt.why, doubt.key))
        if batch.absorbed:
            db.executemany(sql.ABSORB, [(number, id) for id in batch.absorbed])

    def _read_earlier(self) -> bool:
        """Read the tasks of the latest earlier run that hasn't been read yet; return whether there was such a run."""
        if self._earlier_runs == []:
            return False
        db, sql = self._db, self._db.sql
        with db.troubles():
            if self._earlier_runs is None:
                number = NO_END if self._number is None else self._number
                found = db.execute(sql.EARLIER_RUNS, (self._pipeline, number, number, EARLIER_RUNS)).fetchall()
                self._earlier_runs = found
            if not self._earlier_runs:
                return False
            number, run = self._earlier_runs.pop(0)
            for name, key, code, inputs in db.execute(sql.INGREDIENTS, (number,)):
                if name not in self._earlier:
                    self._earlier[name] = Earlier(run=run, key=key, code=code or "", inputs=inputs or b"")
        return True


def _lost(run: str) -> LeaseLost:
    return LeaseLost(
        f"another driver has taken run `{run}`, or this driver was believed dead",
        hint="this driver has stopped; if no other driver continues the run, use `headrace resume`",
    )


def _found(row: tuple[Any, ...]) -> Found:
    out, at, run, logged = row
    return Found(out=decode_ref(out), run=run or "", at=at, has_logged=logged is not None)


def _task(run: int, row: TaskRow) -> dict[str, object]:
    """Return a task's row as a dict, by column name."""
    head = None if row.out is None else _decode_head(row.out)
    return asdict(row) | {
        "run": run,
        "bytes": None if head is None else head.size,
        "digest": None if head is None else head.digest,
        "log": None if row.log is None else row.log.log,
        "log_start": None if row.log is None else row.log.start,
        "log_end": None if row.log is None else row.log.end,
    }
