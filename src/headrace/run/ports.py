"""The interfaces and rows through which the driver uses the ledger, the store, the pools and the clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from headrace.run.curves import Summary
from headrace.run.events import Span, TaskState
from headrace.run.wire import Down, Role, Up
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.intent import Intent, PointKind
from headrace.spec.stage import Resources


class TaskLine(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of a task that users see. The ledger's row and all views of a task begin with these fields.

    `seconds` is the time of the user's code; `load_s` and `save_s` are the times to load the inputs and to save the
    output. `queued_s` is how many seconds the pool had no room for the task, summed over its attempts. It is None if
    the task was never launched, or was launched by an older Headrace that did not record it. `pool_reason` says why its
    last attempt went to `pool`; it is None if the run uses one pool only.
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
    pool_reason: str | None = None


class TaskRow(TaskLine, frozen=True, kw_only=True):
    """The ledger's row of one task, written again whenever the task's state changes.

    `ordinal` is the task's place in the run. `out` is an encoded `Ref`. `inputs` are the encoded parts of the key,
    `((parameter, identity), ...)`: a later run compares them to say what differs. `parent` is the mapped task that this
    task is an element of, or None.
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
    """An output under `key` that no run may reuse any more, because the stored copy `generation` is damaged or gone. An
    output that is made later under the same key, in another copy, may be reused."""

    key: str
    generation: str
    why: str


LIVE = frozenset(("queued", "running", "waiting"))
"""The states of a run that has not ended."""


class RunRow(Struct, frozen=True, kw_only=True):
    """The ledger's row of a run."""

    pipeline: str
    state: str
    created: float
    bundle: str
    seconds: float = 0.0
    usd: float = 0.0
    params: str = "{}"
    why: str = ""
    ended: float | None = None


NOTICED = frozenset(("failed", "refused", "waiting"))
"""The states of a run of which people are told by a notice."""


class NoticeRow(Struct, frozen=True, kw_only=True):
    """A notice to people outside: what happened (`kind`, such as `run.failed`), when, and the facts (`facts`, as JSON).
    It is stored in the transaction that stores the cause, and sent later."""

    kind: str
    at: float
    facts: str


class Batch(Struct, kw_only=True):
    """All that one tick of the driver stores, in one transaction.

    `first` is the number of the first event in `bodies`. `kept` are the artifacts whose generations in the store this
    run names from now on. `absorbed` are the signals that became events. `doubts` are outputs that turned out to be
    damaged. If `renewed` is True, the run's task rows are from an older trace, and are deleted before the new ones are
    written. `intents` are pairs of a task and an intent that the task asked for.

    `metrics` are summaries of what tasks have logged so far. If `relogged` is True, the run's stored summaries are from
    an older trace, and are deleted before the new ones are written. `logged` are pairs of a task and the number of an
    event that holds values which the task logged. `inherited` are pairs of a task and its key: the task reused an
    output, and the task that made this output may have logged something. `notices` go out to people after the
    transaction.
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
    relogged: bool = False
    logged: list[tuple[str, int]] = []
    inherited: list[tuple[str, str]] = []
    notices: list[NoticeRow] = []


class Found(Struct, frozen=True, kw_only=True):
    """A result that the ledger holds under a key. `has_logged` is True if the task that made the result logged
    something."""

    out: Ref
    run: str
    at: float
    has_logged: bool = False


class Earlier(Struct, frozen=True, kw_only=True):
    """The code and inputs from which the key of a task was made in an earlier run."""

    run: str
    key: str
    code: str
    inputs: bytes


KNOWN_SIGNALS = frozenset({"approve", "cancel", "reject", "stop"})
"""The kinds of signals that this release knows. A signal of another kind stays in the inbox, for a driver of a release
that knows it."""


class Signal(Struct, frozen=True, kw_only=True):
    """A request to a run from outside. `by` is the user who made it, and `at` when (Unix seconds; 0 if unknown). For a
    `stop`, `body` holds the name of a task; for `approve` and `reject`, it holds an encoded `Decision`.

    `kind` may be a kind that only a newer release knows: see `KNOWN_SIGNALS`.
    """

    id: int
    kind: str
    by: str
    body: str = ""
    at: float = 0.0


class Decision(Struct, frozen=True, kw_only=True):
    """What somebody decided about a task that waits for an approval. It holds only for the task's `key`."""

    task: str
    key: str
    why: str


class Grant(Struct, frozen=True, kw_only=True):
    """The amount of a pool that a run may use until `expires` (Unix seconds on the ledger's clock)."""

    pool: str
    cpu: float
    memory_gib: float
    gpus: int
    expires: float


