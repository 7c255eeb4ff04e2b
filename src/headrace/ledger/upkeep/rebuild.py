"""Rebuilds a run from its events, and compares the result with the run's rows in the ledger.

    rebuilt = rebuild(bodies)
    for difference in differences(rebuilt, stored):
        print(difference.subject, difference.field)

Values that no event records are not compared. An example is the key of a task that waits, or was cancelled before its
launch: the key comes from a look-up that found nothing, and such a look-up isn't stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from msgspec import Struct, structs

from headrace.errors import RESTORE, LedgerError
from headrace.run.curves import Name, Summary
from headrace.run.events import Event, Logged, Renewed, Succeeded, decode_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import ResultRow, RunRow, TaskRow
from headrace.run.projection import kept_by, result_of, run_row
from headrace.spec.artifact import ERASED, Ref, blobs, decode_ref
from headrace.spec.intent import Intent
from headrace.spec.noun import UNREADABLE

TOLD = 60
"""How many characters of a value are shown, at most."""

OUTCOMES = frozenset(("running", "succeeded", "reused", "failed"))
"""The states that an event records. In any other state, a task's key may come from a look-up."""

LOOKED_UP = frozenset(("key", "code", "inputs"))


class Difference(Struct, frozen=True, kw_only=True):
    """A value that differs between a run's rows (`stored`) and its events (`rebuilt`).

    `about` is `run`, `task`, `blob`, `result`, `metric`, `logged`, `cursor`, `model` or `dataset`.
    """

    about: str
    subject: str
    field: str
    stored: str
    rebuilt: str


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of one run: the run's row, its tasks, and the sizes of the generations that it names (`kept`).

    `results` has, by key, the reusable results under the keys of outputs that the run's tasks made. `metrics` are the
    summaries of what the run's tasks logged, and `logged` holds the task and event number of each event with logged
    values.
    """

    run: RunRow
    tasks: Mapping[str, TaskRow]
    kept: Mapping[tuple[str, str], int]
    results: Mapping[str, ResultRow]
    metrics: Mapping[Name, Summary]
    logged: Set[tuple[str, int]]


class Rebuilt(Struct, frozen=True, kw_only=True):
    """A run rebuilt from its events. `intents` are the changes that the run's tasks asked for, each with its task: to
    advance a cursor, or to register a model or dataset."""

    rows: Rows
    artifacts: Sequence[Ref]
    intents: Sequence[tuple[str, Intent]]
    events: int
    has_ended: bool


def rebuild(bodies: Iterable[bytes], *, run: str = "") -> Rebuilt:
    """Return a run rebuilt from all of its events, from the first on.

    Raises:
        LedgerError: an event can't be read, or refers to an earlier event that is missing.
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
        named = [ref for each in kept_by(event) for ref in blobs(each)]
        artifacts.update(((ref.digest, ref.nonce or ""), ref) for ref in named if ref.nonce != ERASED)
        count += 1
    if machine.opened is None:
        raise LedgerError(f"run `{run}` has no event that opened it", hint=RESTORE)
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
    """Yield each difference between the stored rows and the rebuilt ones."""
    but: tuple[str, ...] = () if rebuilt.has_ended else ("seconds",)  # the row has the value of an earlier moment
    if stored.run.state == "queued":  # no event says that the pool has no room
        but = ("seconds", "state", "why")
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
    except UNREADABLE as error:
        raise LedgerError(f"{what} can't be read: {error}", hint=RESTORE) from error
    except LookupError as error:
        raise LedgerError(
            f"{what}, `{type(event).__name__}`, needs an earlier event, which is missing: {error}",
            hint=f"some of its events are lost: {RESTORE}",
        ) from error
    return event


def _stands(task: TaskRow | None, key: str) -> bool:
    """Return whether a task still has the output that it once stored under a key."""
    return task is not None and task.state == "succeeded" and task.key == key


def _looked_up(row: TaskRow) -> Sequence[str]:
    """Return the fields of a task's row that events needn't record."""
    if row.state in OUTCOMES:
        return ()
    return [*LOOKED_UP, *(["reason"] if row.state == "waiting" else [])]


def _fields(about: str, subject: str, stored: Struct, rebuilt: Struct, but: Sequence[str] = ()) -> Iterator[Difference]:
    for name in structs.asdict(rebuilt):
        has, should = getattr(stored, name), getattr(rebuilt, name)
        if name not in but and not _is_same(has, should):
            yield Difference(about=about, subject=subject, field=name, stored=_told(has), rebuilt=_told(should))


def _is_same(stored: object, rebuilt: object) -> bool:
    """Return whether two values of a field are equal. An output that an older Headrace encoded may lack newer fields of
    `Ref`, so outputs are compared decoded."""
    if stored == rebuilt or not isinstance(stored, bytes) or not isinstance(rebuilt, bytes):
        return stored == rebuilt
    try:
        return decode_ref(stored) == decode_ref(rebuilt)
    except UNREADABLE:
        return False


def _told(value: object) -> str:
    match value:
        case Ref(digest=digest, nonce=nonce):
            return f"{digest[:12]}.{nonce}" if nonce else digest[:12]
        case bytes():
            try:
                return _told(decode_ref(value))
            except UNREADABLE:
                return f"{len(value)} bytes"
        case None:
            return "nothing"
        case _:
            text = str(value)
            return text if len(text) <= TOLD else text[: TOLD - 1] + "…"
