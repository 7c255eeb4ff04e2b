"""The rows of a ledger as structs: a field for each column that somebody reads, by its name.

`run.ports` has the rows that a driver writes, `ledger.views.rows` what people look at.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import Reader
from headrace.run.curves import Summary
from headrace.run.events import Span
from headrace.run.ports import LIVE, RunRow, TaskRow
from headrace.spec.claim import Amount, Claim
from headrace.spec.intent import RegistryKind


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run, as far as keeping its blobs goes."""

    number: int
    id: str
    pipeline: str
    state: str
    created: float
    ended: float | None
    bundle: str

    @property
    def has_ended(self) -> bool:
        """Whether it came to an end; such a run may still be resumed."""
        return self.state not in LIVE


class ResultRecord(Struct, frozen=True, kw_only=True, gc=False):
    """An output that may be reused, unless it is `unusable`; `out` is encoded."""

    key: str
    run: int
    task: str
    at: float
    unusable: str | None
    out: bytes


class CursorRecord(Struct, frozen=True, kw_only=True):
    """A version of a cursor, with what has set it (`run` is an id); its value is encoded."""

    name: str
    version: int
    value: bytes
    run: str | None
    task: str | None
    at: float | None
    by: str | None


class VersionRecord(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset; `run` is an id, the artifacts are encoded."""

    kind: RegistryKind
    name: str
    version: int
    identity: str
    out: bytes
    report: bytes | None
    run: str | None
    task: str | None
    at: float
    by: str
    note: str
    origin: str | None
    preparation: bytes | None

    @property
    def artifacts(self) -> list[bytes]:
        """All that it keeps in the store."""
        return [each for each in (self.out, self.report, self.preparation) if each is not None]


class AliasRecord(Struct, frozen=True, kw_only=True):
    """A name of a version."""

    kind: str
    name: str
    alias: str
    version: int
    at: float
    by: str
    why: str | None


class MetricRecord(Summary, frozen=True, kw_only=True):
    """What a task has logged under a name; `source` and `source_task` say of which run and task a reused one's is."""

    source: str | None
    source_task: str | None


class GrantRecord(Struct, frozen=True, kw_only=True):
    """What a run wants of a pool, uses of it, needs least, and may use; `served` counts the pool's decisions."""

    run: str
    arrived: int
    served: int
    want_cpu: float
    want_memory_gib: float
    want_gpus: int
    used_cpu: float
    used_memory_gib: float
    used_gpus: int
    least_cpu: float
    least_memory_gib: float
    least_gpus: int
    cpu: float
    memory_gib: float
    gpus: int

    @property
    def claim(self) -> Claim:
        """The same, as the rule of sharing takes it."""
        return Claim(
            want=Amount(cpu=self.want_cpu, memory_gib=self.want_memory_gib, gpus=self.want_gpus),
            used=Amount(cpu=self.used_cpu, memory_gib=self.used_memory_gib, gpus=self.used_gpus),
            least=Amount(cpu=self.least_cpu, memory_gib=self.least_memory_gib, gpus=self.least_gpus),
            held=Amount(cpu=self.cpu, memory_gib=self.memory_gib, gpus=self.gpus),
            served=self.served,
        )


def _span(log: str | None, start: int, end: int) -> Span | None:
    return None if log is None else Span(log, start, end)


TASK_ROWS = Reader(TaskRow, log=(_span, "log", "log_start", "log_end"))
RUN_ROWS = Reader(RunRow)
RUNS = Reader(RunRecord)
RESULTS = Reader(ResultRecord)
CURSORS = Reader(CursorRecord)
VERSIONS = Reader(VersionRecord)
ALIASES = Reader(AliasRecord)
METRICS = Reader(MetricRecord)
SUMMARIES = Reader(Summary)
GRANTS = Reader(GrantRecord)


def runs(db: Database) -> list[RunRecord]:
    """Return all runs, the oldest first."""
    return list(RUNS.read(db.execute(db.sql.ALL_RUNS)))


def tasks(db: Database, run: int) -> Iterator[TaskRow]:
    """Go over the rows of a run's tasks."""
    return scan.tasks(db, run, TASK_ROWS)


def results(db: Database) -> Iterator[ResultRecord]:
    """Go over all results."""
    return scan.results(db, RESULTS)


def cursors(db: Database) -> Iterator[CursorRecord]:
    """Go over all versions of the cursors; Headrace's own notes are not among them."""
    return scan.cursors(db, CURSORS)


def versions(db: Database) -> list[VersionRecord]:
    """Return all versions of models and datasets."""
    return list(VERSIONS.read(db.execute(db.sql.ALL_VERSIONS)))