class Want(Struct, frozen=True, kw_only=True):
    """Two amounts of a pool: what a run uses now (`used_...`), and what it could use in all, including what it uses now
    (`cpu`, `memory_gib`, `gpus`).

    The fields `least_...` are the needs of the next attempt to start; they are zero if this attempt is unknown.
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
    """A run's ledger, as seen by the driver that holds the run's lease. Every write checks the lease's epoch.

    Raises:
        LeaseLost: another driver took the run.
        LedgerError: the ledger can't be read or written.
    """

    def commit(self, batch: Batch) -> None: ...
    def results(self, keys: Sequence[str]) -> Mapping[str, Found]: ...
    def earlier(self, task: str) -> Earlier | None: ...
    def point(self, about: PointKind, name: str) -> tuple[int, bytes | None] | None: ...
    def set_here(self, name: str, version: int) -> tuple[bool, bytes] | None: ...
    def inbox(self) -> Sequence[Signal]: ...
    def grant(self, want: Want) -> Grant: ...


class Blobs(Protocol):
    """The store, as seen by the driver. `size` returns the size in bytes of a generation, or None if the store doesn't
    have it.

    `sizes` returns the sizes of many generations, and may ask for all of them at the same time.
    """

    def size(self, digest: str, nonce: str) -> int | None: ...
    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]: ...


class Spool(Protocol):
    """The place to which the workers of a region write the reports that no driver acknowledged.

    `spills` yields each file's name and its bytes. `forget` deletes the files of a run.
    """

    def spills(self, run: str) -> Iterable[tuple[str, bytes]]: ...
    def forget(self, run: str) -> None: ...


class AbsentRegions(Protocol):
    """The regions that aren't in the settings, but in which runs of the ledger started attempts.

    `may_have` returns those regions that may have a generation (`DIGEST.NONCE`). To find them, it looks up all runs
    that name the generation, which takes a while in a large ledger. `of_run` returns those regions in which one run
    started attempts, and is fast. If no region may have a generation, because it was erased together with a person's
    data, `erased` says what it was, and when and why it was erased. Otherwise it returns None.
    """

    def may_have(self, generation: str) -> Collection[str]: ...
    def of_run(self, run: str) -> Collection[str]: ...
    def erased(self, generation: str) -> str | None: ...


TRACER = 0
"""The number of the worker that is the tracer."""


class Job(Struct, frozen=True, kw_only=True):
    """A worker to start. `role` says what it is for.

    `environment` is the worker's environment, by its name in `@stage(environment=...)` (None: the project's own). A
    worker serves one environment only (`Hello.group`).
    """

    worker: int
    resources: Resources
    role: Role = "attempt"
    environment: str | None = None


class Heard(Struct, frozen=True):
    """A message that a worker sent."""

    worker: int
    message: Up


STOPPED = "it was stopped"
"""The reason (`Died.why`) of a worker that the backend told to end, and that has ended in time."""


class Died(Struct, frozen=True):
    """A worker's process has ended. Everything that it sent has been received before this event. `kind` is one of
    `FailureKind`."""

    worker: int
    kind: Literal["crash", "memory", "lost", "timeout", "cancelled", "refused"]
    why: str
    hint: str | None = None


class Beat(Struct, frozen=True):
    """A sign that a worker is alive.

    `at` is the place of its present attempt among the attempts that it was given, counted from 0, or -1 if it has none.
    `since` is when that attempt began (Unix seconds). `pss_gib` is the worker's memory and `cpu_s` its cpu time.
    """

    worker: int
    at: int
    since: float
    pss_gib: float
    cpu_s: float


class Delayed(Struct, frozen=True):
    """A worker that was to start has to wait. `why` gives the reason, most often a lack of room. An empty `why` means
    that the worker has started.

    `is_full` is True if the pool had no room for the worker when the backend looked. If another pool of the run has
    room, the driver ends the worker and queues its attempts again. The worker may have found room meanwhile, and begun
    an attempt: this attempt ends with the worker.
    """

    worker: int
    why: str
    is_full: bool = False


class Alive(Struct, frozen=True):
    """A worker that an earlier driver started is alive, and works for this driver now.

    `attempts` are pairs (task, attempt) that it was given and has not finished, oldest first.
    `done` is how many it has finished.
    """

    job: Job
    attempts: tuple[tuple[str, int], ...]
    done: int


Notice = Heard | Died | Beat | Delayed


class Backend(Protocol):
    """The machines of a pool. The driver numbers the workers, and uses a number only once in a run.

    - `ahead_s`: how many seconds of work a worker should have queued, so that it never waits for a message.
    - `grace_s`: how many seconds an attempt has to end after `close` has told it to stop. Then it is killed.
    - `start`: begins workers. This may take long. A worker that can't be started is reported as `Died`.
    - `fileno`: returns a descriptor that is readable if `events` may have something to return. It is the same for the
      whole life of the backend. None means that the backend has no descriptor, because it is a simulation.
    - `tell`: sends messages to a worker, in order.
    - `events`: waits up to `timeout_s` seconds for something to happen, and returns all that has happened.
    - `adopt`: returns what an earlier driver of the run left: for each worker, the reports that nobody has stored, in
      order, and then the worker if it is still alive. `adopt` ends all other processes of the run that are still alive.
    - `close`: ends some workers, or all if `workers` is None, with all processes that they started. If `now` is False,
      attempts are first told to stop, and have `grace_s` seconds for it. Once all workers are closed, no process of the
      run is alive.
    - `abandon`: forgets all workers and sends them nothing, as if the driver had been killed. Running attempts end by
      themselves, and the next driver adopts them.
    """

    pool: Pool
    ahead_s: float
    grace_s: float

    def fileno(self) -> int | None: ...
    def start(self, jobs: Sequence[Job]) -> None: ...
    def tell(self, worker: int, messages: Sequence[Down]) -> None: ...
    def events(self, timeout_s: float) -> list[Notice]: ...
    def adopt(self) -> Iterable[Heard | Alive]: ...
    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None: ...
    def abandon(self) -> None: ...


class Left(Protocol):
    """The workers and reports that a run left in a pool that it no longer uses. `adopt` and `close` are as in
    `Backend`."""

    def adopt(self) -> Iterable[Heard | Alive]: ...
    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None: ...


class Clock(Protocol):
    """The time and the random numbers that the driver gives to the state machine."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def jitter(self) -> float: ...
