"""The state of a task while its run is alive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from headrace.plan.resolve import labels
from headrace.run.events import Lacked, Launched, Span, TaskState
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.graph import Arg, Node
from headrace.spec.stage import Resources, Stage

Phase = Literal[
    "blocked",  # waits for tasks
    "probing",  # inputs known, reuse not decided
    "fetching",  # inputs of other regions are on their way
    "asking",  # waits until somebody approves it
    "ready",  # to be launched
    "running",  # launched
    "resting",  # failed, waits for its next attempt
    "spread",  # a mapped task whose elements live
    "succeeded",
    "reused",
    "failed",
    "skipped",
    "cancelled",
]
GOOD: frozenset[Phase] = frozenset(("succeeded", "reused"))
ENDED: frozenset[Phase] = frozenset(("succeeded", "reused", "failed", "skipped", "cancelled"))
MOVING: frozenset[Phase] = frozenset(("probing", "fetching", "ready", "running", "resting"))
"""The phases in which a task goes on by itself, without anybody outside."""
Inputs = tuple[tuple[str, Arg], ...]
"""A task's arguments by parameter, with artifacts in place of the outputs of other tasks."""

_encode = msgspec.msgpack.Encoder().encode
_SHOWN: dict[Phase, TaskState] = {
    "blocked": "waiting",
    "probing": "waiting",
    "fetching": "waiting",
    "asking": "waiting",
    "ready": "waiting",
    "running": "running",
    "resting": "waiting",
    "spread": "running",
    "succeeded": "succeeded",
    "reused": "reused",
    "failed": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}


Lane = tuple[Resources, tuple[str, ...] | None, bool]
"""What tasks of one queue have in common: their need, the pools that they may start in, and whether they are on their
way to a certain pool. Tasks on their way never wait behind other tasks, since room is kept for them."""


class Spread:
    """The lists whose items become the elements of a mapped task, and the arguments that all elements share. The lists
    and these arguments are resolved once for all elements."""

    __slots__ = ("_lists", "_names", "_shared")

    def __init__(self, names: Sequence[str], lists: Mapping[str, Sequence[Arg]], shared: Mapping[str, Arg]) -> None:
        self._names = [name for name in names if name in lists or name in shared]
        self._lists = lists
        self._shared = shared

    def labels(self, task: str, how: int) -> list[str]:
        """Return the names of the elements. `how` is the version of the naming rules that the run began with."""
        return labels(task, self._lists, how)

    def row(self, index: int) -> tuple[tuple[str, Arg], ...]:
        """Return the arguments of one element, in the order of the call."""
        lists, shared = self._lists, self._shared
        return tuple([(name, lists[name][index] if name in lists else shared[name]) for name in self._names])


class Spent(Struct, frozen=True):
    """The times and costs of a task's attempts so far, and where and when the last attempt ran."""

    started: float
    seconds: float
    load_s: float
    save_s: float
    usd: float
    pool: str | None
    log: Span | None


