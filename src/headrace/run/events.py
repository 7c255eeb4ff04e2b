"""The events of a run: what happened, in the order in which it counts.

A run is its events: the machine absorbs them one by one, the ledger stores each before it has an effect, and rows are
only a view of them. Events are stored by position, so a new field goes last and has a default.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Node, Out
from headrace.spec.intent import Intent, PointKind
from headrace.spec.policy import Policy
from headrace.spec.stage import Stage

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "refused"]
TaskState = Literal["waiting", "running", "succeeded", "reused", "failed", "skipped", "cancelled"]


class Span(Struct, frozen=True, array_like=True):
    """What an attempt printed: bytes `start` to `end` of the log that its worker writes."""

    log: str
    start: int
    end: int


class Use(Struct, frozen=True, array_like=True):
    """What an attempt used: seconds of cpu, bytes read and written, and the peak of its worker's resident memory."""

    cpu_s: float = 0.0
    peak_gib: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0


class Opened(Struct, frozen=True, array_like=True, gc=False, tag="opened"):
    """A run began: of the pipeline of this name, which one of these files of the bundle defines.

    `params` are the pipeline's parameters as the user wrote them; the tracer converts them. `labels` is how elements of
    maps are named (`plan.resolve`).
    """

    pipeline: str
    files: tuple[str, ...]
    bundle: Bundle
    at: float
    params: tuple[tuple[str, str], ...] = ()
    policy: Policy = Policy()
    headrace: str = ""
    user: str = ""
    labels: int = 1


class Taken(Struct, frozen=True, array_like=True, gc=False, tag="taken"):
    """A driver took the run's lease. `again`: what had failed, been skipped or cancelled is tried again.

    From now on attempts start in `pool`, which stands in `region`; empty where that wasn't told.
    """

    epoch: int
    holder: str
    at: float
    again: bool = False
    pool: str = ""
    region: str = ""


class Renewed(Struct, frozen=True, array_like=True, gc=False, tag="renewed"):
    """The run goes on with other code: the graph is traced afresh, in a new generation.

    `counted`: what tasks took before counts on under their names, as it didn't in runs of before.
    """

    bundle: Bundle
    at: float
    counted: bool = False


class Traced(Struct, frozen=True, array_like=True, gc=False, tag="traced"):
    """The tracer met these calls; `stages` are those not declared before.

    `codes` are the code of functions and classes that stand in the nodes' arguments, whose refs have its digest as
    their `content`: what reads them explains by them, and no key is made of them.
    """

    stages: tuple[Stage, ...]
    nodes: tuple[Node, ...]
    codes: tuple[Code, ...] = ()


class TraceEnded(Struct, frozen=True, array_like=True, gc=False, tag="trace_ended"):
    """The pipeline's body has returned: the graph is whole."""


class TraceFailed(Struct, frozen=True, array_like=True, gc=False, tag="trace_failed"):
    """The pipeline's body raised after its first good trace."""

    failure: Failure


class Asked(Struct, frozen=True, array_like=True, gc=False, tag="asked"):
    """The pipeline's body waits for a value: question `question` of this generation."""

    question: int
    out: Out


class Noted(Struct, frozen=True, array_like=True, gc=False, tag="noted"):
    """`hr.now()` was answered with this time (Unix seconds); a trace of the same run gets the same answer."""

    question: int
    now: float


class Pointed(Struct, frozen=True, array_like=True, gc=False, tag="pointed"):
    """`hr.cursor()` was answered with this version of the cursor, and its value (None: it has none yet).

    A trace of the same run gets the same answer. Versions of models and datasets are asked for likewise.
    """

    question: int
    name: str
    version: int
    value: Ref | None
    about: PointKind = "cursor"


class Reused(Struct, frozen=True, array_like=True, gc=False, tag="reused"):
    """A task's output was there already, under the same key, made by `run` (empty: by this one).

    `inputs` are the identities that the key was made of, encoded.
    """

    task: str
    key: str
    out: Ref
    run: str
    why: str
    inputs: bytes


class Launched(Struct, frozen=True, array_like=True, gc=False, tag="launched"):
    """An attempt is about to be sent to its workers (more than one when it spans nodes).

    It carries the key, and the identities that the key was made of: replay doesn't ask how another version makes them.
    `queued_s` is how long the pool had no room for it: from when this driver first looked for room.
    """

    task: str
    attempt: int
    key: str
    workers: tuple[int, ...]
    pool: str
    why: str
    inputs: bytes
    usd_per_hour: float = 0.0
    at: float = 0.0
    queued_s: float | None = None


class Awaits(Struct, frozen=True, array_like=True, gc=False, tag="awaits"):
    """An attempt that was launched waits for its worker, which can't begin yet: `why` says for what. Empty: it has."""

    task: str
    attempt: int
    why: str


