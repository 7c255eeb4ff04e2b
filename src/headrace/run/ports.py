"""What the drive loop needs of the world, as the loop wants it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from headrace.run.curves import Summary
from headrace.run.events import Span, TaskState
from headrace.run.wire import Down, Up
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.intent import Intent, PointKind
from headrace.spec.stage import Resources


class TaskLine(Struct, frozen=True, kw_only=True, gc=False):
    """What is shown of a task: the ledger's row and every view of a task begin with this.

    `seconds` are those of the user's code, `load_s` and `save_s` what its inputs and its output took. `queued_s` is how
    long the pool had no room for it, all of its attempts together: None if it was never launched, or by a Headrace that
    didn't tell.
    """

    name: str
    stage: str
    kind: str
    state: TaskState
    reason: str = ""
    attempts: int = 0
    seconds: float = 0.0
    load_s: float = 0.0
    save_s: float = 0.0
    usd: float = 0.0
    pool: str | None = None
    queued_s: float | None = None


class TaskRow(TaskLine, frozen=True, kw_only=True):
    """The projection of one task, written anew whenever its state changes.

    `ordinal` is its place in the run. `out` and `inputs` are encoded: a `Ref`, and the parts of the key as
    `((parameter, identity), ...)`, by which a later run says what differs. `parent` is the mapped task that it is an
    element of.
    """

    ordinal: int
    started: float = 0.0
    key: str | None = None
    code: str | None = None
    inputs: bytes | None = None
    out: bytes | None = None
    log: Span | None = None
    parent: str | None = None


class ResultRow(Struct, frozen=True, kw_only=True):
    """An output that later runs may reuse under its key."""

    key: str
    task: str
    out: Ref


class Doubt(Struct, frozen=True, kw_only=True):
    """An output that no run may reuse any more, as long as it is this generation that stands under its key."""

    key: str
    generation: str
    why: str


LIVE = frozenset(("queued", "running", "waiting"))
"""The states of a run that has not ended."""


class RunRow(Struct, frozen=True, kw_only=True):
    """The projection of the run itself."""

    pipeline: str
    state: str
    created: float
    bundle: str
    seconds: float = 0.0
    usd: float = 0.0
    params: str = "{}"
    why: str = ""
    ended: float | None = None


class Batch(Struct, kw_only=True):
    """All that one tick stores, in one transaction. `first` is the number of the first of `bodies`.

    `kept` are the artifacts whose generations in the store this run names from now on. `absorbed` are the signals
    that became events. `doubts` are outputs that turned out to be damaged. `renewed`: the run's task rows are of an
    older trace, and go before the new ones come. `intents` come with the tasks that asked for them.
    `metrics` are what tasks have logged by now, `logged` which events, by number, hold that of which task; `inherited`
    are reused tasks with their keys, whose makers have logged something.
    """

    first: int
    bodies: list[bytes]
    run: RunRow | None = None
    tasks: list[TaskRow] = []
    results: list[ResultRow] = []
    kept: list[Ref] = []
    absorbed: list[int] = []
    doubts: list[Doubt] = []
    renewed: bool = False
    intents: list[tuple[str, Intent]] = []
    metrics: list[Summary] = []
    logged: list[tuple[str, int]] = []
    inherited: list[tuple[str, str]] = []


class Found(Struct, frozen=True, kw_only=True):
    """A result that the ledger holds under a key. `has_logged`: the task that made it has logged something."""

    out: Ref
    run: str
    at: float
    has_logged: bool = False


class Earlier(Struct, frozen=True, kw_only=True):
    """What the key of a task was made of in an earlier run."""

    run: str
    key: str
    code: str
    inputs: bytes


class Signal(Struct, frozen=True, kw_only=True):
    """A word from outside: who wants what of this run. `stop` names a task in its `body`."""

    id: int
    kind: Literal["cancel", "stop", "approve"]
    by: str
    body: str = ""


class Grant(Struct, frozen=True, kw_only=True):
    """What a run may use of a pool until `expires` (the ledger's clock, Unix seconds)."""

    pool: str
    cpu: float
    memory_gib: float
    gpus: int
    expires: float


class Want(Struct, frozen=True, kw_only=True):
    """What a run would use of a pool if it could (what it uses included), and what it uses now.

    `least_...` is what the attempt that it would start next needs; zero where that isn't told.
    """

    pool: str
    cpu: float
    memory_gib: float
    gpus: int
    used_cpu: float
    used_memory_gib: float
    used_gpus: int
    least_cpu: float = 0.0
    least_memory_gib: float = 0.0
    least_gpus: int = 0


class Ledger(Protocol):
    """A run's ledger, as the driver that holds its lease sees it. Every write checks the epoch.

    Raises:
        LeaseLost: another driver took the run.
        LedgerError: it can't be read or written.
    """

    def commit(self, batch: Batch) -> None: ...
    def results(self, keys: Sequence[str]) -> Mapping[str, Found]: ...
    def earlier(self, task: str) -> Earlier | None: ...
    def point(self, about: PointKind, name: str) -> tuple[int, bytes] | None: ...
    def set_here(self, name: str, version: int) -> tuple[bool, bytes] | None: ...
    def inbox(self) -> Sequence[Signal]: ...
    def grant(self, want: Want) -> Grant: ...


class Blobs(Protocol):
    """The store, as the driver sees it: whether what a ref needs is there. Of many, it may ask side by side."""

    def size(self, digest: str, nonce: str) -> int | None: ...
    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]: ...


