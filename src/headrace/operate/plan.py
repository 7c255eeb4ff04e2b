"""Plans a pipeline: traces it as it is now and compares it with past runs. No task runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import BackendError, ProjectError, UsageError, listed
from headrace.inspect.history import LedgerHistory, PastCode
from headrace.ledger.run_ledger import RunLedger
from headrace.ledger.views.rows import RunView
from headrace.ledger.views.views import Views
from headrace.operate.bundle import make_bundle
from headrace.operate.clock import SystemClock
from headrace.operate.input_files import keep_path
from headrace.operate.pools.pools import open_grounds
from headrace.operate.pools.regions import Absent
from headrace.operate.session import named
from headrace.plan.needs import check_policy
from headrace.plan.planner import Planner
from headrace.plan.pools import PlannedPools, check_fit, misspelt
from headrace.plan.times import Beside
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, views
from headrace.report.measures import amount_text, seconds_text, usd_text
from headrace.run.driver.regions import Places, WhyGone
from headrace.run.driver.sites import Ground
from headrace.run.driver.tracer import erased_cursor, refusal
from headrace.run.events import Asked, Traced, TraceEnded, decode_event
from headrace.run.ports import TRACER, Backend, Delayed, Died, Heard, Job, TaskRow
from headrace.run.wire import Answer, Question, Refused, Remark, Report, Trace, Waiting
from headrace.spec.artifact import decode_ref
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.fleet import Pool
from headrace.spec.graph import Node, secrets
from headrace.spec.intent import PointKind
from headrace.spec.plan import Decision, Plan, PlannedTask
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources, Stage
from headrace.store.store import Store

LATEST = 5
"""How many of the latest runs are read. They show earlier outputs of sources, and how much time a run takes besides its
tasks."""
_LIKELY: Mapping[str, tuple[Decision, str]] = {
    "reused": ("reuse_if_unchanged", ", which reused it"),
    "skipped": ("skip_if_unchanged", ""),
}
"""What becomes of a task that can't be planned yet, by its state in the last run, and what that run did with it."""


