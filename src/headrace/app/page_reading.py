"""Gathers what a page shows of a run: from the ledger's views and events, and from its artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, Struct

from headrace.app.measures import bytes_text
from headrace.app.page_facts import AttemptFacts, Figure, Measured, RunFacts, TaskFacts
from headrace.app.page_values import figures, numbers
from headrace.app.project import Project
from headrace.app.reading import LIVE, OutputView, RunView, TaskView, Views
from headrace.app.state import open_store
from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.run.events import Event, Failed, Launched, Opened, Renewed, Reused, Succeeded, Taken, Traced
from headrace.spec.artifact import Ref
from headrace.spec.graph import Node, outs
from headrace.store.folder import FolderStore

MAX_ATTEMPTS = 3000
MAX_FIGURES = 60
MAX_NUMBERS = 120


class _Story(Struct):
    """What the events of a run tell that its rows don't."""

    opened: Opened | None = None
    began: float = 0.0
    resumed: bool = False
    nodes: dict[str, Node] = {}
    outs: dict[str, Ref] = {}
    launched: dict[tuple[str, int], float] = {}
    ended: list[Succeeded | Failed] = []

    def hear(self, event: Event) -> None:
        match event:
            case Opened():
                self.opened, self.began = event, event.at
            case Taken(at=at):
                self.resumed = self.resumed or bool(self.ended)
                if self.ended or not self.began:
                    self.began = at
            case Traced(nodes=nodes):
                self.nodes |= {node.name: node for node in nodes}
            case Renewed():
                self.nodes.clear()
            case Launched(task=task, attempt=attempt, at=at):
                self.launched[task, attempt] = at
            case Reused(task=task, out=out):
                self.outs[task] = out
            case Succeeded(task=task, out=out):
                self.outs[task] = out
                self.ended.append(event)
            case Failed():
                self.ended.append(event)
            case _:
                pass


def run_facts(project: Project, views: Views, run_id: str | None, *, now: float) -> RunFacts:
    """Gather a run's facts; `now` (Unix seconds) is where the bars of what still runs end.

    Raises:
        NotFoundError: there is no such run.
    """
    view = views.show(run_id)
    story = _Story()
    for event in views.events(view.run):
        story.hear(event)
    stages = {task.name: task.stage for task in _tasks(view)}
    store = open_store(project)
    omitted: list[str] = []
    return RunFacts(
        run=view.run,
        project=project.name,
        pipeline=view.pipeline,
        state=view.state,
        created=view.created,
        seconds=view.seconds,
        usd=view.usd,
        why=view.why,
        params=tuple((name, str(value)) for name, value in view.params.items()),
        environment=tuple(_environment(story.opened)),
        tasks=tuple(_task(task, story.nodes) for task in _tasks(view)),
        attempts=tuple(_attempts(story, stages, now if view.state in LIVE else None, omitted)),
        measured=tuple(_measured(story, stages, store, omitted)),
        figures=tuple(_figures(story, store, omitted)),
        omitted=tuple(omitted),
    )


def _tasks(view: RunView) -> tuple[TaskView, ...]:
    return () if view.tasks is UNSET else view.tasks


def _task(task: TaskView, nodes: dict[str, Node]) -> TaskFacts:
    node = nodes.get(task.name)
    return TaskFacts(
        name=task.name,
        stage=task.stage,
        kind=task.kind,
        state=task.state,
        reason=task.reason,
        attempts=task.attempts,
        seconds=task.seconds,
        load_s=task.load_s,
        save_s=task.save_s,
        usd=task.usd,
        pool=task.pool,
        needs=() if node is None else tuple(_needs(node)),
        parent=_parent(task.name, nodes),
        line="" if node is None else node.line,
        outputs=tuple(_output(output) for output in task.outputs),
    )


def _needs(node: Node) -> Iterator[str]:
    for _, arg in node.args:
        yield from (out.task for out in outs(arg))
    if node.when is not None:
        yield node.when.task
    yield from node.after