class Task(Struct, eq=False):
    """The state of one task. Only the state machine changes it.

    - `ordinal`: its place in the run.
    - `parent`, `index`: for an element of a mapped task, that task and the place in it.
    - `elements`: for a mapped task, its elements.
    - `waits`: for a mapped task, how many of its elements have not ended; for a blocked task, how many of the tasks
      that it waits for have not ended.
    - `args`: its resolved arguments, from the time when these are known until the task ends.
    - `spread`: for a mapped task, the arguments of its elements, until all elements have ended.
    - `why`: the reason why it has to run; `reason` is the reason for its present phase.
    - `awaits`: what keeps its worker from beginning.
    - `failures`: the number of failed attempts by kind.
    - `by_when`: True if it was skipped because its own `when=`, or that of a task before it, was false.
    - `where`: the names of the pools that it may start in, the best one first; None means any, or not known yet.
    - `barred`: the reason why it may not start in the run's other pools, or tries them last.
    - `left`: the pool from which its last attempt was taken back because the pool was full; otherwise empty.
    - `placed`: the pool that its next attempt was placed in, from then until the attempt starts; otherwise empty.
    - `placed_why`: the reason why that attempt was placed there.
    - `pool_reason`: the reason why its last attempt that started was placed in its pool.
    - `lane`: the queue of ready tasks that it is in, or None.
    - `region`: the region in which its inputs are known to be; None if nobody has looked for them.
    - `fetches`: the names of transfers that copy missing inputs to that region.
    - `refused`: True if it was skipped because its approval was refused, or was not given in time.
    - `move`: for a transfer, which blob it copies; None for other tasks.
    - `missed`: the key, code and inputs that it had before its last `Missed`. They are kept until the task is launched,
      because `Missed` is not stored as an event.
    """

    ordinal: int
    name: str
    node: Node
    stage: Stage
    parent: Task | None = None
    index: int = -1
    phase: Phase = "blocked"
    reason: str = ""
    why: str = ""
    waits: int = 0
    elements: list[Task] | None = None
    spread: Spread | None = None
    args: Inputs | None = None
    attempt: int = 0
    failures: dict[FailureKind, int] | None = None
    failure: Failure | None = None
    by_when: bool = False
    key: str | None = None
    code: str | None = None
    inputs: bytes | None = None
    out: Ref | None = None
    due: float = 0.0
    workers: tuple[int, ...] = ()
    awaits: str = ""
    pool: str | None = None
    usd_per_hour: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    load_s: float = 0.0
    save_s: float = 0.0
    usd: float = 0.0
    queued_s: float | None = None
    log: Span | None = None
    where: tuple[str, ...] | None = None
    barred: str = ""
    left: str = ""
    placed: str = ""
    placed_why: str = ""
    pool_reason: str | None = None
    lane: Lane | None = None
    region: str | None = None
    fetches: set[str] | None = None
    missed: tuple[str | None, str | None, bytes | None] | None = None
    move: Lacked | None = None
    refused: bool = False

    @property
    def ended(self) -> bool:
        """Whether the task has ended."""
        return self.phase in ENDED

    @property
    def good(self) -> bool:
        """Whether the task has an output."""
        return self.phase in GOOD

    @property
    def choice(self) -> tuple[str, ...] | None:
        """The names of the pools that its next attempt may start in, the best first; None means any pool of the run. A
        task that was placed in a pool starts in another one only if this pool has no room."""
        if not self.placed:
            return self.where
        return (self.placed, *(name for name in self.where or () if name != self.placed))

    def identify(self, key: str, inputs: bytes) -> None:
        """Set the task's key, and the inputs and the code that the key was made from."""
        self.key, self.inputs, self.code = key, inputs, self.stage.code.digest

    def forget_miss(self) -> None:
        """If the task had a `Missed` and was not launched after that, restore the key, code and inputs from before the
        `Missed`.

        A `Missed` is not stored, so a replay would not have its key.
        """
        if self.missed is not None:
            (self.key, self.code, self.inputs), self.missed = self.missed, None

    def launch(self, launched: Launched, region: str) -> None:
        """Note an attempt that was given to workers of a pool in this region."""
        self.attempt, self.missed = launched.attempt, None
        self.identify(launched.key, launched.inputs)
        self.workers, self.pool, self.region = launched.workers, launched.pool, region
        self.awaits = self.left = ""
        self.usd_per_hour, self.started, self.reason = launched.usd_per_hour, launched.at, launched.why
        self.why = self.why or launched.why
        if launched.queued_s is not None:
            self.queued_s = (self.queued_s or 0.0) + launched.queued_s

    def prefer_others(self) -> bool:
        """Move the pool of the last attempt to the end of the pools that the next attempt may start in. Return whether
        this changes their order."""
        before = self.where
        self.where = self.where and tuple(sorted(self.where, key=lambda name: name == self.pool))
        return self.where != before

    def sum_up(self, elements: Sequence[Task]) -> None:
        """Set the times and the cost of a mapped task to the sums over its elements."""
        self.seconds = sum(element.seconds for element in elements)
        self.load_s = sum(element.load_s for element in elements)
        self.save_s = sum(element.save_s for element in elements)
        self.usd = sum(element.usd for element in elements)
        self.queued_s = _sum([element.queued_s for element in elements])

    def spend(self, seconds: float, load_s: float = 0.0, save_s: float = 0.0) -> None:
        """Add the time and the price of an attempt to those of the task."""
        self.seconds += seconds
        self.load_s += load_s
        self.save_s += save_s
        self.usd += (seconds + load_s + save_s) * self.usd_per_hour / 3600

    @property
    def spent(self) -> Spent:
        """The times and costs of the task's attempts so far."""
        return Spent(self.started, self.seconds, self.load_s, self.save_s, self.usd, self.pool, self.log)

    def go_on_from(self, spent: Spent) -> None:
        """Begin with the times and costs of an earlier task of the same name."""
        self.started, self.seconds, self.load_s, self.save_s = spent.started, spent.seconds, spent.load_s, spent.save_s
        self.usd, self.pool, self.log = spent.usd, spent.pool, spent.log

    @property
    def _only_asks(self) -> bool:
        """Whether this is a map, and all of its elements that have not ended wait until somebody approves them."""
        if self.phase != "spread" or self.stage.approval is None:
            return False
        return all(element.phase == "asking" or element.ended for element in self.elements or ())

    def row(self) -> TaskRow:
        """Return the ledger's row of the task in its present state."""
        awaits = self.awaits if self.phase == "running" else ""
        return TaskRow(
            ordinal=self.ordinal,
            name=self.name,
            stage=self.stage.name,
            kind=self.stage.kind if self.move is None else "transfer",
            state="waiting" if awaits or self._only_asks else _SHOWN[self.phase],
            reason=awaits or self.reason,
            attempts=self.attempt,
            started=self.started,
            seconds=self.seconds,
            load_s=self.load_s,
            save_s=self.save_s,
            usd=self.usd,
            pool=self.pool,
            pool_reason=self.pool_reason,
            queued_s=self.queued_s,
            key=self.key if self.move is None else None,
            code=self.code if self.move is None else None,
            inputs=self.inputs if self.move is None else None,
            out=None if self.out is None else _encode(self.out),
            log=self.log,
            parent=None if self.parent is None else self.parent.name,
        )


def _sum(numbers: Sequence[float | None]) -> float | None:
    """Return the sum of the numbers that are known, or None if no number is known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
