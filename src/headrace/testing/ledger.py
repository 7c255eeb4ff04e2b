"""A ledger in memory, for tests. It behaves like the real ledger, but its data are lost when the process ends.

ledger = MemoryLedger(pool)
run = ledger.open("flights")
Driver(ledger=run, ...)

run = ledger.take("flights")     # another driver: the driver before can't write any more
for body in run.events(): ...
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.errors import LeaseLost, LedgerError, NotFoundError, UsageError
from headrace.run.ports import Batch, Earlier, Found, Grant, NoticeRow, RunRow, Signal, TaskRow, Want
from headrace.spec.artifact import Ref, blobs, generations
from headrace.spec.fleet import Pool
from headrace.spec.intent import Advance, PointKind, RegistryKind, wanted

_encode_ref = msgspec.msgpack.Encoder().encode


class Record:
    """All stored data of one run. `kept` names the blobs (each digest and nonce) of the artifacts that the run
    refers to."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.epoch = 0
        self.bodies: list[bytes] = []
        self.tasks: dict[str, TaskRow] = {}
        self.row: RunRow | None = None
        self.kept: set[tuple[str, str]] = set()
        self.inbox: list[Signal] = []
        self.notices: list[NoticeRow] = []


class MemoryLedger:
    """The ledger of a project. Each run may use the whole of each pool, as if it were alone."""

    def __init__(self, *pools: Pool) -> None:
        self.pools = {pool.name: pool for pool in pools}
        self.runs: dict[str, Record] = {}
        self.results: dict[str, Found] = {}
        self.cursors: dict[str, list[tuple[str | None, str | None, bytes]]] = {}
        """The versions of each cursor. For each version: the run and the task that set it (both None if no run set it),
        and the value."""
        self._signals = 0

    def open(self, run: str) -> MemoryRun:
        """Create a run, take its lease, and return it."""
        if run in self.runs:
            raise LedgerError(f"there is a run `{run}` already", hint="give it another name")
        self.runs[run] = Record(run)
        return self.take(run)

    def take(self, run: str) -> MemoryRun:
        """Take the lease of a run, and return the run. The driver that had the lease before can't write any more."""
        record = self.runs.get(run)
        if record is None:
            raise NotFoundError(f"there is no run `{run}`", hint="open it first")
        record.epoch += 1
        return MemoryRun(self, record)

    def signal(self, run: str, kind: str, *, by: str = "somebody", body: str = "", at: float = 0.0) -> None:
        """Put a signal in a run's inbox."""
        self._signals += 1
        self.runs[run].inbox.append(Signal(id=self._signals, kind=kind, by=by, body=body, at=at))

    def advance(self, wanted: Advance) -> None:
        """Set the next value of a cursor, outside of runs. The cursor's latest version must still be `wanted.version`.

        Raises:
            UsageError: the cursor has another latest version.
        """
        moves = self.cursors.setdefault(wanted.name, [])
        if len(moves) != wanted.version:
            raise UsageError(f"cursor `{wanted.name}` has moved on from version {wanted.version} in the meantime")
        moves.append((None, None, _encode_ref(wanted.value)))


