"""A run rebuilt from its events alone, and held against the rows that the ledger has of it.

    rebuilt = rebuild(bodies)
    for difference in differences(rebuilt, stored):
        print(difference.subject, difference.field)

What a row says and no event does is not compared: the key of a task that waits or was cancelled before it was launched
comes from a look-up that found nothing, which isn't stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import msgspec
from msgspec import Struct, structs

from headrace.errors import LedgerError
from headrace.run.curves import Name, Summary
from headrace.run.events import Event, Logged, Renewed, Succeeded, decode_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import ResultRow, RunRow, TaskRow
from headrace.run.projection import kept_by, result_of, run_row
from headrace.spec.artifact import Ref, blobs
from headrace.spec.intent import Intent

TOLD = 60
"""Values are shown up to so many characters."""

OUTCOMES = frozenset(("running", "succeeded", "reused", "failed"))
"""States that a task has by an event of its own; in others, its key may come from a look-up."""

LOOKED_UP = frozenset(("key", "code", "inputs"))

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class Difference(Struct, frozen=True, kw_only=True):
    """Where the ledger's rows say other than the events.

    `about` is `run`, `task`, `blob`, `result`, `metric`, `logged`, `cursor`, `model` or `dataset`.
    """

    about: str
    subject: str
    field: str
    stored: str
    rebuilt: str


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of one run: its own, those of its tasks, the generations that it names with their sizes, the results
    under the keys of its tasks (as far as anybody asked for them), what its tasks have logged, summed up, and which
    events of which task hold that."""

    run: RunRow
    tasks: Mapping[str, TaskRow]
    kept: Mapping[tuple[str, str], int]
    results: Mapping[str, ResultRow]
    metrics: Mapping[Name, Summary]
    logged: Set[tuple[str, int]]


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What the events of a run come to; `intents` are what its tasks have asked for."""

    rows: Rows
    artifacts: Sequence[Ref]
    intents: Sequence[tuple[str, Intent]]
    events: int
    has_ended: bool


def rebuild(bodies: Iterable[bytes], *, run: str = "") -> Rebuilt:
    """Return what the events of a run come to; they are all of them, from the first on.

    Raises:
        LedgerError: an event can't be read, or has no earlier event to follow.
    """
    machine = Machine()
    artifacts: dict[tuple[str, str], Ref] = {}
    offered: dict[str, ResultRow] = {}
    intents: list[tuple[str, Intent]] = []
    logged: set[tuple[str, int]] = set()
    count = 0
    for body in bodies:
        event = _step(machine, body, f"event {count} of run `{run}`", offered)
        if isinstance(event, Logged):
            logged.add((event.task, count))
        elif isinstance(event, Succeeded):
            intents += ((event.task, intent) for intent in event.intents)
        artifacts.update(((ref.digest, ref.nonce or ""), ref) for each in kept_by(event) for ref in blobs(each))
        count += 1
    if machine.opened is None:
        raise LedgerError(f"run `{run}` has no event that opened it", hint="restore the ledger from a backup")
    tasks = {name: task.row() for name, task in machine.tasks.items()}
    return Rebuilt(
        rows=Rows(
            run=run_row(machine, machine.opened.at),
            tasks=tasks,
            kept={generation: ref.size for generation, ref in artifacts.items()},
            results={key: row for key, row in offered.items() if _stands(tasks.get(row.task), key)},
            metrics={Name(each.task, each.kind, each.name): each for each in machine.curves.summaries()},
            logged=logged,
        ),
        artifacts=tuple(artifacts.values()),
        intents=intents,
        events=count,
        has_ended=machine.closed is not None,
    )


def differences(rebuilt: Rebuilt, stored: Rows) -> Iterator[Difference]:
    """Say one by one where the stored rows differ from those that the events come to."""
    but = () if rebuilt.has_ended else ("seconds",)  # as it was when the row was written
    yield from _fields("run", "", stored.run, rebuilt.rows.run, but)
    for name, row in rebuilt.rows.tasks.items():
        found = stored.tasks.get(name)
        if found is None:
            yield Difference(about="task", subject=name, field="", stored="no row", rebuilt=row.state)
        else:
            yield from _fields("task", name, found, row, _looked_up(row))
    for name in stored.tasks.keys() - rebuilt.rows.tasks.keys():
        yield Difference(about="task", subject=name, field="", stored=stored.tasks[name].state, rebuilt="no such task")
    for (digest, nonce), size in rebuilt.rows.kept.items():
        has = stored.kept.get((digest, nonce))
        if has != size:
            told = "not named" if has is None else f"{has} bytes"
            yield Difference(
                about="blob", subject=f"{digest}.{nonce}", field="", stored=told, rebuilt=f"named, {size} bytes"
            )
    for key, result in rebuilt.rows.results.items():
        if key not in stored.results:
            yield Difference(about="result", subject=result.task, field="", stored="no row", rebuilt=_told(result.out))
    for metric, summary in rebuilt.rows.metrics.items():
        subject, values = f"{metric.task} {metric.name}", f"{summary.count} values"
        kept = stored.metrics.get(metric)
        if kept is None:
            yield Difference(about="metric", subject=subject, field="", stored="no row", rebuilt=values)
        else:
            yield from _fields("metric", subject, kept, summary)
    for task, seq in sorted(rebuilt.rows.logged - stored.logged):
        yield Difference(about="logged", subject=task, field="", stored="no row", rebuilt=f"event {seq}")


def _step(machine: Machine, body: bytes, what: str, offered: dict[str, ResultRow]) -> Event:
    try:
        event: Event = decode_event(body)
        if isinstance(event, Succeeded) and event.task in machine.tasks:
            result = result_of(machine, event)
            if result is not None:
                offered[result.key] = result
        elif isinstance(event, Renewed):
            offered.clear()
        machine.step(event)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"{what} can't be read: {error}", hint="restore the ledger from a backup") from error
    except LookupError as error:
        raise LedgerError(
            f"{what}, `{type(event).__name__}`, has no earlier event to follow: {error}",
            hint="some of its events are lost: restore the ledger from a backup",
        ) from error
    return event


def _stands(task: TaskRow | None, key: str) -> bool:
    """Return whether a task still has the output that it once offered under a key."""
    return task is not None and task.state == "succeeded" and task.key == key


def _looked_up(row: TaskRow) -> Sequence[str]:
    """Name the fields of a task's row that no event need say."""
    if row.state in OUTCOMES:
        return ()
    return [*LOOKED_UP, *(["reason"] if row.state == "waiting" else [])]


def _fields(about: str, subject: str, stored: Struct, rebuilt: Struct, but: Sequence[str] = ()) -> Iterator[Difference]:
    for name in structs.asdict(rebuilt):
        has, should = getattr(stored, name), getattr(rebuilt, name)
        if name not in but and has != should:
            yield Difference(about=about, subject=subject, field=name, stored=_told(has), rebuilt=_told(should))


def _told(value: object) -> str:
    match value:
        case Ref(digest=digest, nonce=nonce):
            return f"{digest[:12]}.{nonce}" if nonce else digest[:12]
        case bytes():
            try:
                return _told(_decode_ref(value))
            except msgspec.MsgspecError:
                return f"{len(value)} bytes"
        case None:
            return "nothing"
        case _:
            text = str(value)
            return text if len(text) <= TOLD else text[: TOLD - 1] + "…"
