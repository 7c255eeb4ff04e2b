"""What tracing and user code need of whoever runs them, found in a context variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from headrace.spec.artifact import Ref
from headrace.spec.graph import Node, Out
from headrace.spec.intent import Intent, PointKind
from headrace.spec.stage import Stage

T = TypeVar("T")


class Resolver(Protocol):
    """Takes what the trace meets, and answers what the pipeline's body asks."""

    def declare(self, stage: Stage, function: Any) -> Stage:
        """Return the stage with the code that its function reaches."""
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
        """Return the time (Unix seconds), the same at each trace of a run."""
        ...

    def point(self, about: PointKind, name: str) -> tuple[int, Ref | None]:
        """Return a cursor's latest version, or the version of a model or dataset that a name means, and its artifact:
        the same at each trace of a run. It is 0 where there is none."""
        ...

    def load(self, ref: Ref) -> object:
        """Return an artifact's value."""
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

    def meet(self, said: str) -> tuple[str, ...]:
        """Say a word to the other nodes that the attempt spans; return what each of them says, by rank, once all
        have."""
        ...

    def checkpoint(self) -> object | None:
        """Return the last checkpoint that an earlier attempt of this task kept, or None; if the store has lost or
        damaged it since, the one before it.

        Raises:
            BlobMissing, BlobDamaged: that one too.
        """
        ...

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint for the next attempt, should this one fail: a value, or what `artifact` made of one.

        A large one can be made an artifact in a thread, while the stage goes on; it is kept in the stage's own.
        """
        ...

    def told(self) -> Literal["stop", "prune", "checkpoint"] | None:
        """Return the next word from the driver, if there is one."""
        ...

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Log a number, text or figure under a name."""
        ...

    def saw(self, **inputs: object) -> None:
        """Say what a parameter's value really was: what the stage gives is stored under the key with that value."""
        ...

    def shortened(self, why: str) -> None:
        """Say that less was done than was asked for, and why: what the stage gives is then reused by no other run."""
        ...

    def ref(self, parameter: str) -> Ref | None:
        """Return the artifact of an argument; None for one that wasn't given or isn't a single one, or outside a
        run."""
        ...

    @property
    def credentials(self) -> Mapping[str, str]:
        """What clouds' buckets are opened with here, by the names of their variables: stages don't see these."""
        ...

    @property
    def project(self) -> Path | None:
        """The folder of the project, against which local paths are resolved; None where this host hasn't got it."""
        ...

    def artifact(self, value: object) -> Ref:
        """Make a value an artifact of the run's."""
        ...

    def stored(self, value: T) -> T:
        """Keep a value in the store now, and give it back as it lies there: a table is then memory-mapped.

        For what is too much for memory: a table made piece by piece, each piece stored, is given out as a `Joined` of
        them, and none is written again.
        """
        ...

    def intend(self, intent: Intent) -> None:
        """Ask for a change of Headrace's own state, applied in the transaction that records the attempt's success."""
        ...


class Tracer(Protocol):
    """A trace that goes on: stage calls become tasks of it. `pipelines` are being wired, the outermost first."""

    pipelines: list[str]

    def call(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Add a task for a stage call; return a handle to its output."""
        ...

    def map(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        """Add a mapped task; return a handle to the list of its outputs."""
        ...

    def flush(self) -> None:
        """Hand on what has been gathered."""
        ...


resolver: ContextVar[Resolver | None] = ContextVar("headrace_resolver", default=None)
tracing: ContextVar[Tracer | None] = ContextVar("headrace_trace", default=None)
running: ContextVar[Attempt | None] = ContextVar("headrace_attempt", default=None)
declared: ContextVar[Mapping[str, Any] | None] = ContextVar("headrace_options", default=None)


class Present:
    """The attempt of this process, as threads of the stage's own see it: they begin without context variables."""

    attempt: Attempt | None = None


present = Present()


def current() -> Attempt | None:
    """Return the attempt that runs this code, or None outside of one."""
    return running.get() or present.attempt
