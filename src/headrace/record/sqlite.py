"""The ledger on SQLite: one file, written by the drivers of this machine.

    with SqliteLedger(path) as ledger:
        run = ledger.open_run("flights")       # or ledger.take(run_id)
        run.commit(batch)

A new run is in the ledger from its first commit on. One transaction a commit, which ends on the disk.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec import Struct

from headrace.errors import LeaseLost, LedgerError, NotFoundError
from headrace.record import lease, sharing
from headrace.record import statements as sql
from headrace.record.database import connect, trouble, troubles
from headrace.record.lease import Holder, Lease
from headrace.record.ports import Share
from headrace.run.ports import Batch, Earlier, Found, Grant, RunRow, Signal, TaskRow, Want
from headrace.spec.artifact import Ref, blobs, generations
from headrace.spec.fleet import Pool

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


class SqliteLedger:
    """A project's ledger. Its runs share the capacity of `pools` by the rule `share`, which is `place.share.grant`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pools: Sequence[Pool] = (),
        share: Share | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self.leases = self.path.parent / "leases"
        self._pools = {pool.name: pool for pool in pools}
        self._share = share
        self._clock = clock
        self._db = connect(self.path)

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; runs that were opened here have connections of their own."""
        self._db.close()

    def open_run(self, pipeline: str, *, holder: str = "") -> RunLedger:
        """Give a new run its id and its lease. It has no row before its first commit, which has to carry one."""
        while True:
            run_id = new_id(pipeline, self._clock())
            held = lease.acquire(self.leases, run_id, holder)
            try:
                if self._run(run_id) is None:
                    return self._ledger(run_id, held, holder=holder, pipeline=pipeline)
            except BaseException:
                held.release()
                raise
            held.release()

    def take(self, run_id: str, holder: str = "") -> RunLedger:
        """Take the lease of a run that is there, and fence out whoever drove it before.

        Raises:
            NotFoundError: there is no such run.
            LeaseHeld: another driver holds it; the message says who.
        """
        self._known(run_id)
        held = lease.acquire(self.leases, run_id, holder)
        try:
            with troubles(self.path):
                number, _, pipeline, _ = self._known(run_id)
                self._db.execute(sql.TAKE_RUN, (holder, number))
                _, epoch, _, _ = self._known(run_id)
                (seq,) = self._db.execute(sql.NEXT_SEQ, (number,)).fetchone()
            return self._ledger(
                run_id, held, holder=holder, pipeline=pipeline, number=number, epoch=epoch, next_seq=seq
            )
        except BaseException:
            held.release()
            raise

    def holder(self, run_id: str) -> Holder | None:
        """Say which driver holds a run, or None where none lives."""
        return lease.holder(self.leases, run_id)

    def has(self, run_id: str) -> bool:
        """Say whether there is such a run. One whose driver was killed before its first commit isn't there."""
        return self._run(run_id) is not None

    def signal(self, run_id: str, kind: str, *, by: str, body: str = "") -> None:
        """Put a signal into a run's inbox; its driver absorbs it as an event.

        Raises:
            NotFoundError: there is no such run.
        """
        number, *_ = self._known(run_id)
        with troubles(self.path):
            self._db.execute(sql.SIGNAL, (number, kind, by, body, self._clock()))

    def cursor(self, name: str) -> tuple[int, bytes] | None:
        """Give the latest version of a value that lives between runs, and the value; None where there is none."""
        with troubles(self.path):
            found: tuple[int, bytes] | None = self._db.execute(sql.CURSOR, (name,)).fetchone()
            return found

    def advance(self, name: str, value: bytes, *, version: int) -> None:
        """Set a value that lives between runs, as version number `version`, which is one more than the latest.

        Raises:
            LedgerError: there is such a version already: another has set it meanwhile.
        """
        with troubles(self.path):
            self._db.execute(sql.ADVANCE_CURSOR, (name, version, value))

    def _known(self, run_id: str) -> tuple[int, int, str, str]:
        found = self._run(run_id)
        if found is None:
            raise NotFoundError(f"there is no run `{run_id}`", hint="`headrace runs` lists them")
        return found

    def _run(self, run_id: str) -> tuple[int, int, str, str] | None:
        with troubles(self.path):
            found: tuple[int, int, str, str] | None = self._db.execute(sql.RUN_BY_ID, (run_id,)).fetchone()
            return found

    def _ledger(
        self,
        run_id: str,
        held: Lease,
        *,
        holder: str,
        pipeline: str,
        number: int | None = None,
        epoch: int = 1,
        next_seq: int = 0,
    ) -> RunLedger:
        return RunLedger(
            connect(self.path),
            path=self.path,
            lease=held,
            run=run_id,
            pipeline=pipeline,
            holder=holder,
            number=number,
            epoch=epoch,
            next_seq=next_seq,
            pools=self._pools,
            share=self._share,
            clock=self._clock,
        )


