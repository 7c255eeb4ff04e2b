"""One run's ledger, as the driver that holds its lease sees it.

A new run is in the ledger from its first commit on. One transaction a commit, which ends on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from headrace.errors import LeaseLost, LedgerError
from headrace.record import registering, sharing
from headrace.record.database import NO_END, Database, Unmet
from headrace.record.leases import Lease
from headrace.record.ports import Share
from headrace.run.curves import Summary
from headrace.run.ports import Batch, Earlier, Found, Grant, RunRow, Signal, TaskRow, Want
from headrace.spec.artifact import Ref, blobs, generations
from headrace.spec.fleet import Pool
from headrace.spec.intent import Advance, Intent, PointKind, Register, RegistryKind, wanted, with_preparation

EARLIER_RUNS = 5
"""How many earlier runs are searched for the same task: the latest may have ended before it came to it."""

CHUNK = 1000

_decode_ref = msgspec.msgpack.Decoder(Ref).decode
_encode_ref = msgspec.msgpack.Encoder().encode


class _Head(Struct, frozen=True, array_like=True):
    """The first fields of an encoded `Ref`: all that a task's row needs of it."""

    digest: str
    size: int


_decode_head = msgspec.msgpack.Decoder(_Head).decode


class RunLedger:
    """One run's ledger, as the driver that holds its lease sees it; implements `run.ports.Ledger`.

    `run` is the run's id, `epoch` counts its drivers, `next_seq` is the number that the next event gets.
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

    def __enter__(self) -> RunLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the run's grants and its lease."""
        db = self._db
        db.hurry()
        try:
            with suppress(LedgerError, Unmet), db.troubles():  # with the lease gone, nobody counts them
                sharing.leave(db, self._check_held, self.run)
        finally:
            try:
                self._lease.release()
            finally:
                db.close()

    def commit(self, batch: Batch) -> None:
        """Store all of a tick, or nothing.

        Raises:
            LeaseLost: another driver took the run.
            LedgerError: it can't be written; nothing was stored.
        """
        if batch.bodies and batch.first != self.next_seq:
            raise LedgerError(
                f"run `{self.run}` would store event {batch.first} where {self.next_seq} is next",
                hint="this is a fault of Headrace's: please report it",
            )
        if batch.run is not None:
            self._check_is_there()
        db = self._db
        try:
            with db.troubles():
                self._number = db.atomically(lambda: self._store(batch), done=lambda: self._stored(batch))
        except Unmet:
            raise self._lost() from None
        self.next_seq += len(batch.bodies)

    def events(self) -> Iterator[bytes]:
        """Go over the events of the run, in order, as they were stored."""
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
        """Give the output that the ledger holds under a key, or None."""
        db = self._db
        with db.troubles():
            db.begin_reading()
            row = db.execute(db.sql.RESULT, (key,)).fetchone()
        return None if row is None else _found(row)

    def results(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """Give the outputs that the ledger holds under some keys, in one round trip."""
        db = self._db
        with db.troubles():
            db.begin_reading()
            rows = db.lookups(db.sql.RESULT, [(key,) for key in keys])
        return {key: _found(row) for key, row in zip(keys, rows, strict=True) if row is not None}

    def earlier(self, task: str) -> Earlier | None:
        """Give what the key of a task was made of in the latest run of the pipeline that has it and had ended before
        this one began, or None."""
        while (found := self._earlier.get(task)) is None and self._read_earlier():
            pass
        return found

    def point(self, about: PointKind, name: str) -> tuple[int, bytes] | None:
        """Give a cursor's latest version, or that of a model or dataset that a name means, and its encoded artifact;
        None where there is none.

        Raises:
            UsageError: the name names no version.
        """
        return self.cursor(name) if about == "cursor" else self.registered(about, name)

    def cursor(self, name: str) -> tuple[int, bytes] | None:
        """Give a cursor's latest version and its encoded value; None where it has none yet."""
        db = self._db
        with db.troubles():
            db.end_reading()
            found: tuple[int, bytes] | None = db.execute(db.sql.CURSOR, (name,)).fetchone()
        return found

    def set_here(self, name: str, version: int) -> tuple[bool, bytes] | None:
        """Say of a version of a cursor whether this run has set it, and its encoded value; None where there is none."""
        db = self._db
        with db.troubles():
            db.end_reading()
            row = db.execute(db.sql.CURSOR_ROW, (name, version)).fetchone()
        return None if row is None else (row[1] == self.run, row[0])

    def registered(self, kind: RegistryKind, name: str) -> tuple[int, bytes] | None:
        """Return the version of a model or dataset that `NAME`, `NAME:3` or `NAME@ALIAS` names, and its encoded
        artifact, with what prepares rows for it; None where there is none.

        Raises:
            UsageError: the name is none of these.
        """
        of, version, alias = wanted(kind, name)
        db = self._db
        with db.troubles():
            db.end_reading()
            if alias is not None:
                aliases = db.execute(db.sql.ALIASES, (kind,)).fetchall()
                version = next((row[3] for row in aliases if row[1:3] == (of, alias)), 0)
            rows = db.execute(db.sql.VERSIONS_OF, (kind, of)).fetchall()
        row = next((row for row in rows if version in (None, row[2])), None)
        if row is None or row[12] is None:
            return None if row is None else (row[2], row[4])
        return row[2], _encode_ref(with_preparation(_decode_ref(row[4]), _decode_ref(row[12])))

    def inbox(self) -> Sequence[Signal]:
        """Give the signals that no event has absorbed yet, oldest first.

        Raises:
            LedgerError: it can't be read, or somebody has removed its file.
        """
        if self._number is None:
            return ()
        self._check_is_there()
        db = self._db
        with db.troubles():
            db.end_reading()
            self._renew()
            rows = db.execute(db.sql.INBOX, (self._number,)).fetchall()
        return [Signal(id=id, kind=kind, by=by, body=body) for id, kind, by, body in rows]

    def share(self, pool: Pool) -> None:
        """Take a pool to be as its backend has found it: a cluster may be of another size than the settings knew."""
        self._pools = {**self._pools, pool.name: pool}

    def grant(self, want: Want) -> Grant:
        """Say what the run wants of a pool and uses of it; give what it may use from now on.

        Raises:
            LedgerError: the ledger was told of no such pool, or of no rule.
        """
        pool = self._pools.get(want.pool)
        if pool is None or self._share is None:
            raise LedgerError(f"the ledger knows no pool `{want.pool}`", hint="name it under [pool] in headrace.toml")
        try:
            with self._db.troubles():
                return sharing.grant(
                    self._db, self._check_held, pool, self._share, want, run=self.run, now=self._clock()
                )
        except Unmet:
            raise self._lost() from None

    def _check_held(self) -> None:
        """Ask within a transaction whether the run is still this driver's; raise `Unmet` where it isn't."""
        self._lease.check()
        if self._number is not None:
            self._db.require(self._db.sql.HELD, (self._number, self.epoch))

    def _renew(self) -> None:
        try:
            self._lease.renew()
        except Unmet:
            raise self._lost() from None

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"another driver has taken run `{self.run}`, or this one was taken for dead",
            hint="this one has stopped; unless another goes on with the run, `headrace resume` does",
        )

    def _check_is_there(self) -> None:
        """Refuse to go on where somebody has removed the file: what is open of it would keep nothing."""
        if not self._db.is_there():
            raise LedgerError(
                f"the ledger `{self._db.name}` was removed while run `{self.run}` went on",
                hint="nothing can be kept any more: put the state folder back from a backup, or run again",
            )

    def _store(self, batch: Batch) -> int:
        """Store a tick within a transaction; give the run's number."""
        self._lease.check()
        number = self._write_run(batch.run)
        self._write(number, batch)
        return number

    def _stored(self, batch: Batch) -> int | None:
        """Give the run's number if a tick got through though nobody heard of it; without events, it is not known."""
        db = self._db
        found = db.execute(db.sql.RUN_BY_ID, (self.run,)).fetchone()
        if found is None or not batch.bodies or found[1] != self.epoch:
            return None
        number: int = found[0]
        (seq,) = db.execute(db.sql.NEXT_SEQ, (number,)).fetchone()
        return number if seq == batch.first + len(batch.bodies) else None

    def _write_run(self, row: RunRow | None) -> int:
        """Check the epoch, and write the run's row where it has changed; give the run's number."""
        db = self._db
        if self._number is None:
            if row is None:
                raise LedgerError(
                    f"the first commit of run `{self.run}` carries no row of it",
                    hint="this is a fault of Headrace's: please report it",
                )
            db.execute(db.sql.INSERT_RUN, (self.run, *_columns(row), self.epoch, self._holder))
            number: int = db.execute(db.sql.RUN_BY_ID, (self.run,)).fetchone()[0]
            return number
        if row is None:
            db.require(db.sql.HELD, (self._number, self.epoch))
        else:
            db.require(db.sql.UPDATE_RUN, (*_columns(row), self._number, self.epoch))
        return self._number

    def _write(self, number: int, batch: Batch) -> None:
        db, sql = self._db, self._db.sql
        if batch.bodies:
            first = batch.first
            db.executemany(sql.INSERT_EVENT, [(number, first + i, body) for i, body in enumerate(batch.bodies)])
        if batch.renewed:
            db.execute(sql.FORGET_TASKS, (number,))
        if batch.tasks:
            db.executemany(sql.PUT_TASK, [_task(number, row) for row in batch.tasks])
        if batch.results or batch.kept:
            now = self._clock()
            if batch.results:
                # Runs may give results under the same keys at once: each locks them in the same order.
                made = sorted((row.key, number, row.task, now, None, _encode_ref(row.out)) for row in batch.results)
                db.executemany(sql.PUT_RESULT, made)
            # A driver keeps what it gives out too, so most are named twice.
            named = {(ref.digest, ref.nonce): ref.size for each in batch.kept for ref in blobs(each)}
            named.update(((ref.digest, ref.nonce), ref.size) for row in batch.results for ref in blobs(row.out))
            if named:
                rows = [(number, digest, nonce, size, now) for (digest, nonce), size in named.items()]
                db.executemany(sql.PUT_BLOB, rows)
        if batch.intents:
            self._apply(batch.intents)
        if batch.metrics:
            db.executemany(sql.PUT_METRIC, [metric_row(number, each) for each in batch.metrics])
        if batch.logged:
            db.executemany(sql.PUT_LOGGED, [(number, task, seq) for task, seq in batch.logged])
        if batch.inherited:
            db.executemany(sql.INHERIT_METRICS, [(number, task, key) for task, key in batch.inherited])
        for doubt in batch.doubts:
            row = db.execute(sql.RESULT, (doubt.key,)).fetchone()
            if row is not None and doubt.generation in generations(_decode_ref(row[0])):
                db.execute(sql.DOUBT_RESULT, (doubt.why, doubt.key))
        if batch.absorbed:
            db.executemany(sql.ABSORB, [(number, id) for id in batch.absorbed])

    def _apply(self, intents: Sequence[tuple[str, Intent]]) -> None:
        """Change Headrace's own state as tasks have asked for. Runs may do so at once: each in the same order."""
        db, now = self._db, self._clock()
        registered = False
        for task, intent in sorted(intents, key=lambda each: (type(each[1]).__name__, each[1].name)):
            match intent:
                case Advance(name=name, version=version, value=value):
                    moves = db.execute(db.sql.CURSOR_MOVES, (name, version)).fetchall()
                    if all(by == (self.run, task) for by in moves):  # what the task itself has set it sets anew
                        row = name, version + len(moves) + 1, _encode_ref(value), self.run, task, now, None
                        db.execute(db.sql.MOVE_CURSOR, row)
                case Register():
                    if not registered:
                        registering.lock(db)
                        registered = True
                    registering.put(db, intent, run=self.run, task=task, by=self._holder, at=now)

    def _read_earlier(self) -> bool:
        """Read the next of the earlier runs whose tasks are not known yet; say whether there was one."""
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


