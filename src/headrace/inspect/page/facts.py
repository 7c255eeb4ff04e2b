"""The facts that a page about a run shows, as plain values."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.gates import Held
from headrace.inspect.reports import Judged, Logged
from headrace.run.ports import TaskLine


class TaskFacts(TaskLine, frozen=True, kw_only=True):
    """A task. `needs` are the tasks that this task waits for. If this task is an element of a map, `parent` is the
    mapped task; otherwise it is None."""

    needs: tuple[str, ...] = ()
    parent: str | None = None
    line: str = ""
    outputs: tuple[str, ...] = ()


class AttemptFacts(Struct, frozen=True, kw_only=True):
    """One attempt of a task: when it began and how long it took.

    `start_s` is in seconds since the run began, without the times when no driver held the run.
    """

    task: str
    stage: str
    attempt: int
    start_s: float
    seconds: float
    state: str
    why: str = ""


class Measured(Struct, frozen=True, kw_only=True):
    """The numbers that a task returned or logged."""

    task: str
    stage: str
    values: dict[str, float]


class Figure(Struct, frozen=True, kw_only=True):
    """A picture that a task returned or logged."""

    task: str
    media_type: str
    data: bytes


class Text(Struct, frozen=True, kw_only=True):
    """The last text that a task logged under a name, or the beginning of that text. `count` is how many texts the task
    logged under that name."""

    task: str
    name: str
    step: int
    count: int
    text: str


class RunFacts(Struct, frozen=True, kw_only=True):
    """A run, and all that a page shows of it.

    `omitted` are sentences about what was left out, and why. `pauses` are the times in which no driver held the run.
    Each is a pair: how many seconds drivers had held the run before the pause, and how many seconds the pause lasted.
    `gone_pools` are the pools that the run went on without, each with the reason.
    """

    run: str
    project: str
    pipeline: str
    state: str
    created: float
    seconds: float
    usd: float
    why: str = ""
    params: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    held: tuple[Held, ...] = ()
    tasks: tuple[TaskFacts, ...] = ()
    attempts: tuple[AttemptFacts, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    gone_pools: tuple[tuple[str, str], ...] = ()
    measured: tuple[Measured, ...] = ()
    reports: tuple[Judged, ...] = ()
    curves: tuple[Logged, ...] = ()
    figures: tuple[Figure, ...] = ()
    texts: tuple[Text, ...] = ()
    omitted: tuple[str, ...] = ()
