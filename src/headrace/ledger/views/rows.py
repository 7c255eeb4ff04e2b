"""The views of runs, tasks and attempts that are shown to users, and how they are made from rows and events.

Encoded as JSON, these structs are the output of commands with `--json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from headrace.ledger.database.reader import Reader
from headrace.run.events import Failed, Launched, Span, Succeeded
from headrace.run.ports import RunRow, TaskLine
from headrace.run.story import Story
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.failure import Failure
from headrace.spec.noun import stored

GONE = "its driver is gone; resume it"
PARTS_SHOWN = 64


class _Head(Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a `Ref`. Most views show only these, so the other fields needn't be decoded."""

    digest: str
    size: int
    codec: str
    type: str


_decode_head = stored(msgspec.msgpack.Decoder(_Head).decode, "a stored artifact")


class OutputView(Struct, frozen=True, kw_only=True, gc=False):
    """An artifact that a task produced. `name` is set if the task has several outputs: a field's name, or an index in a
    tuple. `text` is the value as readable text; it is set only in a trail, and only if the value is small."""

    name: str | UnsetType = UNSET
    digest: str
    type: str
    bytes: int
    text: str | UnsetType = UNSET


class TaskView(TaskLine, frozen=True, kw_only=True):
    """A task. `seconds` is the time in the user's code; for a running task, the time since its start."""

    outputs: tuple[OutputView, ...]


class RunView(Struct, frozen=True, kw_only=True):
    """A run. `tasks` is unset in lists of runs. `why` says why the run ended, or what the user must do."""

    run: str
    pipeline: str
    state: str
    created: float
    seconds: float
    usd: float
    params: dict[str, Any]
    why: str
    tasks: tuple[TaskView, ...] | UnsetType = UNSET


class RunsView(Struct, frozen=True, kw_only=True):
    """Runs, newest first. To get the next older runs, call `Views.runs` again with `before=more`. `more` is None if
    there are no older runs."""

    runs: tuple[RunView, ...]
    more: int | None = None


class StageView(Struct, frozen=True, kw_only=True):
    """The tasks of one stage of a run, summed up: how many are in each state, their time, cost and bytes, and the names
    of the pools that they ran in."""

    stage: str
    kind: str
    states: dict[str, int]
    tasks: int
    attempts: int
    seconds: float
    longest_s: float
    usd: float
    bytes: int
    pools: tuple[str, ...] = ()


class StageLine(Struct, frozen=True, kw_only=True):
    """The tasks of one stage that are in the same state and pool. `first` is the first task's index in the run."""

    stage: str
    kind: str
    state: str
    pool: str | None
    first: int
    tasks: int
    seconds: float
    longest_s: float
    usd: float
    bytes: int | None
    attempts: int


class SignalView(Struct, frozen=True, kw_only=True):
    """A signal that is still in a run's inbox: its kind, the user who sent it, and when (Unix seconds)."""

    kind: str
    by: str
    at: float


class GonePoolView(Struct, frozen=True, kw_only=True):
    """A pool that a run couldn't use because the pool didn't answer: its name, the reason, and when a driver of the run
    last noticed this (Unix seconds)."""

    pool: str
    why: str
    at: float


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt of a task: its pool and why that pool was chosen, its state (`running` `succeeded` `failed`), and the
    place of its printed output (`log`)."""

    task: str
    attempt: int
    state: str
    pool: str
    why: str
    at: float
    seconds: float = 0.0
    failure: Failure | None = None
    log: Span | None = None


class PastView(Struct, frozen=True, kw_only=True):
    """The time and size of a task in one of the latest runs. The elements of a map are counted together, under their
    task.

    `seconds` (of an attempt) and `moving_s` (load and save) are means over the elements that ran, and `bytes` is the
    mean over all elements that have a key. A mean is None if there are no such elements.
    """

    run: int
    task: str
    stage: str
    ran: int
    elements: int
    seconds: float | None
    longest_s: float | None
    moving_s: float | None
    bytes: float | None


class RunLine(RunRow, frozen=True, kw_only=True):
    """A run's row in the ledger, with the run's number, its id, and its last driver (`holder`)."""

    number: int
    id: str
    holder: str


def outputs(out: bytes | None, text: Callable[[Ref], str | None] | None = None) -> tuple[OutputView, ...]:
    """Return the outputs of a task: the parts if the output is a tuple or record, otherwise the output itself. `text`
    returns a value's text, or None."""
    if out is None:
        return ()
    head = _decode_head(out)
    if head.codec == "record" or head.type == "builtins.tuple":
        whole = decode_ref(out)
        parts = whole.parts or ()
        names = whole.names or [str(place) for place in range(len(parts))]
        if 0 < len(parts) <= PARTS_SHOWN:
            return tuple(
                [
                    OutputView(
                        name=name, digest=part.digest, type=part.type, bytes=part.size, text=_written(part, text)
                    )
                    for name, part in zip(names, parts, strict=True)
                ]
            )
    told = UNSET if text is None else _written(decode_ref(out), text)
    return (OutputView(digest=head.digest, type=head.type, bytes=head.size, text=told),)


def _written(ref: Ref, text: Callable[[Ref], str | None] | None) -> str | UnsetType:
    told = None if text is None else text(ref)
    return UNSET if told is None else told


SIGNALS = Reader(SignalView)
TASK_VIEWS = Reader(TaskView, outputs=(outputs, "out"))
RUN_LINES = Reader(RunLine)
STAGE_LINES = Reader(StageLine)
PAST_VIEWS = Reader(PastView)
"""The readers `TASK_VIEWS`, `RUN_LINES`, `STAGE_LINES` and `PAST_VIEWS` make structs from rows."""


def now_of(task: TaskView, started: float, *, gone: bool, now: float | None) -> TaskView:
    """Return the view of a running task with the seconds that it has run until `now`; its row has the seconds only
    until the last change of its state. If `now` is None, return the task unchanged. If `gone` is True, the driver has
    died, and the task is returned as waiting for another driver."""
    if gone:
        return replace(task, state="waiting", reason=GONE)
    return replace(task, seconds=max(0.0, now - started)) if started and now is not None else task


def stage_view(lines: Sequence[StageLine], running: Sequence[float]) -> StageView:
    """Return the summary of a stage from its tasks by state and pool; `running` are the seconds that each running task
    has run so far."""
    states: Counter[str] = Counter()
    for line in lines:
        states[line.state] += line.tasks
    return StageView(
        stage=lines[0].stage,
        kind=lines[0].kind,
        states=dict(states),
        tasks=sum(line.tasks for line in lines),
        attempts=sum(line.attempts for line in lines),
        seconds=sum(line.seconds for line in lines) + sum(running),
        longest_s=max([*(line.longest_s for line in lines), *running]),
        usd=sum(line.usd for line in lines),
        bytes=sum(line.bytes or 0 for line in lines),
        pools=tuple(sorted({line.pool for line in lines if line.pool})),
    )


def attempt_views(story: Story, task: str | None = None) -> list[AttemptView]:
    """Return the attempts of a run, or of one of its tasks, in the order of their launch."""
    found: dict[tuple[str, int], AttemptView] = {}
    for event in (*story.launched.values(), *story.ended):
        if task in (None, event.task):
            key = event.task, event.attempt
            found[key] = _attempt_view(event, found.get(key))
    return list(found.values())


def _attempt_view(event: Launched | Succeeded | Failed, before: AttemptView | None) -> AttemptView:
    if before is None:
        before = AttemptView(task=event.task, attempt=event.attempt, state="running", pool="", why="", at=0.0)
    match event:
        case Launched():
            return replace(before, pool=event.pool, why=event.why, at=event.at)
        case Succeeded():
            return replace(before, state="succeeded", seconds=event.seconds, log=event.log)
        case Failed():
            return replace(before, state="failed", seconds=event.seconds, log=event.log, failure=event.failure)
