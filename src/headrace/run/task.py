"""A task as the machine holds it while its run lives."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.run.events import Span, TaskState
from headrace.run.ports import TaskRow
from headrace.run.spread import Spread
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.graph import Arg, Node
from headrace.spec.stage import Stage

Phase = Literal[
    "blocked",  # waits for tasks
    "probing",  # inputs known, reuse not decided
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
_encode = msgspec.msgpack.Encoder().encode
_SHOWN: dict[Phase, TaskState] = {
    "blocked": "waiting",
    "probing": "waiting",
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


class Task:
    """One task's state. Only the machine changes it.

    `ordinal` is its place in the run. An element of a mapped task has a `parent` and an `index`; a mapped task has
    `elements`, and counts in `waits` those that live, as a task that is blocked counts the tasks it waits for.
    `spread` is what its elements are made of, while they live. `failures` counts failed attempts by kind. `by_when`:
    it was skipped because its own or an earlier `when=` said no.
    """

    __slots__ = (
        "attempt",
        "by_when",
        "checkpoint",
        "code",
        "due",
        "elements",
        "failure",
        "failures",
        "index",
        "inputs",
        "key",
        "load_s",
        "log",
        "name",
        "node",
        "ordinal",
        "out",
        "parent",
        "phase",
        "pool",
        "reason",
        "save_s",
        "seconds",
        "spread",
        "stage",
        "started",
        "usd",
        "usd_per_hour",
        "waits",
        "workers",
    )

    def __init__(
        self, ordinal: int, name: str, node: Node, stage: Stage, parent: Task | None = None, index: int = -1
    ) -> None:
        self.ordinal = ordinal
        self.name = name
        self.node = node
        self.stage = stage
        self.parent = parent
        self.index = index
        self.phase: Phase = "blocked"
        self.reason = ""
        self.waits = 0
        self.elements: list[Task] | None = None
        self.spread: Spread | None = None
        self.attempt = 0
        self.failures: dict[FailureKind, int] | None = None
        self.failure: Failure | None = None
        self.by_when = False
        self.key: str | None = None
        self.code: str | None = None
        self.inputs: bytes | None = None
        self.out: Ref | None = None
        self.checkpoint: Ref | None = None
        self.due = 0.0
        self.workers: tuple[int, ...] = ()
        self.pool: str | None = None
        self.usd_per_hour = 0.0
        self.started = 0.0
        self.seconds = 0.0
        self.load_s = 0.0
        self.save_s = 0.0
        self.usd = 0.0
        self.log: Span | None = None

    @property
    def ended(self) -> bool:
        """Whether its fate is settled."""
        return self.phase in ENDED

    @property
    def good(self) -> bool:
        """Whether it has an output."""
        return self.phase in GOOD

    def spend(self, seconds: float, load_s: float = 0.0, save_s: float = 0.0) -> None:
        """Add an attempt's time, and its price, to what the task took."""
        self.seconds += seconds
        self.load_s += load_s
        self.save_s += save_s
        self.usd += (seconds + load_s + save_s) * self.usd_per_hour / 3600

    def row(self) -> TaskRow:
        """Give the projection of the task as it is now."""
        return TaskRow(
            ordinal=self.ordinal,
            name=self.name,
            stage=self.stage.name,
            kind=self.stage.kind,
            state=_SHOWN[self.phase],
            reason=self.reason,
            attempts=self.attempt,
            started=self.started,
            seconds=self.seconds,
            load_s=self.load_s,
            save_s=self.save_s,
            usd=self.usd,
            pool=self.pool,
            key=self.key,
            code=self.code,
            inputs=self.inputs,
            out=None if self.out is None else _encode(self.out),
            log=self.log,
            parent=None if self.parent is None else self.parent.name,
        )


Inputs = tuple[tuple[str, Arg], ...]
"""A task's arguments with every handle replaced by the artifact that it came to."""
