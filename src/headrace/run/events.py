"""The events of a run: what happened, in the order in which it is processed.

A run consists of its events. The state machine processes them one by one, the ledger stores each event before it has an
effect, and rows are only a view of the events. An event is stored as the list of its fields, without their names. So a
new field goes last and has a default.
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
from headrace.spec.noun import stored
from headrace.spec.policy import Policy
from headrace.spec.stage import Stage

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "refused"]
TaskState = Literal["waiting", "running", "succeeded", "reused", "failed", "skipped", "cancelled"]


class Span(Struct, frozen=True, array_like=True):
    """The place of an attempt's printed output: the bytes from `start` to `end` of its worker's log."""

    log: str
    start: int
    end: int


class Use(Struct, frozen=True, array_like=True):
    """The resources that an attempt used: seconds of cpu, bytes read and written, and the peak of its worker's resident
    memory."""

    cpu_s: float = 0.0
    peak_gib: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0


class Opened(Struct, frozen=True, array_like=True, gc=False, tag="opened"):
    """A run of the named pipeline began. `files` are files in the bundle; one of them defines the pipeline.

    `params` are the pipeline's parameters as the user wrote them; the tracer converts them. `labels` is the version of
    the rules for naming elements of mapped tasks (`plan.resolve`).
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
    """A driver took the run's lease. If `again` is True,
    tasks that had failed or been skipped or cancelled are tried again.

    From now on attempts start in the pool `pool`, which is in the region `region`. `pool` and `region` are empty if
    unknown. If the run uses several pools, `others` are the names and regions of the other ones, and `pool` is the one
    that the pipeline is traced in.
    """

    epoch: int
    holder: str
    at: float
    again: bool = False
    pool: str = ""
    region: str = ""
    others: tuple[tuple[str, str], ...] = ()


class Renewed(Struct, frozen=True, array_like=True, gc=False, tag="renewed"):
    """The run got new code: its graph is traced again from the start.

    If `counted` is True, the time and cost of earlier tasks are still counted, under the tasks' names. `counted` is
    False in runs that an older Headrace recorded.
    """

    bundle: Bundle
    at: float
    counted: bool = False


class Traced(Struct, frozen=True, array_like=True, gc=False, tag="traced"):
    """The tracer met these calls of stages. `stages` are the stages that were not declared earlier in this trace.

    `codes` holds the code of functions and classes that are arguments of the nodes. The reference of such an argument
    has the digest of its code in the field `content`. `codes` is used only for explanations, not for keys.
    """

    stages: tuple[Stage, ...]
    nodes: tuple[Node, ...]
    codes: tuple[Code, ...] = ()


class TraceEnded(Struct, frozen=True, array_like=True, gc=False, tag="trace_ended"):
    """The pipeline's body has returned: the graph is complete."""


class TraceFailed(Struct, frozen=True, array_like=True, gc=False, tag="trace_failed"):
    """The pipeline's body raised an exception after its first good trace."""

    failure: Failure


class Asked(Struct, frozen=True, array_like=True, gc=False, tag="asked"):
    """The pipeline's body waits for a value. `question` is the number of this question in this trace."""

    question: int
    out: Out


class Noted(Struct, frozen=True, array_like=True, gc=False, tag="noted"):
    """`hr.now()` was answered with this time (Unix seconds). Another trace of the same run gets the same answer."""

    question: int
    now: float


class Pointed(Struct, frozen=True, array_like=True, gc=False, tag="pointed"):
    """The body asked for a cursor, for a version of a model or dataset, or for predictions, and got this version and
    value as the answer. `value` is None if there is no value yet.

    Another trace of the same run gets the same answer. `about` says what the body asked for.
    """

    question: int
    name: str
    version: int
    value: Ref | None
    about: PointKind = "cursor"


class Reused(Struct, frozen=True, array_like=True, gc=False, tag="reused"):
    """A task was given an output that already existed under its key. `run` is the run that made the output; an empty
    `run` means this run.

    `inputs` are the encoded identities from which the key was made.
    """

    task: str
    key: str
    out: Ref
    run: str
    why: str
    inputs: bytes


class Placed(Struct, frozen=True, array_like=True, gc=False, tag="placed"):
    """The next attempt of a task goes to `pool`, a pool in the region `region`, for the reason `why`. Only runs that
    use several pools have this event. If `pool` is empty, none of the pools that still answer may run the task, so the
    task fails.
    """

    task: str
    pool: str
    region: str
    why: str


class Gone(Struct, frozen=True, array_like=True, gc=False, tag="gone"):
    """A pool of the run doesn't answer any more, or didn't from the start, for the reason `why`. The run goes on
    without it until another driver takes the run."""

    pool: str
    why: str
    at: float


