"""The rows of a ledger as structs. A struct has a field for each column that is read; the field has the column's name.

`run.ports` has the rows that a driver writes. `ledger.views.rows` has the rows that are shown to people.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from msgspec import Struct

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import Reader
from headrace.ledger.inventory import Generation
from headrace.run.curves import Summary
from headrace.run.events import Span
from headrace.run.ports import LIVE, RunRow, TaskRow
from headrace.spec.artifact import ERASED as NONCE
from headrace.spec.artifact import Ref, within
from headrace.spec.claim import Amount, Claim
from headrace.spec.intent import RegistryKind


class RunRecord(Struct, frozen=True, kw_only=True):
    """The columns of a run's row that decide how long the run's blobs are kept."""

    number: int
    id: str
    pipeline: str
    state: str
    created: float
    ended: float | None
    bundle: str

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended. An ended run may still be resumed."""
        return self.state not in LIVE


class ResultRecord(Struct, frozen=True, kw_only=True, gc=False):
    """An output that may be reused under its key. If `unusable` is not None, it says why the output may not be reused.
    `out` is the encoded output."""

    key: str
    run: int
    task: str
    at: float
    unusable: str | None
    out: bytes


class CursorRecord(Struct, frozen=True, kw_only=True):
    """A version of a cursor. It was set by a task (`run` is the id of the task's run) or by a user (`by`). `value` is
    an encoded artifact."""

    name: str
    version: int
    value: bytes
    run: str | None
    task: str | None
    at: float | None
    by: str | None


