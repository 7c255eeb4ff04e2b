"""What a page about a run shows, gathered: plain values, whatever they were read from."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.gates import Rule
from headrace.inspect.reports import Judged, Logged
from headrace.run.ports import TaskLine


class TaskFacts(TaskLine, frozen=True, kw_only=True):
    """A task. `needs` are the tasks before it; `parent` is the mapped task that it is an element of."""

    needs: tuple[str, ...] = ()
    parent: str | None = None
    line: str = ""
    outputs: tuple[str, ...] = ()


class AttemptFacts(Struct, frozen=True, kw_only=True):
    """One try of a task: when it began and how long it took, in seconds since the run began, without the times when no
    driver held the run."""

    task: str
    stage: str
    attempt: int
    start_s: float
    seconds: float
    state: str
    why: str = ""


class Measured(Struct, frozen=True, kw_only=True):
    """Numbers that a task gave out."""

    task: str
    stage: str
    values: dict[str, float]


class Figure(Struct, frozen=True, kw_only=True):
    """A picture that a task gave out."""

    task: str
    media_type: str
    data: bytes


class Text(Struct, frozen=True, kw_only=True):
    """The last text that a task logged under a name, or its beginning; it logged `count` under that name."""

    task: str
    name: str
    step: int
    count: int
    text: str


class Held(Struct, frozen=True, kw_only=True):
    """A gate that said no, the tasks that were skipped for it, and the rules that don't hold."""

    gate: str
    tasks: tuple[str, ...]
    rules: tuple[Rule, ...]


class RunFacts(Struct, frozen=True, kw_only=True):
    """A run, and all that a page shows of it. `omitted` says in words what was left out, and why. `pauses` are when it
    was resumed, in the seconds of its attempts, and how long it had rested by then."""

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
    measured: tuple[Measured, ...] = ()
    reports: tuple[Judged, ...] = ()
    curves: tuple[Logged, ...] = ()
    figures: tuple[Figure, ...] = ()
    texts: tuple[Text, ...] = ()
    omitted: tuple[str, ...] = ()