def _found(row: tuple[Any, ...]) -> Found:
    out, at, run, logged = row
    return Found(out=_decode_ref(out), run=run or "", at=at, has_logged=logged is not None)


def metric_row(run: int, summary: Summary) -> tuple[object, ...]:
    """Give the row of what a run's task has logged under a name."""
    return (
        run,
        summary.task,
        summary.kind,
        summary.name,
        summary.last,
        summary.least,
        summary.greatest,
        summary.count,
        summary.first_step,
        summary.last_step,
        summary.at,
        None,
        None,
    )


def _columns(row: RunRow) -> tuple[object, ...]:
    return (
        row.pipeline,
        row.state,
        row.created,
        row.bundle,
        row.seconds,
        row.usd,
        row.params,
        row.why,
        row.ended,
    )


def _task(run: int, row: TaskRow) -> tuple[object, ...]:
    size = digest = log = start = end = None
    if row.out is not None:
        head = _decode_head(row.out)
        size, digest = head.size, head.digest
    if row.log is not None:
        log, start, end = row.log.log, row.log.start, row.log.end
    return (
        run,
        row.name,
        row.ordinal,
        row.stage,
        row.kind,
        row.state,
        row.attempts,
        row.started,
        row.seconds,
        row.load_s,
        row.save_s,
        row.usd,
        row.pool,
        row.parent,
        size,
        digest,
        log,
        start,
        end,
        row.reason,
        row.key,
        row.code,
        row.inputs,
        row.out,
    )
