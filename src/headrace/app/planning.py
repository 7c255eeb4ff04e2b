"""Plans a pipeline: traces it as it is now, compares with the past, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headrace.app.bundling import make_bundle
from headrace.app.clock import SystemClock
from headrace.app.files import keep_path
from headrace.app.past import LedgerHistory, PastCode
from headrace.app.pools import open_backend
from headrace.app.project import Project
from headrace.app.session import named
from headrace.app.state import open_ledger, open_store, user, views
from headrace.backends.local.backend import LocalBackend
from headrace.errors import PlacementError, ProjectError, UsageError
from headrace.plan.planner import Planner, check_policy
from headrace.record.sqlite import RunLedger
from headrace.record.views import Views
from headrace.run.driver import TRACER, refusal
from headrace.run.events import Asked, Traced, TraceEnded, decode_event
from headrace.run.ports import Died, Heard, Job
from headrace.run.wire import Answer, Question, Refused, Report, Trace
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.graph import Node
from headrace.spec.plan import Plan, PlannedTask
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources, Stage
from headrace.store.folder import FolderStore


def plan(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy) -> Plan:
    """Plan a pipeline as it is now, and run nothing.

    Raises:
        UsageError: it can't be traced.
        RefusedError: no pool can hold one of its tasks.
    """
    name, files = named(project, pipeline)
    with open_ledger(project) as ledger, ledger.open_run(name, holder=user()) as lease:
        store = open_store(project)
        bundle = make_bundle(project, store)
        backend = open_backend(project, lease.run, bundle, store)
        try:
            order = Trace(name, files, tuple(params.items()))
            graph = trace(project, store, backend, order, SystemClock().now())
        finally:
            backend.close()
        if not graph.partial:
            check_policy(policy, graph.nodes, graph.stages)
        past = views(project)
        return _plan(name, graph, policy=policy, pool=backend.pool, bundle=bundle, lease=lease, store=store, past=past)


class Graph(Struct):
    """What a trace gave; `partial` if the pipeline asked for a value before its end."""

    stages: dict[str, Stage]
    nodes: list[Node]
    partial: bool


def trace(
    project: Project, store: FolderStore, backend: LocalBackend, order: Trace, now: float, patience_s: float = 3600.0
) -> Graph:
    """Trace a pipeline up to its end, or to the first value that it asks for.

    Raises:
        UsageError: it can't be traced.
    """
    graph = Graph({}, [], False)
    backend.start([Job(worker=TRACER, resources=Resources(), tracer=True)])
    backend.tell(TRACER, [order])
    while True:
        for notice in backend.events(patience_s):
            match notice:
                case Heard(message=Report(body=body)):
                    event = decode_event(body)
                    if isinstance(event, Traced):
                        graph.stages.update((stage.function, stage) for stage in event.stages)
                        graph.nodes += event.nodes
                    elif isinstance(event, TraceEnded | Asked):
                        graph.partial = isinstance(event, Asked)
                        return graph
                case Heard(message=Question(question=number, about="now")):
                    backend.tell(TRACER, [Answer(number, now=now)])
                case Heard(message=Question(question=number, about=about, path=path)):
                    backend.tell(TRACER, [_kept(project, store, number, about, path)])
                case Heard(message=Refused() as refused):
                    raise refusal(refused)
                case Died(why=why):
                    raise UsageError(
                        f"the process that traces the pipeline died: {why}", hint="look for what its import does"
                    )


def _plan(
    pipeline: str,
    graph: Graph,
    *,
    policy: Policy,
    pool: Pool,
    bundle: Bundle,
    lease: RunLedger,
    store: FolderStore,
    past: Views,
) -> Plan:
    """Plan a traced graph; where it is partial, forecast its rest from the last run.

    Raises:
        PlacementError: a stage fits no pool.
    """
    for stage in graph.stages.values():
        why = pool.holds(stage.resources)
        if why is not None:
            raise PlacementError(
                f"no pool can hold stage `{stage.name}` ({stage.resources}): pool `{pool.name}`: {why}",
                hint="lower its resources, or describe a larger pool under `[pool.NAME]` in headrace.toml",
            )
    history = LedgerHistory(lease, store, past.history(pipeline))
    planner = Planner(
        stages=graph.stages,
        policy=policy,
        pool=pool,
        history=history,
        platform=bundle.platform,
        changed_code=PastCode(past).changed,
    )
    found = planner.plan(pipeline, graph.nodes, partial=graph.partial)
    return replace(found, tasks=(*found.tasks, *_forecast(pipeline, graph, past))) if graph.partial else found


def _forecast(pipeline: str, graph: Graph, views: Views) -> Sequence[PlannedTask]:
    """Give what the last run of the pipeline did after the value that it asked for."""
    runs = views.runs(limit=1, pipeline=pipeline).runs
    if not runs:
        return ()
    stages, nodes = views.graph(runs[0].run)
    known = {node.name for node in graph.nodes}
    past: Mapping[str, float] = {view.task: view.seconds or 0.0 for view in views.history(pipeline, runs=1)}
    return [
        PlannedTask(
            name=node.name,
            stage=stages[node.stage].name,
            kind=stages[node.stage].kind,
            decision="run",
            reason=f"forecast from run {runs[0].run}: the pipeline asks for a value before it",
            width=None if node.over else 1,
            expected_s=past.get(node.name),
        )
        for node in nodes
        if node.name not in known
    ]


def _kept(project: Project, store: FolderStore, number: int, about: str, path: str) -> Answer:
    try:
        return Answer(number, ref=keep_path(project.root, project.home, store, about, path))
    except ProjectError as error:
        return Answer(number, error=error.message, hint=error.hint)