class Spool(Protocol):
    """Where the workers of a region spill what no driver acknowledged: each file's name, and its bytes."""

    def spills(self, run: str) -> Iterable[tuple[str, bytes]]: ...
    def forget(self, run: str) -> None: ...


TRACER = 0
"""The number of the worker that is the tracer."""


class Job(Struct, frozen=True, kw_only=True):
    """A worker to start. `tracer`: it traces the pipeline and runs no attempts.

    `environment` is the group of the lock that it must have; a worker is for one environment only (`Hello.group`).
    """

    worker: int
    resources: Resources
    tracer: bool = False
    environment: str | None = None


class Heard(Struct, frozen=True):
    """A worker said something."""

    worker: int
    message: Up


class Died(Struct, frozen=True):
    """A worker's process is gone, and everything it had sent was heard before. `kind` as in `FailureKind`."""

    worker: int
    kind: Literal["crash", "memory", "lost", "timeout", "cancelled", "refused"]
    why: str
    hint: str | None = None


class Beat(Struct, frozen=True):
    """A worker lives: the attempt it is at (Do number, -1 for none), since when, its memory and cpu time."""

    worker: int
    at: int
    since: float
    pss_gib: float
    cpu_s: float


class Delayed(Struct, frozen=True):
    """A worker that was to begin waits, for what `why` says: for room, most often. Empty: it has begun."""

    worker: int
    why: str


class Alive(Struct, frozen=True):
    """A worker that an earlier driver began lives, and goes on for this one.

    `attempts` are those that it was told and has not reported the end of, oldest first; `done` counts those it has.
    """

    job: Job
    attempts: tuple[tuple[str, int], ...]
    done: int


Notice = Heard | Died | Beat | Delayed


class Backend(Protocol):
    """A pool's machines. Everything is told by number: workers are numbered by the driver, never twice in a run.

    `start` begins a worker (it may take long; a worker that can't be begun is `Died`). `tell` sends messages down, in
    order. `events` waits up to `timeout_s` for something to happen and gives all that has. `adopt` gives what an
    earlier driver of the run left: the reports that nobody has stored, each worker's in order, and after its reports
    each worker that lives on; what else lives of the run is ended.
    `close` ends some workers, or all, with what they began; unless `now`, an attempt is asked to stop first and given a
    little time. Once all are closed nothing lives any more. `abandon` lets go of everything without a word, as a driver
    does that is killed: what runs ends by itself, and is adopted by the next driver. `ahead_s` is how much work a
    worker should have before it, so that it never waits for a message.
    """

    pool: Pool
    ahead_s: float

    def start(self, jobs: Sequence[Job]) -> None: ...
    def tell(self, worker: int, messages: Sequence[Down]) -> None: ...
    def events(self, timeout_s: float) -> list[Notice]: ...
    def adopt(self) -> Iterable[Heard | Alive]: ...
    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None: ...
    def abandon(self) -> None: ...


class Left(Protocol):
    """What there is of a pool that a run has left for another one: the part of a backend that ends it."""

    def adopt(self) -> Iterable[Heard | Alive]: ...
    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None: ...


class Clock(Protocol):
    """The time, and chance: the two things that the machine must be told."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def jitter(self) -> float: ...
