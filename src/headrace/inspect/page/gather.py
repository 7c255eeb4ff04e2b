"""Gathers what a page shows of a run from the ledger's views and events and from its artifacts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import UNSET

from headrace.inspect.gates import held
from headrace.inspect.metrics.curves import lines
from headrace.inspect.metrics.metrics import Reading, loader, readings, report_refs
from headrace.inspect.page.facts import AttemptFacts, Figure, Measured, RunFacts, TaskFacts, Text
from headrace.inspect.passed import may_have_failed_gates
from headrace.inspect.reports import Judged, Logged
from headrace.inspect.value_summary import figures
from headrace.inspect.views import LIVE, OutputView, RunView, ShownView, TaskView, Views, judged
from headrace.inspect.warnings import texts_of_results
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.report.measures import bytes_text
from headrace.run.duration import Duration
from headrace.run.events import Failed, Opened, Succeeded
from headrace.run.ports import TaskLine
from headrace.run.story import Story
from headrace.spec.graph import Node, outs
from headrace.spec.report import Report
from headrace.store.store import Store

MAX_ATTEMPTS = 3000
MAX_FIGURES = 60
MAX_REPORTS = 20
MAX_NUMBERS = 120
MAX_TEXTS = 60
MAX_CHARACTERS = 20_000


def run_facts(project: Project, views: Views, run_id: str | None, *, now: float) -> RunFacts:
    """Return the facts of a run. If a driver holds the run, the attempts that still run are shown as ending at `now`
    (Unix seconds).

    Raises:
        NotFoundError: there is no such run.
    """
    view = views.show(run_id)
    story = views.story(view.run)
    stages = {task.name: task.stage for task in _tasks(view)}
    store = reading_store(project)
    omitted: list[str] = []
    until = now if view.state in LIVE and view.state != "waiting" else None  # a run that waits has no driver
    return RunFacts(
        run=view.run,
        project=project.name,
        pipeline=view.pipeline,
        state=view.state,
        created=view.created,
        seconds=story.worked.seconds(until) if view.state in LIVE else view.seconds,
        usd=view.usd,
        why=view.why,
        params=tuple((name, str(value)) for name, value in view.params.items()),
        environment=tuple(_environment(story.opened)),
        gone_pools=tuple((gone.pool, gone.why) for gone in views.gone_pools(view.run)),
        held=held(views, view.run, loader(store)) if may_have_failed_gates(views, view.run) else (),
        tasks=tuple(_task(task, story.nodes) for task in _tasks(view)),
        attempts=tuple(_attempts(story, stages, until, omitted)),
        pauses=tuple(_pauses(story.worked)) if story.worked.sessions else (),
        measured=tuple(_measured(_told(views, view.run, store), stages, omitted)),
        reports=tuple(_reports(views, view.run, story, store, omitted)),
        curves=tuple(_curves(views, view.run, omitted)),
        figures=tuple(_figures(story, views.figures(view.run), store, omitted)),
        texts=tuple(_texts(texts_of_results(views, view.run), store, omitted)),
        omitted=tuple(omitted),
    )


def _tasks(view: RunView) -> tuple[TaskView, ...]:
    return () if view.tasks is UNSET else view.tasks


def _task(task: TaskView, nodes: dict[str, Node]) -> TaskFacts:
    node = nodes.get(task.name)
    return TaskFacts(
        **{field: getattr(task, field) for field in TaskLine.__struct_fields__},
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
    """If a task is an element of a map, return the name of the map, otherwise None. The map's name is the longest
    beginning of the task's name that ends before a `[` and is the name of a map."""
    end = len(name) if name not in nodes else 0
    while (end := name.rfind("[", 0, end)) > 0:
        node = nodes.get(name[:end])
        if node is not None and node.over:
            return node.name
    return None


def _output(output: OutputView) -> str:
    return f"{output.type.partition('@')[0].removeprefix('builtins.')}, {bytes_text(output.bytes)}"


def _attempts(story: Story, stages: dict[str, str], now: float | None, omitted: list[str]) -> Iterator[AttemptFacts]:
    """Yield the attempts. Their times leave out the periods in which no driver held the run. Attempts that still run
    end at `now`."""
    ended = story.ended
    if len(ended) > MAX_ATTEMPTS:
        omitted.append(f"The timeline shows the longest {MAX_ATTEMPTS:,} of {len(ended):,} attempts.")
        ended = sorted(ended, key=lambda event: -event.seconds)[:MAX_ATTEMPTS]
    for event in ended:
        failure = event.failure if isinstance(event, Failed) else None
        start_s = story.worked.at(_start(story, event))
        yield AttemptFacts(
            task=event.task,
            stage=stages.get(event.task, event.task),
            attempt=event.attempt,
            start_s=start_s,
            seconds=_seconds(story, event, start_s),
            state="succeeded" if failure is None else "failed",
            why="" if failure is None else f"{failure.kind}: {failure.message}",
        )
    over = {(event.task, event.attempt) for event in story.ended}
    for (task, attempt), launch in story.launched.items() if now is not None else ():
        if (task, attempt) not in over and now is not None:
            start_s = story.worked.at(launch.at)
            yield AttemptFacts(
                task=task,
                stage=stages.get(task, task),
                attempt=attempt,
                start_s=start_s,
                seconds=max(0.0, story.worked.at(now) - start_s),
                state="running",
            )


def _start(story: Story, event: Succeeded | Failed) -> float:
    launch = story.launched.get((event.task, event.attempt))
    return event.started or (0.0 if launch is None else launch.at)


