"""What the machine wants done, and what it is told of that which needn't be stored."""

from __future__ import annotations

from msgspec import Struct

from headrace.run.events import RunState
from headrace.spec.artifact import Ref


class Probe(Struct, frozen=True, gc=False):
    """Find out whether this task's output is there already; answer with `Reused`, `Missed` or `Deferred`.

    Of each blob that the task needs and its region lacks, `Lacked` comes first, where it `is_wanted`.
    """

    task: str


class Answer(Struct, frozen=True):
    """Tell the tracer the value it asked for, or why there is none. A value that its region lacks is `Awaited`."""

    question: int
    ref: Ref | None = None
    error: str | None = None


class Stop(Struct, frozen=True):
    """End this attempt on these workers."""

    task: str
    attempt: int
    workers: tuple[int, ...]
    now: bool


class Finish(Struct, frozen=True):
    """All is done: close the run in this state."""

    state: RunState
    why: str


Command = Probe | Answer | Stop | Finish


class Missed(Struct, frozen=True, gc=False):
    """No output is there under this key, so the task has to run. Not stored: `Launched` implies it."""

    task: str
    key: str
    inputs: bytes
    why: str


class Awaited(Struct, frozen=True, gc=False):
    """What the tracer asks for is in another region: its answer waits for these transfers. Not stored."""

    question: int
    transfers: tuple[str, ...]
