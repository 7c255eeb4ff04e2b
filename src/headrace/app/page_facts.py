"""What a page about a run shows, gathered: plain values, whatever they were read from."""

from __future__ import annotations

from msgspec import Struct


class TaskFacts(Struct, frozen=True, kw_only=True):
    """A task. `needs` are the tasks before it; `parent` is the mapped task that it is an element of."""

    name: str
    stage: str
    kind: str
    state: str
    reason: str = ""
    attempts: int = 0
    seconds: float = 0.0
    load_s: float = 0.0
    save_s: float = 0.0
    usd: float = 0.0
    pool: str | None = None
    needs: tuple[str, ...] = ()
    parent: str | None = None
    line: str = ""
    outputs: tuple[str, ...] = ()


class AttemptFacts(Struct, frozen=True, kw_only=True):
    """One try of a task: when it began and how long it took, in seconds since the run began."""

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


class RunFacts(Struct, frozen=True, kw_only=True):
    """A run, and all that a page shows of it. `omitted` says in words what was left out, and why."""

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
    tasks: tuple[TaskFacts, ...] = ()
    attempts: tuple[AttemptFacts, ...] = ()
    measured: tuple[Measured, ...] = ()
    figures: tuple[Figure, ...] = ()
    omitted: tuple[str, ...] = ()