class Launched(Struct, frozen=True, array_like=True, gc=False, tag="launched"):
    """An attempt is about to be sent to its worker, or to several workers if it spans nodes.

    The key, and the identities from which it was made (`inputs`), are stored because another version of Headrace may
    compute them in another way: a replay uses the stored ones. `queued_s` is how many seconds the pool had no room for
    the attempt, since this driver first looked for room.
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
    """A launched attempt waits for its worker, which can't begin yet for the reason in `why`. An empty `why` means that
    the worker has begun."""

    task: str
    attempt: int
    why: str


class Lacked(Struct, frozen=True, array_like=True, gc=False, tag="lacked"):
    """A blob is missing in the store of the region where a task is to run. The transfer named `task` is to copy the
    blob there.

    `usd` is the price of the copy on the link between the regions. `cpu` is how many cores the pool gives to an attempt
    of the transfer.
    """

    task: str
    ref: Ref
    source: str
    target: str
    usd: float = 0.0
    cpu: float = 1.0


class Deferred(Struct, frozen=True, array_like=True, gc=False, tag="deferred"):
    """A task has to run, and waits until these transfers have copied its missing inputs to its region."""

    task: str
    key: str
    inputs: bytes
    why: str
    transfers: tuple[str, ...]


class Moved(Struct, frozen=True, array_like=True, gc=False, tag="moved"):
    """An attempt of a transfer has copied and verified its blob of `size` bytes.
    `usd` is the price of the copy on the link."""

    task: str
    attempt: int
    size: int
    started: float
    seconds: float
    usd: float = 0.0


class Recalled(Struct, frozen=True, array_like=True, gc=False, tag="recalled"):
    """An attempt was taken back, to be queued again. If `full` is True, its pool had no room for one of its workers,
    and another pool had room. Otherwise, it waited on its worker behind an attempt that takes long. If some of its
    workers had already begun, their work doesn't count."""

    task: str
    attempt: int
    full: bool = False


class Succeeded(Struct, frozen=True, array_like=True, gc=False, tag="succeeded"):
    """An attempt saved its task's output. `seconds` is the time of the user's code.

    `unreusable` says why no other run may reuse the output; None means that other runs may. `saw` are the identities of
    inputs that turned out to differ from those in the key. The output is stored for reuse under a key that is made with
    the identities in `saw`. `intents` are applied in the transaction that stores this event.
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
    """An attempt failed. `jitter` is a random number from 0 to 1 that spreads retries over time. The process that
    writes this event draws the number."""

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
    """An attempt saved a checkpoint, from which the next attempt starts.

    `number` counts the checkpoints of an attempt from 1, so that a checkpoint that is reported twice is recognised. It
    is 0 in events from workers of older versions.
    """

    task: str
    attempt: int
    out: Ref
    number: int = 0


class Points(Struct, frozen=True, array_like=True, gc=False):
    """Points of one curve, in the order in which they were logged, as columns of little-endian numbers.

    `steps` are 64-bit integers. `values` are 64-bit floats, NaN and infinities included. `after` are seconds since the
    `at` of the event `Logged` that holds the points, as 32-bit floats.
    """

    name: str
    steps: bytes
    values: bytes
    after: bytes


class Shown(Struct, frozen=True, array_like=True, gc=False):
    """A text or a figure that was logged. `at` is the time (Unix seconds)."""

    name: str
    step: int
    at: float
    out: Ref


class Logged(Struct, frozen=True, array_like=True, gc=False, tag="logged"):
    """The values that an attempt logged with `hr.log` since its previous event of this type. `at` is the beginning of
    the time that this event covers (Unix seconds)."""

    task: str
    attempt: int
    at: float
    points: tuple[Points, ...] = ()
    texts: tuple[Shown, ...] = ()
    figures: tuple[Shown, ...] = ()


class Submitted(Struct, frozen=True, array_like=True, gc=False, tag="submitted"):
    """A task has to run, and waits until somebody approves what it is about to do. `key` is the task's key, which is
    made from its code and inputs. `why` says why the task has to run."""

    task: str
    key: str
    inputs: bytes
    why: str
    at: float


class Approved(Struct, frozen=True, array_like=True, gc=False, tag="approved"):
    """Somebody allowed the task to run with this key."""

    task: str
    key: str
    by: str
    why: str
    at: float


class Rejected(Struct, frozen=True, array_like=True, gc=False, tag="rejected"):
    """Somebody didn't allow the task to run with this key."""

    task: str
    key: str
    by: str
    why: str
    at: float


class Expired(Struct, frozen=True, array_like=True, gc=False, tag="expired"):
    """The time for an approval is over, and nobody has allowed the task to run with this key."""

    task: str
    key: str
    at: float


class Woke(Struct, frozen=True, array_like=True, gc=False, tag="woke"):
    """The time `at` (Unix seconds) has come: tasks whose retry was due by then are queued again."""

    at: float


class Cancelled(Struct, frozen=True, array_like=True, gc=False, tag="cancelled"):
    """Somebody asked the run to end. If `now` is True, attempts are not given time to stop by themselves."""

    by: str
    why: str
    at: float
    now: bool = False


class Told(Struct, frozen=True, array_like=True, gc=False, tag="told"):
    """Somebody asked an attempt to end early, with the result that it has so far. The stage's code decides whether the
    attempt does so."""

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
    | Placed
    | Gone
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
    | Submitted
    | Approved
    | Rejected
    | Expired
    | Woke
    | Cancelled
    | Told
    | Closed
)

encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode
stored_event = stored(decode_event, "a stored event")
"""Return the event that these bytes of the ledger encode, or raise `RecordDamaged`."""