def plan(
    project: Project,
    pipeline: str,
    params: Mapping[str, str],
    policy: Policy,
    *,
    note: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Return the plan of a run of the pipeline as it is now. No task runs.

    `note` is called with messages about what takes long.

    Raises:
        UsageError: the pipeline can't be traced.
        RefusedError: no pool can hold one of its tasks.
    """
    name, files = named(project, pipeline)
    with open_ledger(project) as ledger, ledger.open_run(name, holder=ledger.user) as lease:
        chosen = project.run_pools(policy.pool)
        store = open_store(project, chosen[0].region)
        bundle = make_bundle(project, store)
        grounds = open_grounds(project, chosen, lease.run, lease.epoch, bundle, note).grounds
        is_traced = False
        try:
            order = Trace(name, files, tuple(params.items()))
            graph = trace(project, store, grounds[0].backend, order, SystemClock().now(), note, lease.point)
            is_traced = True
        finally:
            for ground in reversed(grounds):
                ground.backend.close(now=not is_traced)  # after an interrupt, the tracer may be busy for a long time
        if not graph.partial:
            check_policy(policy, graph.nodes, graph.stages)
        with views(project) as past:
            planned = _plan(
                name,
                graph,
                policy=policy,
                grounds=grounds,
                pins=project.pins(chosen),
                spare=project.spare(chosen),
                bundle=bundle,
                lease=lease,
                absent=Absent(project, lease),
                past=past,
                note=note,
            )
    local = {pool.name for pool in chosen if pool.backend == "local"}
    return _with_secrets(planned, graph, os.environ, local)


def _with_secrets(plan: Plan, graph: Graph, environment: Mapping[str, str], pools: Collection[str]) -> Plan:
    """Return a plan with a note on each task that will run in one of these pools and takes a secret that isn't set.

    `pools` are the local ones. On a cluster, a node may have a secret that isn't set here.
    """
    needs = {node.name: {name for _, arg in node.args for name in secrets(arg)} for node in graph.nodes}

    def noted(task: PlannedTask) -> PlannedTask:
        works = task.decision == "run" and task.pool in pools
        missing = sorted(needs.get(task.name, set()) - environment.keys()) if works else ()
        told = (f"secret `{name}` is not set, and `{task.name}` needs it" for name in missing)
        return replace(task, notes=(*task.notes, *told)) if missing else task

    return replace(plan, tasks=tuple(map(noted, plan.tasks)))


def notes(plan: Plan) -> list[str]:
    """Return the notes of a plan's tasks, each once: what their keys include besides the code that functions reach, and
    which secrets aren't set."""
    return list(dict.fromkeys(note for task in plan.tasks for note in task.notes))


def sums(plan: Plan) -> list[str]:
    """Return texts on a whole plan: the expected time, the expected cost, and whether a part isn't planned."""
    texts = []
    if plan.expected_s is not None:
        texts.append(f"expected to take {amount_text(plan.expected_s, seconds_text)}")
    if any(plan.expected_usd):
        unknown = [task.name for task in plan.tasks if task.expected_usd is None]
        beside = f", without the unknown cost of {listed(unknown, 3)}" if unknown else ""
        texts.append(f"expected to cost {amount_text(plan.expected_usd, usd_text)}{beside}")
    if plan.partial:
        after = "tasks that it calls after that are forecast from its last run, or missing if there is none"
        texts.append(f"the pipeline asks for a value; {after}")
    return texts


class Graph(Struct):
    """The result of a trace. `partial` is True if the trace stopped because the pipeline asked for a value."""

    stages: dict[str, Stage]
    nodes: list[Node]
    codes: dict[str, Code]
    partial: bool


def trace(
    project: Project,
    store: Store,
    backend: Backend,
    order: Trace,
    now: float,
    note: Callable[[str], None],
    point: Callable[[PointKind, str], tuple[int, bytes | None] | None],
    patience_s: float = 3600.0,
) -> Graph:
    """Trace a pipeline up to its end, or to the first value that it asks for, and return the graph.

    `order` names the pipeline and its parameters. `now` is the answer to `hr.now()`, and `point` answers the pipeline's
    questions for cursors, versions and predictions. `note` is called with messages about what takes long.

    Raises:
        UsageError: the pipeline can't be traced.
        BackendError: the process that traces was lost.
    """
    graph = Graph({}, [], {}, False)
    backend.start([Job(worker=TRACER, resources=Resources(), role="tracer")])
    backend.tell(TRACER, [order])
    while True:
        for notice in backend.events(patience_s):
            match notice:
                case Heard(message=Report(body=body)):
                    event = decode_event(body)
                    if isinstance(event, Traced):
                        graph.stages.update((stage.function, stage) for stage in event.stages)
                        graph.nodes += event.nodes
                        graph.codes.update((code.digest, code) for code in event.codes)
                    elif isinstance(event, TraceEnded | Asked):
                        graph.partial = isinstance(event, Asked)
                        return graph
                case Heard(message=Remark(text=text)):
                    note(text)
                case Heard(message=Question(question=number, about="now")):
                    backend.tell(TRACER, [Answer(number, now=now)])
                case Heard(
                    message=Question(
                        question=number, about="cursor" | "model" | "dataset" | "predictions" as about, path=name
                    )
                ):
                    row = point(about, name)
                    version, value = row or (0, None)
                    if row is not None and value is None:
                        note(erased_cursor(name, version))
                    ref = None if value is None else decode_ref(value)
                    backend.tell(TRACER, [Answer(number, ref=ref, version=version)])
                case Heard(message=Question(question=number, about=about, path=path)):
                    backend.tell(TRACER, [_kept(project, backend.pool.region, store, number, about, path)])
                case Heard(message=Refused() as refused):
                    raise refusal(refused)
                case Delayed(why=why) | Heard(message=Waiting(why=why)) if why:
                    note(why)
                case Died(kind="lost", why=why):
                    raise BackendError(
                        f"pool `{backend.pool.name}` can't trace the pipeline: {why}",
                        hint="`headrace doctor` checks it",
                    )
                case Died(why=why):
                    raise UsageError(
                        f"the process that traces the pipeline died: {why}",
                        hint="check what the pipeline's module does when it is imported",
                    )


def _plan(
    pipeline: str,
    graph: Graph,
    *,
    policy: Policy,
    grounds: Sequence[Ground],
    pins: Mapping[str, str],
    spare: Sequence[Pool],
    bundle: Bundle,
    lease: RunLedger,
    absent: Absent,
    past: Views,
    note: Callable[[str], None],
) -> Plan:
    """Return the plan of a traced graph. If the graph is partial, the tasks that it lacks are forecast from the last
    run.

    Raises:
        PlacementError: a stage fits none of the pools.
    """
    pools = [ground.backend.pool for ground in grounds]  # with the sizes that the backends have measured
    check_fit(graph.stages.values(), pools, pins, spare)
    for told in misspelt(pins, graph.stages.values()):
        note(told)
    places = [Places(ground.backend.pool, ground.store, ground.elsewhere) for ground in grounds]
    code = PastCode(past)
    rows = cache(past.rows)
    latest = past.runs(limit=LATEST, pipeline=pipeline).runs
    history = LedgerHistory(
        lease,
        places[0],
        past.history(pipeline),
        [run.run for run in latest],
        rows,
        lambda task, code, is_map: past.made_of(pipeline, task, code, is_map=is_map),
        WhyGone(absent),
    )
    planner = Planner(
        stages=graph.stages,
        policy=policy,
        pools=PlannedPools(
            pools, pins, {pool.name: each.link for pool, each in zip(pools, places, strict=True) if each.several}
        ),
        history=history,
        platform=bundle.platform,
        changed_code=code.changed,
        changed_given=lambda before, node, change: code.changed_given(before, node, graph.codes, change),
        beside=list(beside(latest, rows)),
    )
    planned = planner.plan(pipeline, graph.nodes, partial=graph.partial)
    if names := _crossing(planned.tasks, pools):
        note(f"the plan has neither the time nor the price of copying new outputs to other regions: {listed(names, 3)}")
    rest = _forecast(pipeline, graph, past, policy) if graph.partial else ()
    return replace(planned, tasks=(*planned.tasks, *rest))


def _crossing(tasks: Sequence[PlannedTask], pools: Sequence[Pool]) -> list[str]:
    """Return the names of tasks that may run and whose outputs are needed by tasks in other regions. The sizes of these
    outputs aren't known yet, so no transfer is planned for them."""
    region = {pool.name: pool.region for pool in pools}
    where = {task.name: region[task.pool] for task in tasks if task.pool is not None}
    pairs = [(need, task.name) for task in tasks for need in task.needs if {need, task.name} <= where.keys()]
    return list(dict.fromkeys(need for need, name in pairs if where[need] != where[name]))


def beside(runs: Sequence[RunView], rows_of: Callable[[str], Sequence[TaskRow]]) -> Iterator[Beside]:
    """For each run that succeeded, yield the time in which none of its tasks ran, and the names of the tasks that ran.

    This time is the run's whole time minus the time in which at least one task ran.
    """
    for run in runs:
        if run.state != "succeeded":
            continue
        rows = [row for row in rows_of(run.run) if row.attempts and row.state == "succeeded"]
        spans = sorted((row.started, row.started + row.load_s + row.seconds + row.save_s) for row in rows)
        busy, until = 0.0, float("-inf")
        for begin, end in spans:
            busy += max(0.0, end - max(begin, until))
            until = max(until, end)
        yield Beside(frozenset(row.parent or row.name for row in rows), max(0.0, run.seconds - busy))


def _forecast(pipeline: str, graph: Graph, views: Views, policy: Policy) -> Sequence[PlannedTask]:
    """Return planned tasks for the part of the pipeline that can't be traced yet. They are the tasks that the
    pipeline's last run executed or reused after the body had asked for a task's value."""
    runs = views.runs(limit=1, pipeline=pipeline).runs
    if not runs:
        return ()
    story = views.story(runs[0].run)
    known = {node.name for node in graph.nodes}
    past: Mapping[str, float] = {
        view.task: (view.seconds or 0.0) + (view.moving_s or 0.0) for view in views.history(pipeline, runs=1)
    }
    states = {row.name: row.state for row in views.rows(runs[0].run)}
    planned = []
    for node in story.nodes.values():
        stage, state = story.stages[node.stage], states.get(node.name)
        decision, did = _LIKELY.get(state or "", ("run", ""))
        if state == "reused" and stage.name in policy.force:
            decision, did = "run", ""
        if node.name not in known:
            planned.append(
                PlannedTask(
                    name=node.name,
                    stage=stage.name,
                    kind=stage.kind,
                    decision=decision,
                    reason=f"forecast from run {runs[0].run}{did}: the pipeline asks for a value before it",
                    width=None if node.over else 1,
                    expected_s=past.get(node.name),
                )
            )
    return planned


def _kept(project: Project, region: str, store: Store, number: int, about: str, path: str) -> Answer:
    try:
        return Answer(number, ref=keep_path(project, region, store, about, path))
    except ProjectError as error:
        return Answer(number, error=error.message, hint=error.hint)