class MemoryRun:
    """The ledger of one run, for the driver that has its lease (implements `run.ports.Ledger`)."""

    def __init__(self, ledger: MemoryLedger, record: Record) -> None:
        self._ledger = ledger
        self._record = record
        self.epoch = record.epoch

    @property
    def run(self) -> str:
        """The id of the run."""
        return self._record.run

    @property
    def record(self) -> Record:
        """All stored data of the run."""
        return self._record

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return len(self._record.bodies)

    def events(self) -> Iterable[bytes]:
        """Return the bodies of the stored events, in order."""
        return tuple(self._record.bodies)

    def commit(self, batch: Batch) -> None:
        """Store a batch: either all of it or, if an error is raised, nothing.

        Raises:
            LeaseLost: another driver has taken the run.
            LedgerError: the first event's number isn't the next one, or the first batch of a run has no `RunRow`.
        """
        self._check_epoch()
        record = self._record
        if batch.bodies and batch.first != len(record.bodies):
            raise LedgerError(f"the batch begins with event {batch.first}, but the next event is {len(record.bodies)}")
        if record.row is None and batch.run is None:
            raise LedgerError("the first commit of a run has no row of the run")
        record.bodies += batch.bodies
        record.row = batch.run or record.row
        record.notices += batch.notices
        if batch.renewed:
            record.tasks.clear()
        record.tasks.update((row.name, row) for row in batch.tasks)
        for result in batch.results:
            self._ledger.results[result.key] = Found(out=result.out, run=record.run, at=0.0)
        for doubt in batch.doubts:
            stored = self._ledger.results.get(doubt.key)
            if stored is not None and doubt.generation in generations(stored.out):
                del self._ledger.results[doubt.key]
        for task, intent in batch.intents:
            if isinstance(intent, Advance):
                moves = self._ledger.cursors.setdefault(intent.name, [])
                if all(by == [record.run, task] for *by, _ in moves[intent.version :]):
                    moves.append((record.run, task, _encode_ref(intent.value)))
        for ref in [*batch.kept, *(result.out for result in batch.results)]:
            record.kept.update(_generations(ref))
        record.inbox = [signal for signal in record.inbox if signal.id not in batch.absorbed]

    def results(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """Return the stored outputs by key. Keys without an output are left out."""
        return {key: result for key in keys if (result := self._ledger.results.get(key)) is not None}

    def earlier(self, task: str) -> Earlier | None:
        """Return the record of how the key of a task was computed in the latest earlier run. Return None if there is no
        such run.

        An earlier run is one that has this task too, and that ended before this run began.
        """
        before = [record for name, record in self._ledger.runs.items() if name != self._record.run]
        began = math.inf if self._record.row is None else self._record.row.created
        for record in reversed(before):
            ended = None if record.row is None else record.row.ended
            row = record.tasks.get(task) if ended is not None and ended <= began else None
            if row is not None and row.key is not None:
                return Earlier(run=record.run, key=row.key, code=row.code or "", inputs=row.inputs or b"")
        return None

    def point(self, about: PointKind, name: str) -> tuple[int, bytes] | None:
        """Return the number and the encoded artifact of a version, or None if there is no such version.

        For a cursor, this is the latest version; for a model or dataset, the version that `name` means. This ledger has
        no predictions.

        Raises:
            UsageError: `name` is no valid name of a version.
        """
        if about == "predictions":
            return None
        return self.cursor(name) if about == "cursor" else self.registered(about, name)

    def cursor(self, name: str) -> tuple[int, bytes] | None:
        """Return the number and the encoded value of a cursor's latest version, or None if the cursor has no
        version."""
        moves = self._ledger.cursors.get(name, [])
        return (len(moves), moves[-1][-1]) if moves else None

    def set_here(self, name: str, version: int) -> tuple[bool, bytes] | None:
        """Return whether this run has set the version `version` of a cursor, and the encoded value of this version.

        Return None if there is no such version.
        """
        moves = self._ledger.cursors.get(name, [])
        if not 0 < version <= len(moves):
            return None
        run, _, value = moves[version - 1]
        return run == self._record.run, value

    def registered(self, kind: RegistryKind, name: str) -> tuple[int, bytes] | None:
        """Return None: no models or datasets are registered in this ledger. Only check that `name` is valid."""
        wanted(kind, name)
        return None

    def inbox(self) -> Sequence[Signal]:
        """Return the run's signals, except those that a committed batch has named in `absorbed`."""
        return tuple(self._record.inbox)

    def grant(self, want: Want) -> Grant:
        """Return a grant of the whole pool, which never expires."""
        self._check_epoch()
        pool = self._ledger.pools.get(want.pool)
        if pool is None:
            raise LedgerError(f"the ledger has no pool `{want.pool}`")
        return Grant(pool=pool.name, cpu=pool.cpu, memory_gib=pool.memory_gib, gpus=pool.gpus, expires=float("inf"))

    def _check_epoch(self) -> None:
        if self._record.epoch != self.epoch:
            raise LeaseLost(f"another driver has taken run `{self._record.run}`", hint="this driver has stopped")


def _generations(ref: Ref) -> set[tuple[str, str]]:
    return {(blob.digest, blob.nonce or "") for blob in blobs(ref)}
