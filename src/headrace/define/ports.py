"""What tracing and user code need of whoever runs them, found in a context variable."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from headrace.spec.artifact import Ref
from headrace.spec.graph import Node, Out
from headrace.spec.stage import Stage


class Resolver(Protocol):
    """Takes what the trace meets, and answers what the pipeline's body asks."""

    def declare(self, stage: Stage, function: Any) -> Stage:
        """Give the stage with the code that its function reaches."""
        ...

    def extend(self, stages: list[Stage], nodes: list[Node]) -> None:
        """Take more of the graph."""
        ...

    def keep(self, value: object) -> Ref:
        """Keep a value that is given as an argument."""
        ...

    def value(self, out: Out) -> object:
        """Run what has been traced so far and give a task's output.

        Raises:
            TaskFailed: there is none.
        """
        ...

    def now(self) -> float:
        """Give the time (Unix seconds), the same at each trace of a run."""
        ...


class Attempt(Protocol):
    """The attempt that runs, as the stage's own code sees it."""

    @property
    def number(self) -> int:
        """1 for a task's first attempt."""
        ...

    @property
    def rank(self) -> int:
        """This process's place among the nodes that the attempt spans, from 0."""
        ...

    @property
    def nodes(self) -> int:
        """How many nodes the attempt spans."""
        ...

    def checkpoint(self) -> object | None:
        """Give the last checkpoint that an earlier attempt of this task kept, or None."""
        ...

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint for the next attempt, should this one fail."""
        ...

    def told(self) -> Literal["stop", "prune", "checkpoint"] | None:
        """Give the next word from the driver, if there is one."""
        ...


class Tracer(Protocol):
    """A trace that goes on: stage calls become tasks of it. `pipelines` are being wired, the outermost first."""

    pipelines: list[str]

    def call(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Add a task for a stage call; give a handle to its output."""
        ...

    def map(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        """Add a mapped task; give a handle to the list of its outputs."""
        ...

    def flush(self) -> None:
        """Hand on what has been gathered."""
        ...


resolver: ContextVar[Resolver | None] = ContextVar("headrace_resolver", default=None)
tracing: ContextVar[Tracer | None] = ContextVar("headrace_trace", default=None)
running: ContextVar[Attempt | None] = ContextVar("headrace_attempt", default=None)