class Lacked(Struct, frozen=True, array_like=True, gc=False, tag="lacked"):
    """A blob isn't in the store of the region where a task is to run: the transfer of this name is to bring it.

    `usd` is what the link between the regions asks for it; `cpu` what the pool gives an attempt to bring it.
    """

    task: str
    ref: Ref
    source: str
    target: str
    usd: float = 0.0
    cpu: float = 1.0


class Deferred(Struct, frozen=True, array_like=True, gc=False, tag="deferred"):
    """A task has to run, and waits until these transfers have brought what its region lacks of its inputs."""

    task: str
    key: str
    inputs: bytes
    why: str
    transfers: tuple[str, ...]


class Moved(Struct, frozen=True, array_like=True, gc=False, tag="moved"):
    """An attempt of a transfer has brought its blob, so many bytes, verified; `usd` is what the link asks for them."""

    task: str
    attempt: int
    size: int
    started: float
    seconds: float
    usd: float = 0.0


class Recalled(Struct, frozen=True, array_like=True, gc=False, tag="recalled"):
    """An attempt that had not begun is taken back: it waited behind one that takes long."""

    task: str
    attempt: int


class Succeeded(Struct, frozen=True, array_like=True, gc=False, tag="succeeded"):
    """An attempt gave its output. `seconds` are those of the user's code; `unreusable` says why nobody may reuse it.

    `saw` are the identities of inputs that turned out to be others than those of the key: what may be reused is stored
    under the key with these. `intents` are applied in the transaction that stores this.
    """

    task: str
    attempt: int
    out: Ref
    started: float
    seconds: float
    load_s: float = 0.0
    save_s: float = 0.0
    log: Span | None = None
    use: Use | None = None
    unreusable: str | None = None
    saw: tuple[tuple[str, str], ...] = ()
    intents: tuple[Intent, ...] = ()


class Failed(Struct, frozen=True, array_like=True, gc=False, tag="failed"):
    """An attempt failed. `jitter`, drawn from 0 to 1 by whoever writes this, spreads the retries."""

    task: str
    attempt: int
    failure: Failure
    at: float
    started: float = 0.0
    seconds: float = 0.0
    log: Span | None = None
    use: Use | None = None
    jitter: float = 0.0


class Checkpointed(Struct, frozen=True, array_like=True, gc=False, tag="checkpointed"):
    """An attempt kept a checkpoint; the next attempt starts from it.

    `number` counts those of an attempt, from 1, so that one that is reported again is known; a worker of before said 0.
    """

    task: str
    attempt: int
    out: Ref
    number: int = 0


class Points(Struct, frozen=True, array_like=True, gc=False):
    """Points of one curve, in the order in which they were logged, as columns of little-endian numbers.

    `steps` are 64-bit integers, `values` 64-bit floats (NaN and infinities too), `after` the seconds from the event's
    `at` on, as 32-bit floats.
    """

    name: str
    steps: bytes
    values: bytes
    after: bytes


class Shown(Struct, frozen=True, array_like=True, gc=False):
    """A text or a figure that was logged (Unix seconds)."""

    name: str
    step: int
    at: float
    out: Ref


class Logged(Struct, frozen=True, array_like=True, gc=False, tag="logged"):
    """What an attempt has logged (`hr.log`) since its last such event. `at`: since when (Unix seconds)."""

    task: str
    attempt: int
    at: float
    points: tuple[Points, ...] = ()
    texts: tuple[Shown, ...] = ()
    figures: tuple[Shown, ...] = ()


class Woke(Struct, frozen=True, array_like=True, gc=False, tag="woke"):
    """This much time has come (Unix seconds): retries that were due go on."""

    at: float


class Cancelled(Struct, frozen=True, array_like=True, gc=False, tag="cancelled"):
    """Somebody wants the run to end. `now`: don't wait for attempts to stop by themselves."""

    by: str
    why: str
    at: float
    now: bool = False


class Told(Struct, frozen=True, array_like=True, gc=False, tag="told"):
    """Somebody wants an attempt to end early, with what it has by then; whether it does is its stage's own affair."""

    task: str
    attempt: int
    by: str
    at: float


class Closed(Struct, frozen=True, array_like=True, gc=False, tag="closed"):
    """The run ended in this state."""

    state: RunState
    at: float
    why: str = ""


Event = (
    Opened
    | Taken
    | Renewed
    | Traced
    | TraceEnded
    | TraceFailed
    | Asked
    | Noted
    | Pointed
    | Reused
    | Launched
    | Awaits
    | Lacked
    | Deferred
    | Moved
    | Recalled
    | Succeeded
    | Failed
    | Checkpointed
    | Logged
    | Woke
    | Cancelled
    | Told
    | Closed
)

encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode
