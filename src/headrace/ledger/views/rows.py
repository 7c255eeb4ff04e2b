"""What is shown of runs, tasks and attempts, and how it is made from rows and events.

The structs' JSON is that of docs/design.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from headrace.run.events import Failed, Launched, Span, Succeeded
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure

GONE = "its driver is gone; resume it"
PARTS_SHOWN = 64


class _Head(Struct, frozen=True, array_like=True, gc=False):
    """The first fields of an encoded `Ref`: all that is shown of most."""

    digest: str
    size: int
    codec: str
    type: str


_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class OutputView(Struct, frozen=True, kw_only=True, gc=False):
    """An artifact that a task gave. One of several outputs has a `name`: its field's, or its place in a tuple. Of a
    small one, a trail has the value as `text`."""

    name: str | UnsetType = UNSET
    digest: str
    type: str
    bytes: int
    text: str | UnsetType = UNSET


class TaskView(Struct, frozen=True, kw_only=True, gc=False):
    """A task; `seconds` are those of the user's code, or of one that runs those since it was started."""

    name: str
    stage: str
    kind: str
    state: str
    reason: str
    attempts: int
    seconds: float
    load_s: float
    save_s: float
    usd: float
    pool: str | None
    outputs: tuple[OutputView, ...]


class RunView(Struct, frozen=True, kw_only=True):
    """A run; `tasks` is left out where runs are only listed. `why` says why it ended as it did, or who has to act."""

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
    """Runs, newest first. `more`: pass it as `before` to get those after them; None at the end."""

    runs: tuple[RunView, ...]
    more: int | None = None


class StageView(Struct, frozen=True, kw_only=True):
    """The tasks of one stage of a run, taken together: how many are in which state, and what they took."""

    stage: str
    kind: str
    states: dict[str, int]
    tasks: int
    attempts: int
    seconds: float
    longest_s: float
    usd: float
    bytes: int


class AttemptView(Struct, frozen=True, kw_only=True):
    """One try of a task: where, why there, how it ended (`running` `succeeded` `failed`), where its output lies."""

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
    """What a task took in one of the latest runs; the elements of a map are counted under their task.

    `seconds`, `moving_s` (load and save) and `bytes` are means over those that ran, None where none did.
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


def task_row(row: tuple[Any, ...]) -> TaskRow:
    """Make a task's projection of a row of the table."""
    _, name, ordinal, stage, kind, state, attempts, started, seconds, load_s, save_s, usd, pool, parent, *rest = row
    _, _, log, start, end, reason, key, code, inputs, out = rest
    return TaskRow(
        ordinal=ordinal,
        name=name,
        stage=stage,
        kind=kind,
        state=state,
        reason=reason,
        attempts=attempts,
        started=started,
        seconds=seconds,
        load_s=load_s,
        save_s=save_s,
        usd=usd,
        pool=pool,
        key=key,
        code=code,
        inputs=inputs,
        out=out,
        log=None if log is None else Span(log, start, end),
        parent=parent,
    )


def task_view(line: tuple[Any, ...], *, gone: bool, now: float | None) -> TaskView:
    _, name, stage, kind, state, reason, attempts, seconds, load_s, save_s, usd, pool, out, started = line
    if gone and state == "running":
        state, reason = "waiting", GONE
    elif state == "running" and started and now is not None:
        seconds = max(0.0, now - started)
    return TaskView(
        name=name,
        stage=stage,
        kind=kind,
        state=state,
        reason=reason,
        attempts=attempts,
        seconds=seconds,
        load_s=load_s,
        save_s=save_s,
        usd=usd,
        pool=pool,
        outputs=outputs(out),
    )


def outputs(out: bytes | None, text: Callable[[Ref], str | None] | None = None) -> tuple[OutputView, ...]:
    """Read an output: the parts of a tuple or record, which are a stage's several outputs; of all else, the one. `text`
    writes those that it can."""
    if out is None:
        return ()
    head = _decode_head(out)
    if head.codec == "record" or head.type == "builtins.tuple":
        whole = _decode_ref(out)
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
    told = UNSET if text is None else _written(_decode_ref(out), text)
    return (OutputView(digest=head.digest, type=head.type, bytes=head.size, text=told),)


def _written(ref: Ref, text: Callable[[Ref], str | None] | None) -> str | UnsetType:
    told = None if text is None else text(ref)
    return UNSET if told is None else told


def stage_view(stage: str, kind: str, rows: list[Any], running: Sequence[float]) -> StageView:
    """Sum up a stage: what is stored of its tasks, by state, and how long those that run have run."""
    states: dict[str, int] = {}
    for state, _, count, *_ in rows:
        states[state] = states.get(state, 0) + count
    _, _, counts, seconds, longest_s, usd, sizes, attempts = zip(*rows, strict=True)
    return StageView(
        stage=stage,
        kind=kind,
        states=states,
        tasks=sum(counts),
        attempts=sum(attempts),
        seconds=sum(seconds) + sum(running),
        longest_s=max([*longest_s, *running]),
        usd=sum(usd),
        bytes=sum(size or 0 for size in sizes),
    )


def attempt_view(event: Launched | Succeeded | Failed, before: AttemptView | None) -> AttemptView:
    if before is None:
        before = AttemptView(task=event.task, attempt=event.attempt, state="running", pool="", why="", at=0.0)
    replace: Callable[..., AttemptView] = msgspec.structs.replace
    match event:
        case Launched():
            return replace(before, pool=event.pool, why=event.why, at=event.at)
        case Succeeded():
            return replace(before, state="succeeded", seconds=event.seconds, log=event.log)
        case Failed():
            return replace(before, state="failed", seconds=event.seconds, log=event.log, failure=event.failure)
