"""A task as the machine holds it while its run lives."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from headrace.run.events import Checkpointed, Lacked, Span, TaskState
from headrace.run.ports import TaskRow
from headrace.run.spread import Spread
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.graph import Arg, Node
from headrace.spec.stage import Stage

Phase = Literal[
    "blocked",  # waits for tasks
    "probing",  # inputs known, reuse not decided
    "fetching",  # inputs of other regions are on their way
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
Inputs = tuple[tuple[str, Arg], ...]
"""A task's arguments with every handle replaced by the artifact that it came to."""

_encode = msgspec.msgpack.Encoder().encode
_SHOWN: dict[Phase, TaskState] = {
    "blocked": "waiting",
    "probing": "waiting",
    "fetching": "waiting",
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


class Task(Struct, eq=False):
    """One task's state. Only the machine changes it.

    `ordinal` is its place in the run. An element of a mapped task has a `parent` and an `index`; a mapped task has
    `elements`, and counts in `waits` those that live, as a task that is blocked counts the tasks it waits for.
    `args` are its resolved arguments from when they are known until it has ended, `spread` what its elements are made
    of, while they live. `why` is the reason why it runs at all, `reason` that of the present phase; `awaits` is what
    keeps its worker from beginning. `failures` counts failed attempts by kind. `by_when`: it was skipped because its
    own or an earlier `when=` said no. `checkpoint` is the last that was kept, `earlier` the one before it; `kept` is
    the attempt that kept the last, and its number among those of that attempt.
    `region` is where its inputs are known to be, `fetches` name the transfers that are to bring those that weren't. A
    transfer has `move`, which says of what. `missed` is what it was identified by (key, code, inputs) before it was
    missed last, which no event tells, until it is launched.
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
    checkpoint: Ref | None = None
    earlier: Ref | None = None
    kept: tuple[int, int] = (0, 0)
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
    log: Span | None = None
    region: str = ""
    fetches: set[str] | None = None
    missed: tuple[str | None, str | None, bytes | None] | None = None
    move: Lacked | None = None

    @property
    def ended(self) -> bool:
        """Whether its fate is settled."""
        return self.phase in ENDED

    @property
    def good(self) -> bool:
        """Whether it has an output."""
        return self.phase in GOOD

    def identify(self, key: str, inputs: bytes) -> None:
        """Note its key; a checkpoint made under another is of no use any more."""
        if key != self.key:
            self.key, self.checkpoint, self.earlier = key, None, None
        self.inputs, self.code = inputs, self.stage.code.digest

    def keep(self, kept: Checkpointed) -> None:
        """Let the next attempt start from a checkpoint."""
        if not self.knows(kept):
            self.checkpoint, self.earlier, self.kept = kept.out, self.checkpoint, (kept.attempt, kept.number)

    def knows(self, kept: Checkpointed) -> bool:
        """Whether a checkpoint was noted before: one that was stored, and not acknowledged, is reported again."""
        return kept.number > 0 and (kept.attempt, kept.number) <= self.kept

    def forget_miss(self) -> None:
        """Be as it was before, if it was missed and never launched: events don't tell of its key."""
        if self.missed is not None:
            (self.key, self.code, self.inputs), self.missed = self.missed, None

    def spend(self, seconds: float, load_s: float = 0.0, save_s: float = 0.0) -> None:
        """Add an attempt's time, and its price, to what the task took."""
        self.seconds += seconds
        self.load_s += load_s
        self.save_s += save_s
        self.usd += (seconds + load_s + save_s) * self.usd_per_hour / 3600

    def row(self) -> TaskRow:
        """Give the projection of the task as it is now."""
        awaits = self.awaits if self.phase == "running" else ""
        return TaskRow(
            ordinal=self.ordinal,
            name=self.name,
            stage=self.stage.name,
            kind=self.stage.kind if self.move is None else "transfer",
            state="waiting" if awaits else _SHOWN[self.phase],
            reason=awaits or self.reason,
            attempts=self.attempt,
            started=self.started,
            seconds=self.seconds,
            load_s=self.load_s,
            save_s=self.save_s,
            usd=self.usd,
            pool=self.pool,
            key=self.key if self.move is None else None,
            code=self.code if self.move is None else None,
            inputs=self.inputs if self.move is None else None,
            out=None if self.out is None else _encode(self.out),
            log=self.log,
            parent=None if self.parent is None else self.parent.name,
        )
