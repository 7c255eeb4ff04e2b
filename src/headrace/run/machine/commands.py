"""The commands that the state machine gives to the driver, and two of the driver's answers, `Missed` and `Awaited`. The
state machine processes these two like events, but they are not stored."""

from __future__ import annotations

from msgspec import Struct

from headrace.run.events import RunState
from headrace.spec.artifact import Ref


class Probe(Struct, frozen=True, gc=False):
    """Find out whether this task's output already exists; answer with `Reused`, `Missed` or `Deferred`.

    The region may lack blobs that the task needs. For each of them, send `Lacked` first if `Transfers.is_wanted` is
    true for the blob.
    """

    task: str


class Ask(Struct, frozen=True, gc=False):
    """Record by `Submitted` that this task waits for somebody's approval, and since when."""

    task: str


class Answer(Struct, frozen=True):
    """Send the tracer the value that it asked for, or the reason why there is no value.

    If the value is missing in the tracer's region, the driver sends `Awaited` to the state machine instead.
    """

    question: int
    ref: Ref | None = None
    error: str | None = None


class Stop(Struct, frozen=True):
    """End this attempt on these workers. If `now` is False, the attempt is asked to stop first."""

    task: str
    attempt: int
    workers: tuple[int, ...]
    now: bool


class Finish(Struct, frozen=True):
    """Everything is done: close the run in this state."""

    state: RunState
    why: str


Command = Probe | Ask | Answer | Stop | Finish


class Missed(Struct, frozen=True, gc=False):
    """No output exists under this key, so the task has to run. `Missed` is not stored, because the later `Launched`
    implies it.

    `where` are the names of the pools that the task may start in, the best one first; None means any pool of the run.
    `barred` says why it may not start in the other pools. If `located` is False, it isn't known yet whether the task's
    inputs are in the region of the pool that it will start in.
    """

    task: str
    key: str
    inputs: bytes
    why: str
    where: tuple[str, ...] | None = None
    barred: str = ""
    located: bool = True


class Awaited(Struct, frozen=True, gc=False):
    """A value that the tracer asked for is in another region, so the answer waits for these transfers. `Awaited` is not
    stored."""

    question: int
    transfers: tuple[str, ...]