class VersionRecord(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset. `run` is the run's id; `out`, `report` and `preparation` are encoded
    artifacts."""

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


class AliasRecord(Struct, frozen=True, kw_only=True):
    """A name that points at one version of a model or dataset."""

    kind: str
    name: str
    alias: str
    version: int
    at: float
    by: str
    why: str | None


class MoveRecord(Struct, frozen=True, kw_only=True):
    """A move of an alias from version `was` to `version`. `was` is None if the alias was new, and `version` is None if
    the alias was removed. A task moved it (`run` is the run's id), or the user `by`; `why` is the user's reason."""

    kind: str
    name: str
    alias: str
    nonce: str
    number: int
    was: int | None
    version: int | None
    at: float
    by: str
    run: str | None
    task: str | None
    why: str | None


class NoticeRecord(Struct, frozen=True, kw_only=True):
    """A notice in the outbox: what happened (`kind`, and `facts` as JSON), to which run, and whether it was sent.

    `tries` counts the tries so far. `due` is the earliest time of the next try. `sent` names the ways by which the
    notice was sent, with commas between them. `error` says why the latest finished try failed.
    """

    id: str
    kind: str
    run: str | None
    at: float
    facts: str
    state: str
    tries: int
    due: float
    sent: str
    error: str | None


class RouteRecord(Struct, frozen=True, kw_only=True):
    """The move with the number `number` of the route of the endpoint `name`.

    `route` is the route after the move, as JSON. `version` is the version of the variant `production` in this route.
    `route` and `version` are None if the move retired the endpoint.
    """

    name: str
    number: int
    nonce: str
    route: str | None
    version: int | None
    at: float
    by: str
    run: str | None
    task: str | None
    why: str | None


class TokenRecord(Struct, frozen=True, kw_only=True):
    """A token with which a client may use endpoints.

    `digest` is the SHA-256 digest of the token's secret part. `endpoints` are the names of the endpoints that the token
    is valid for, with blanks between them; if it is empty, the token is valid for all endpoints. `expires` and
    `revoked` are Unix seconds, or None. `scopes` says what the token may be used for, as words with blanks between
    them. It is None for tokens that were made before there were scopes.
    """

    id: str
    digest: str
    name: str
    endpoints: str
    at: float
    by: str
    expires: float | None
    revoked: float | None
    scopes: str | None


class ErasureRecord(Struct, frozen=True, kw_only=True):
    """The erasure of a person from an endpoint's log and from what was made from the log.

    A row is about the person if its value in one of the columns `columns` (one name in each line) has the digest
    `digest`, computed with the salt `salt` (`spec.endpoint`). `told` says what was erased so far, as JSON
    (`ledger.erasures.Told`). `done` is when the erasure was complete (Unix seconds); None means that it isn't complete.
    """

    erasure: str
    endpoint: str
    columns: str
    salt: str
    digest: str
    at: float
    by: str
    why: str
    told: str
    done: float | None


class ErasedRecord(Struct, frozen=True, kw_only=True):
    """A generation whose bytes were erased. `erasure` is the id of the erasure, and `what` is a text that describes the
    generation."""

    digest: str
    nonce: str
    erasure: str
    what: str


class PredictionPartRecord(Struct, frozen=True, kw_only=True):
    """A part of an endpoint's prediction log, with the number `number` in this log.

    `out` is the encoded artifact with the part's `count` rows: predictions, or labels. They come from one segment of
    one writer. For labels that a task recorded, `writer` is `RUN/TASK`. `first` and `last` are the times of the first
    and the last request, and `at` is when the part was added (all in Unix seconds).
    """

    endpoint: str
    number: int
    writer: str
    segment: int
    out: bytes
    count: int
    first: float
    last: float
    at: float


class WithdrawalRecord(Struct, frozen=True, kw_only=True):
    """A withdrawal of the labels that a source had sent to an endpoint until the time `at`: who did it, and why."""

    endpoint: str
    source: str
    nonce: str
    at: float
    by: str
    why: str


class PredictionBatchRecord(Struct, frozen=True, kw_only=True):
    """A batch with the number `number` in an endpoint's prediction log. `endpoint` is empty if the batch belongs to no
    endpoint.

    `model` is the identity of the model that answered. `given` is the encoded artifact of the rows, `count` rows in
    all. `out` is the encoded table of the answers, and `identity` is that table's identity. `refused` is how many rows
    the model's preparation refused. The task `task` of the run `run` used the model from the time `first` to the time
    `last`. `at` is when the task's success was stored (all times are in Unix seconds).
    """

    endpoint: str
    number: int
    model: str
    given: bytes
    out: bytes
    identity: str
    count: int
    refused: int
    first: float
    last: float
    at: float
    run: str
    task: str


class PredictionBatchRow(PredictionBatchRecord, frozen=True, kw_only=True):
    """A batch in a prediction log, with the version of the endpoint's model that answered. `version` is None if the
    model isn't registered under the endpoint's name."""

    version: int | None


class PredictionLogRow(Struct, frozen=True, kw_only=True):
    """The size of an endpoint's prediction log in the ledger: the number of parts, the number of predictions or labels
    (`count`), and the times of the first and the last of them (Unix seconds)."""

    endpoint: str
    parts: int
    count: int
    first: float
    last: float


class MetricRecord(Summary, frozen=True, kw_only=True):
    """The summary of what a task has logged under a name. If the task was reused, `source` and `source_task` are the
    run and task that logged the values."""

    source: str | None
    source_task: str | None


class GrantRecord(Struct, frozen=True, kw_only=True):
    """A run's claim on a pool: what it wants, uses, needs at least, and is granted. The decisions about a pool are
    numbered: `arrived` is the number of the first decision about this claim, and `served` is the number of the last
    decision that raised the run's grant."""

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
        """The row as a `Claim`, for the sharing rule."""
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
MOVES = Reader(MoveRecord)
NOTICES = Reader(NoticeRecord)
ROUTES = Reader(RouteRecord)
TOKENS = Reader(TokenRecord)
ERASURES = Reader(ErasureRecord)
ERASED = Reader(ErasedRecord)
PREDICTION_LOGS = Reader(PredictionLogRow)
PREDICTION_PARTS = Reader(PredictionPartRecord)
WITHDRAWALS = Reader(WithdrawalRecord)
PREDICTION_BATCHES = Reader(PredictionBatchRecord)
BATCHES = Reader(PredictionBatchRow)
METRICS = Reader(MetricRecord)
SUMMARIES = Reader(Summary)
GRANTS = Reader(GrantRecord)


def runs(db: Database) -> list[RunRecord]:
    """Return all runs, the oldest first."""
    return list(RUNS.read(db.execute(db.sql.ALL_RUNS)))


def tasks(db: Database, run: int) -> Iterator[TaskRow]:
    """Yield the rows of a run's tasks."""
    return scan.tasks(db, run, TASK_ROWS)


def results(db: Database) -> Iterator[ResultRecord]:
    """Yield all results."""
    return scan.results(db, RESULTS)


def erased_rows(db: Database) -> Iterator[ErasedRecord]:
    """Yield the rows of all erased generations."""
    return scan.pages(db, ERASED, db.sql.ERASED_FROM, (), digest="", nonce="")


def erased(db: Database) -> frozenset[Generation]:
    """Return the generations whose bytes were erased. Rows still name these generations, but no store is allowed to
    have their bytes."""
    return frozenset((row.digest, row.nonce) for row in erased_rows(db))


def has_erased(ref: Ref, gone: Container[Generation]) -> bool:
    """Return whether bytes of an artifact or of its parts were erased. `gone` are the erased generations. A small value
    whose bytes are in `ref` itself can be read, even if equal bytes were erased before."""
    return any((each.digest, each.nonce or NONCE) in gone for each in within(ref) if each.inline is None)
