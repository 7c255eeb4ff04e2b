"""What the drive loop needs of the world, as the loop wants it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from headrace.run.events import Span, TaskState
from headrace.run.wire import Down, Up
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources


class TaskRow(Struct, frozen=True, kw_only=True):
    """The projection of one task, written anew whenever its state changes.

    `ordinal` is its place in the run. `out` and `inputs` are encoded: a `Ref`, and the parts of the key as
    `((parameter, identity), ...)`, by which a later run says what differs. `parent` is the mapped task that it is an
    element of.
    """

    ordinal: int
    name: str
    stage: str
    kind: str
    state: TaskState
    reason: str
    attempts: int = 0
    started: float = 0.0
    seconds: float = 0.0
    load_s: float = 0.0
    save_s: float = 0.0
    usd: float = 0.0
    pool: str | None = None
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
    older trace, and go before the new ones come.
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


class Found(Struct, frozen=True, kw_only=True):
    """A result that the ledger holds under a key."""

    out: Ref
    run: str
    at: float


class Earlier(Struct, frozen=True, kw_only=True):
    """What the key of a task was made of in an earlier run."""

    run: str
    key: str
    code: str
    inputs: bytes


class Signal(Struct, frozen=True, kw_only=True):
    """A word from outside: who wants what of this run."""

    id: int
    kind: Literal["cancel", "approve"]
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
    def result(self, key: str) -> Found | None: ...
    def earlier(self, task: str) -> Earlier | None: ...
    def inbox(self) -> Sequence[Signal]: ...
    def grant(self, want: Want) -> Grant: ...


class Blobs(Protocol):
    """The store, as the driver sees it: whether what a ref needs is there."""

    def size(self, digest: str, nonce: str) -> int | None: ...


class Job(Struct, frozen=True, kw_only=True):
    """A worker to start. `tracer`: it traces the pipeline and runs no attempts."""

    worker: int
    resources: Resources
    tracer: bool = False


class Heard(Struct, frozen=True):
    """A worker said something."""

    worker: int
    message: Up


class Died(Struct, frozen=True):
    """A worker's process is gone, and everything it had sent was heard before. `kind` as in `FailureKind`."""

    worker: int
    kind: Literal["crash", "memory", "lost", "timeout", "cancelled"]
    why: str


class Beat(Struct, frozen=True):
    """A worker lives: the attempt it is at (Do number, -1 for none), since when, its memory and cpu time."""

    worker: int
    at: int
    since: float
    pss_gib: float
    cpu_s: float


Notice = Heard | Died | Beat


class Backend(Protocol):
    """A pool's machines. Everything is told by number: workers are numbered by the driver, never twice in a run.

    `start` begins a worker (it may take long; a worker that can't be begun is `Died`). `tell` sends messages down, in
    order. `events` waits up to `timeout_s` for something to happen and gives all that has. `adopt` ends what an
    earlier driver of the run left behind and gives the reports that its workers spilled, each worker's in order.
    `close` ends some workers, or all, with what they began; unless `now`, an attempt is asked to stop first and given a
    little time. Once all are closed nothing lives any more. `abandon` lets go of everything without a word, as a driver
    does that is killed: what runs ends by itself, and is adopted by the next driver.
    """

    pool: Pool

    def start(self, jobs: Sequence[Job]) -> None: ...
    def tell(self, worker: int, messages: Sequence[Down]) -> None: ...
    def events(self, timeout_s: float) -> list[Notice]: ...
    def adopt(self) -> Iterable[Heard]: ...
    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None: ...
    def abandon(self) -> None: ...


class Clock(Protocol):
    """The time, and chance: the two things that the machine must be told."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def jitter(self) -> float: ...