class RunLedger:
    """One run's ledger, as the driver that holds its lease sees it; implements `run.ports.Ledger`.

    `run` is the run's id, `epoch` counts its drivers, `next_seq` is the number that the next event gets.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        path: Path,
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
        self._path = path
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the run's grants and its lease."""
        try:
            self._end_reading()
            sharing.leave(self._db, self.run)
        except sqlite3.Error:
            pass  # with the lease gone, nobody counts them
        finally:
            self._db.close()
            self._lease.release()

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
            self._end_reading()
            db.execute("BEGIN IMMEDIATE")
            number = self._write_run(batch.run)
            self._write(number, batch)
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise trouble(error, self._path) from error
            raise
        self._number = number
        self.next_seq += len(batch.bodies)

    def events(self) -> Iterator[bytes]:
        """Go over the events of the run, in order, as they were stored."""
        seq = 0
        while True:
            with troubles(self._path):
                self._end_reading()
                found = self._db.execute(sql.EVENTS_FROM, (self._number, seq, CHUNK)).fetchall()
            for _, body in found:
                yield body
            if len(found) < CHUNK:
                return
            seq = found[-1][0] + 1

    def result(self, key: str) -> Found | None:
        """Give the output that the ledger holds under a key, or None."""
        db = self._db
        try:
            if not db.in_transaction:
                db.execute("BEGIN")  # one for all lookups of a tick: each in its own would take twice the time
            row = db.execute(sql.RESULT, (key,)).fetchone()
        except sqlite3.Error as error:
            raise trouble(error, self._path) from error
        if row is None:
            return None
        out, at, run = row
        return Found(out=_decode_ref(out), run=run or "", at=at)

    def earlier(self, task: str) -> Earlier | None:
        """Give what the key of a task was made of in the latest earlier run of the pipeline that has it, or None."""
        while (found := self._earlier.get(task)) is None and self._read_earlier():
            pass
        return found

    def inbox(self) -> Sequence[Signal]:
        """Give the signals that no event has absorbed yet, oldest first.

        Raises:
            LedgerError: it can't be read, or somebody has removed its file.
        """
        if self._number is None:
            return ()
        self._check_is_there()
        with troubles(self._path):
            self._end_reading()
            rows = self._db.execute(sql.INBOX, (self._number,)).fetchall()
        return [Signal(id=id, kind=kind, by=by, body=body) for id, kind, by, body in rows]

    def grant(self, want: Want) -> Grant:
        """Say what the run wants of a pool and uses of it; give what it may use from now on.

        Raises:
            LedgerError: the ledger was told of no such pool, or of no rule.
        """
        pool = self._pools.get(want.pool)
        if pool is None or self._share is None:
            raise LedgerError(f"the ledger knows no pool `{want.pool}`", hint="name it under [pool] in headrace.toml")
        with troubles(self._path):
            self._end_reading()
            return sharing.grant(
                self._db,
                pool,
                self._share,
                want,
                run=self.run,
                leases=self._path.parent / "leases",
                now=self._clock(),
            )

    def _end_reading(self) -> None:
        """End the transaction that lookups share; the next one sees what others have stored meanwhile."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def _check_is_there(self) -> None:
        """Refuse to go on where somebody has removed the file: what is open of it would keep nothing."""
        if not self._path.exists():
            raise LedgerError(
                f"the ledger `{self._path}` was removed while run `{self.run}` went on",
                hint="nothing can be kept any more: put the state folder back from a backup, or run again",
            )

    def _write_run(self, row: RunRow | None) -> int:
        """Check the epoch, and write the run's row where it has changed; give the run's number."""
        if self._number is None:
            if row is None:
                raise LedgerError(
                    f"the first commit of run `{self.run}` carries no row of it",
                    hint="this is a fault of Headrace's: please report it",
                )
            cursor = self._db.execute(sql.INSERT_RUN, (self.run, *_columns(row), self.epoch, self._holder))
            assert cursor.lastrowid is not None
            return cursor.lastrowid
        if row is None:
            held = self._db.execute(sql.HELD, (self._number, self.epoch)).fetchone() is not None
        else:
            held = self._db.execute(sql.UPDATE_RUN, (*_columns(row), self._number, self.epoch)).rowcount == 1
        if not held:
            raise LeaseLost(
                f"another driver has taken run `{self.run}`", hint="this one has stopped; the other goes on with it"
            )
        return self._number

    def _write(self, number: int, batch: Batch) -> None:
        db = self._db
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
                db.executemany(
                    sql.PUT_RESULT,
                    [(row.key, number, row.task, now, None, _encode_ref(row.out)) for row in batch.results],
                )
            # A driver keeps what it gives out too, so most are named twice.
            named = {(ref.digest, ref.nonce): ref.size for each in batch.kept for ref in blobs(each)}
            named.update(((ref.digest, ref.nonce), ref.size) for row in batch.results for ref in blobs(row.out))
            if named:
                rows = [(number, digest, nonce, size, now) for (digest, nonce), size in named.items()]
                db.executemany(sql.PUT_BLOB, rows)
        for doubt in batch.doubts:
            row = db.execute(sql.RESULT, (doubt.key,)).fetchone()
            if row is not None and doubt.generation in generations(_decode_ref(row[0])):
                db.execute(sql.DOUBT_RESULT, (doubt.why, doubt.key))
        if batch.absorbed:
            db.executemany(sql.ABSORB, [(number, id) for id in batch.absorbed])

    def _read_earlier(self) -> bool:
        """Read the next of the earlier runs whose tasks are not known yet; say whether there was one."""
        if self._earlier_runs == []:
            return False
        with troubles(self._path):
            if self._earlier_runs is None:
                number = (1 << 62) if self._number is None else self._number
                self._earlier_runs = self._db.execute(
                    sql.EARLIER_RUNS, (self._pipeline, number, EARLIER_RUNS)
                ).fetchall()
            if not self._earlier_runs:
                return False
            number, run = self._earlier_runs.pop(0)
            for name, key, code, inputs in self._db.execute(sql.INGREDIENTS, (number,)):
                if name not in self._earlier:
                    self._earlier[name] = Earlier(run=run, key=key, code=code or "", inputs=inputs or b"")
        return True


def new_id(pipeline: str, now: float) -> str:
    """Make up an id of a run: the day, the pipeline's name, and four hex digits of chance.

    >>> new_id("pipelines.py:Flights", 1795600000.0)
    '20261125-flights-...'
    """
    day = time.strftime("%Y%m%d", time.gmtime(now))
    name = re.sub(r"[^a-z0-9_]+", "-", pipeline.rpartition(":")[2].lower()).strip("-")[:40]
    return f"{day}-{name or 'run'}-{os.urandom(2).hex()}"


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
