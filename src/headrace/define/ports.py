"""The interfaces through which a trace and users' code reach the process that runs them. Context variables hold the
objects that are behind these interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Node, Out
from headrace.spec.intent import Intent, PointKind
from headrace.spec.stage import Stage

T = TypeVar("T")


class Resolver(Protocol):
    """Receives the graph that a trace makes. Also answers a pipeline's body when it asks for a task's output, for the
    time, or for a cursor, model or dataset."""

    def declare(self, stage: Stage, function: Any) -> Stage:
        """Return the stage, completed with the fingerprint of the code that `function` uses."""
        ...

    def extend(self, stages: list[Stage], nodes: list[Node]) -> None:
        """Add stages and nodes to the graph of the run."""
        ...

    def keep(self, value: object) -> Ref:
        """Store a value that is an argument of a stage call, and return its artifact."""
        ...

    def value(self, out: Out) -> object:
        """Run the tasks traced so far, and return a task's output.

        Raises:
            TaskFailed: the task failed or was skipped.
        """
        ...

    def now(self) -> float:
        """Return the time in Unix seconds. If the pipeline is traced again in the same run, the answer is the same."""
        ...

    def point(self, about: PointKind, name: str) -> tuple[int, Ref | None]:
        """Return the version number and the artifact of a cursor, model or dataset, or of predictions. If the pipeline
        is traced again in the same run, the answer is the same.

        For a cursor, return the latest version; for a model or dataset, the version that `name` means. For predictions,
        return the number of the last part, and the list of the parts' tables. If there is none, return 0 and None.
        """
        ...

    def load(self, ref: Ref) -> object:
        """Return an artifact's value."""
        ...


class Attempt(Protocol):
    """The running attempt, as the stage's code sees it."""

    @property
    def task(self) -> str:
        """The name of the task, which is the same for all its attempts, also those of a resumed run."""
        ...

    @property
    def number(self) -> int:
        """The number of this attempt, counted from 1 for a task's first attempt."""
        ...

    @property
    def rank(self) -> int:
        """The rank of this process's node among the nodes of the attempt, counted from 0."""
        ...

    @property
    def nodes(self) -> int:
        """The number of nodes that the attempt spans."""
        ...

    def meet(self, said: str) -> tuple[str, ...]:
        """Send a message to the attempt's other nodes, wait until all nodes have sent theirs, and return all messages
        in order of rank."""
        ...

    def checkpoint(self) -> object | None:
        """Return the last checkpoint that an earlier attempt of this task kept, or None if there is none.

        If that checkpoint is missing or damaged in the store, the one before it is returned.

        Raises:
            BlobMissing, BlobDamaged: the checkpoint before the last one is missing or damaged too.
        """
        ...

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint, from which the next attempt can start if this one fails.

        `checkpoint` is a value, or the reference that `artifact` returned for a value. If the value is large, call
        `artifact` in another thread while the stage continues, then call `keep` in the stage's own thread.
        """
        ...

    def told(self) -> Literal["stop", "prune", "checkpoint"] | None:
        """Return the driver's next request to this attempt, or None if there is none."""
        ...

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Log a number, text or figure under a name."""
        ...

    def saw(self, **inputs: object) -> None:
        """Report the values that parameters really had, such as the version of a source that was read. The output is
        stored under the key with these values."""
        ...

    def shortened(self, why: str) -> None:
        """Report that the stage did less than was asked for, and why. No other run then reuses its output."""
        ...

    def ref(self, parameter: str) -> Ref | None:
        """Return the artifact of an argument. Return None if the argument wasn't given or isn't a single artifact, or
        if the stage is called outside a run."""
        ...

    def load(self, ref: Ref) -> object:
        """Return the value of an artifact, such as one that `ref` returned for a parameter that isn't loaded."""
        ...

    @property
    def credentials(self) -> Mapping[str, str]:
        """The credentials for cloud buckets, by the names of their environment variables. A stage's own environment
        doesn't have these variables."""
        ...

    @property
    def project(self) -> Path | None:
        """The project's folder, to which local paths are relative; None if this machine doesn't have it."""
        ...

    def artifact(self, value: object) -> Ref:
        """Store a value as an artifact of the run, and return its reference."""
        ...

    def stored(self, value: T) -> T:
        """Store a value now, and return it as loaded from the store: a table is then memory-mapped.

        Use this for a table that is too large for memory: make it piece by piece, store each piece, and let the stage
        return all pieces as one `codec.joined.Joined`. The pieces aren't written a second time.
        """
        ...

    def sign(self, model: object, signature: bytes) -> None:
        """Store a model's signature with the model's artifact, when the stage returns the model."""
        ...

    def intend(self, intent: Intent) -> None:
        """Ask for a new value of a cursor, or a new version of a model or dataset. The transaction that records the
        attempt's success also makes this change."""
        ...


class Tracer(Protocol):
    """A trace in progress, to which each stage call adds a task. `pipelines` are the names of the pipelines whose
    functions are being called, the outermost first."""

    pipelines: list[str]

    def call(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Add a task for a stage call; return a handle to its output."""
        ...

    def map(self, stage: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        """Add a mapped task; return a handle to the list of its outputs."""
        ...

    def flush(self) -> None:
        """Pass the stages and nodes gathered so far to the resolver."""
        ...


resolver: ContextVar[Resolver | None] = ContextVar("headrace_resolver", default=None)
tracing: ContextVar[Tracer | None] = ContextVar("headrace_trace", default=None)
running: ContextVar[Attempt | None] = ContextVar("headrace_attempt", default=None)
declared: ContextVar[Mapping[str, Any] | None] = ContextVar("headrace_options", default=None)


class Present:
    """Holds this process's attempt for threads that the stage starts, because such threads don't inherit context
    variables. `bundle` has the code that this process runs; it is None outside of runs. The bundle has a lock file only
    if this process runs in the environment that the lock file describes."""

    attempt: Attempt | None = None
    bundle: Bundle | None = None


present = Present()


def current() -> Attempt | None:
    """Return the attempt that runs this code, or None outside of one."""
    return running.get() or present.attempt