def _parent(name: str, nodes: dict[str, Node]) -> str | None:
    """Give the mapped task that this is an element of: the longest name before a bracket that is one."""
    end = len(name) if name not in nodes else 0
    while (end := name.rfind("[", 0, end)) > 0:
        node = nodes.get(name[:end])
        if node is not None and node.over:
            return node.name
    return None


def _output(output: OutputView) -> str:
    return f"{output.type.partition('@')[0].removeprefix('builtins.')}, {bytes_text(output.bytes)}"


def _attempts(story: _Story, stages: dict[str, str], now: float | None, omitted: list[str]) -> Iterator[AttemptFacts]:
    """Give the attempts since the run was last taken up; those that still run end now."""
    current = [event for event in story.ended if _start(story, event) >= story.began]
    if len(current) < len(story.ended):
        omitted.append("The timeline shows what ran since the run was resumed.")
    if len(current) > MAX_ATTEMPTS:
        omitted.append(f"The timeline shows the longest {MAX_ATTEMPTS:,} of {len(current):,} attempts.")
        current = sorted(current, key=lambda event: -event.seconds)[:MAX_ATTEMPTS]
    for event in current:
        failure = event.failure if isinstance(event, Failed) else None
        yield AttemptFacts(
            task=event.task,
            stage=stages.get(event.task, event.task),
            attempt=event.attempt,
            start_s=_start(story, event) - story.began,
            seconds=event.seconds + (event.load_s + event.save_s if isinstance(event, Succeeded) else 0.0),
            state="succeeded" if failure is None else "failed",
            why="" if failure is None else f"{failure.kind}: {failure.message}",
        )
    over = {(event.task, event.attempt) for event in story.ended}
    for (task, attempt), at in story.launched.items() if now is not None else ():
        if (task, attempt) not in over and now is not None and at >= story.began:
            yield AttemptFacts(
                task=task,
                stage=stages.get(task, task),
                attempt=attempt,
                start_s=at - story.began,
                seconds=max(0.0, now - at),
                state="running",
            )


def _start(story: _Story, event: Succeeded | Failed) -> float:
    return event.started or story.launched.get((event.task, event.attempt), story.began)


def _measured(story: _Story, stages: dict[str, str], store: FolderStore, omitted: list[str]) -> Iterator[Measured]:
    load = _loader(store)
    for task, ref in story.outs.items():
        found = numbers(ref, load)
        if len(found) > MAX_NUMBERS:
            omitted.append(f"The metrics show {MAX_NUMBERS} of the {len(found):,} numbers that `{task}` gave.")
            found = dict(list(found.items())[:MAX_NUMBERS])
        if found:
            yield Measured(task=task, stage=stages.get(task, task), values=found)


def _figures(story: _Story, store: FolderStore, omitted: list[str]) -> Iterator[Figure]:
    load = _loader(store)
    found = [
        Figure(task=f"{task}{'.' if path else ''}{path}", media_type="image/svg+xml", data=svg.encode())
        for task, ref in story.outs.items()
        for path, svg in figures(ref, load)
    ]
    if len(found) > MAX_FIGURES:
        omitted.append(f"{len(found) - MAX_FIGURES:,} more figures are left out.")
    yield from found[:MAX_FIGURES]


def _loader(store: FolderStore) -> Any:
    """Give what loads an artifact, only from forms that run no code; what can't be read is None, and shown nowhere."""
    codecs = Codecs()

    def load(ref: Ref) -> object:
        try:
            return codecs.load(ref, store, safe_only=True)
        except HeadraceError:
            return None

    return load


def _environment(opened: Opened | None) -> Iterator[tuple[str, str]]:
    if opened is None:
        return
    pairs = (
        ("Headrace", opened.headrace),
        ("platform", opened.bundle.platform),
        ("user", opened.user),
        ("code", opened.bundle.digest[:16]),
        ("lock", (opened.bundle.lock or "")[:16]),
        ("only", ", ".join(opened.policy.only)),
        ("forced", ", ".join(opened.policy.force)),
    )
    yield from ((name, value) for name, value in pairs if value)