def _seconds(story: Story, event: Succeeded | Failed, start_s: float) -> float:
    """Return how long an attempt took. If the attempt died with its driver, its time counts up to the last moment that
    is recorded."""
    if isinstance(event, Succeeded):
        return event.seconds + event.load_s + event.save_s
    if event.failure.kind == "lost" and not event.seconds:
        return max(0.0, story.worked.at(event.at) - start_s)
    return event.seconds


def _pauses(worked: Duration) -> Iterator[tuple[float, float]]:
    """Yield for each pause how many seconds drivers had held the run before the pause, and how many seconds the pause
    lasted."""
    starts = [since for since, _ in worked.sessions[1:]] + [worked.since]
    for (_, end), start in zip(worked.sessions, starts, strict=True):
        yield worked.at(end), max(0.0, start - end)


def _told(views: Views, run: str, store: Store) -> Iterator[Reading]:
    """Yield the numbers that tasks logged or returned. Numbers that only a report has are left out, since they are
    shown with the report."""
    logged = {(metric.task, metric.name) for metric in views.metrics(run)}
    for each in readings(views, run, loader(store)):
        if each.source != "report" or each.also or (each.task, each.name) in logged:
            yield each


def _measured(found: Iterable[Reading], stages: Mapping[str, str], omitted: list[str]) -> Iterator[Measured]:
    """Yield the numbers of each task. If a task has too many, some are left out, and `omitted` gets a sentence that
    says so."""
    by_task: dict[str, list[Reading]] = {}
    for each in found:
        by_task.setdefault(each.task, []).append(each)
    for task, its in by_task.items():
        if len(its) > MAX_NUMBERS:
            omitted.append(f"The metrics show {MAX_NUMBERS} of the {len(its):,} numbers that `{task}` gave.")
        values = {name: value for each in its[:MAX_NUMBERS] for name, value in _values(each)}
        if values:
            yield Measured(task=task, stage=stages.get(task, task), values=values)


def _values(reading: Reading) -> Iterator[tuple[str, float]]:
    """Yield a number by its name, and the ends of its interval if it has one."""
    if reading.value is None:
        if reading.source == "logged":
            yield reading.name, math.nan
    elif reading.low is None or reading.high is None:
        yield reading.name, reading.value
    else:
        ends = {"value": reading.value, "low": reading.low, "high": reading.high}
        yield from ((f"{reading.name}.{end}", value) for end, value in ends.items())


def _reports(views: Views, run: str, story: Story, store: Store, omitted: list[str]) -> Iterator[Judged]:
    load = loader(store)
    loaded = [(task, load(each)) for task, ref in story.outs.items() for each in report_refs(ref)]
    pairs = [(task, report) for task, report in loaded if isinstance(report, Report)]
    unread = dict.fromkeys(task for task, report in loaded if not isinstance(report, Report))
    omitted += [f"A report of `{task}` is not shown: it can't be read." for task in unread]
    subjects = judged(views, run, [task for task, _ in pairs])
    all_reports = [Judged(task=task, report=report, of=subjects.get(task, "")) for task, report in pairs]
    if len(all_reports) > MAX_REPORTS:
        omitted.append(f"{len(all_reports) - MAX_REPORTS:,} more reports are left out.")
    yield from all_reports[:MAX_REPORTS]


def _curves(views: Views, run: str, omitted: list[str]) -> Iterator[Logged]:
    all_curves = [(name, line) for name, line in lines(views, run).items() if line.is_curve]
    if len(all_curves) > MAX_FIGURES:
        omitted.append(f"{len(all_curves) - MAX_FIGURES:,} more curves are left out.")
    for (task, name), line in all_curves[:MAX_FIGURES]:
        yield Logged(task=task, name=name, line=line)


def _figures(story: Story, logged: Sequence[ShownView], store: Store, omitted: list[str]) -> Iterator[Figure]:
    load = loader(store)
    all_figures = [
        Figure(task=f"{task}{'.' if path else ''}{path}", media_type="image/svg+xml", data=svg.encode())
        for task, ref in story.outs.items()
        for path, svg in figures(ref, load)
    ]
    all_figures += [
        Figure(task=f"{each.task} {each.name}, step {each.step:,}", media_type="image/svg+xml", data=svg.encode())
        for each in {(each.task, each.name): each for each in logged}.values()
        for _, svg in figures(each.out, load)
    ]
    if len(all_figures) > MAX_FIGURES:
        omitted.append(f"{len(all_figures) - MAX_FIGURES:,} more figures are left out.")
    yield from all_figures[:MAX_FIGURES]


def _texts(logged: Sequence[ShownView], store: Store, omitted: list[str]) -> Iterator[Text]:
    """Yield the last text of each name."""
    load = loader(store)
    counts = Counter((each.task, each.name) for each in logged)
    last = {(each.task, each.name): each for each in logged}
    if len(last) > MAX_TEXTS:
        omitted.append(f"{len(last) - MAX_TEXTS:,} more texts are left out.")
    for place, each in list(last.items())[:MAX_TEXTS]:
        text = load(each.out)
        if not isinstance(text, str):
            continue
        if len(text) > MAX_CHARACTERS:
            omitted.append(
                f"Only the beginning of `{each.task} {each.name}` is shown: `headrace get` writes the whole text."
            )
            text = f"{text[:MAX_CHARACTERS]}…"
        yield Text(task=each.task, name=each.name, step=each.step, count=counts[place], text=text)


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
