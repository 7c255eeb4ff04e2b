"""Finds where an artifact comes from and what was made from it, across runs.

    lineage = Lineage(Views(address))
    trail = lineage.of_task("latest", "fit")
    [step.task for step in trail.up]

Within a run, only the traced graph says which task needs which: equal outputs don't connect two tasks. Another run is
connected if it reused the result, or if one of its tasks produced or received the same stored artifact. Values that are
so small that they are stored in the task's row in the ledger (`True`, 0, an empty list) may be equal by chance, so they
connect runs only by reuse.

A run that got new code still has in the store what it made under its earlier codes. So each code of a run is searched,
like a run of its own: the present code's tasks are in the ledger's rows, those of earlier codes only in the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from headrace.errors import NotFoundError
from headrace.ledger.views.run_graph import RunGraph, ref_of, stored_in
from headrace.ledger.views.steps import Step, Trail, once, whole
from headrace.ledger.views.views import Views
from headrace.run.events import Renewed, Reused
from headrace.run.machine.machine import Machine
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.graph import Node

_ByRun = Mapping[RunGraph, list[str]]  # names of tasks
RUNS = 30
"""How many of the newest runs that hold an artifact are searched."""


class _Told(NamedTuple):
    """What a run's events say: the nodes of its present graph, the results that it reused under any of its codes, and
    whether it has got new code."""

    nodes: Mapping[str, Node]
    reused: Sequence[Reused]
    renewed: bool


class Lineage:
    """Follows artifacts from task to task. Each run is read once, so create a new object to see new data."""

    def __init__(self, views: Views, *, newest: int | None = RUNS) -> None:
        """Follow the artifacts of these views. `newest` is how many of the newest runs that hold an artifact are
        searched; None means all of them."""
        self._views = views
        self._newest = newest
        self._run = cache(self._load)
        self._codes = cache(self._graphs)
        self._kept = cache(self._unless_forgotten)
        self._had = cache(self._reused)
        self._told = cache(self._heard)
        self._numbered = cache(lambda number: self._run(views.run_id(number)))

    def of_task(self, run: str | None, task: str, part: Ref | None = None) -> Trail:
        """Return the trail of a task's output, or of a part of that output.

        Raises:
            NotFoundError: there is no such run or task.
        """
        made = self._run(self._views.find(run).run)
        row = self._views.task(made.id, task)
        ref = ref_of(row) if part is None else part
        first = made.below(task) if part is None else made.fed(task, part.digest)
        down = [made.step(name) for name in made.walk(first, made.below)]
        stored: frozenset[str] = frozenset() if ref is None else stored_in(ref)
        result = made.result(task)
        holding = [] if ref is None else self._holding({ref.digest, *stored})
        steps = [made.step(task)]
        for other in holding:
            if other is not made:
                same = [name for name in other.rows if other.result(name) == result]
                steps += [other.step(name) for name in same]
                below = [other.below(name) if part is None else other.fed(name, part.digest) for name in same]
                first = [each for names in below for each in names] + other.taking(stored)
                down += other.tried(other.walk(first, other.below))
        return self._counted([whole(steps)], self._above(made, [task]), once(down))

    def of_artifact(self, digest: str, inside: Iterable[str] = (), runs: Iterable[int] | None = None) -> Trail:
        """Return the trail of an artifact, given its digest or the beginning of the digest. If it is a part that is too
        small for the store, it is found only if `inside` has the digest of the whole output. `runs` are the numbers of
        all runs that hold it, or None if they aren't known. Then, if no index has the artifact, the events of all
        resumed runs are searched: a run may have made it under an earlier code.

        Raises:
            NotFoundError: no task produced the artifact.
        """
        found, stored, makers = self._giving(digest, inside, runs)
        down = []
        for run, names in found.items():
            first = [each for name in names for each in run.fed(name, digest)] + run.taking(stored)
            down += run.tried(run.walk(first, run.below))
        latest, names = next(iter(makers.items()))
        made = once(run.step(name) for run, names in makers.items() for name in names)
        return self._counted(made, self._above(latest, names), once(down))

    def makers(self, digest: str) -> list[Step]:
        """Return the tasks that made an artifact, newest run first. The field `again` of these steps is always empty.

        Raises:
            NotFoundError: no task produced the artifact.
        """
        return once(run.step(name) for run, names in self._giving(digest)[-1].items() for name in names)

    def _giving(
        self, digest: str, inside: Iterable[str] = (), runs: Iterable[int] | None = None
    ) -> tuple[_ByRun, frozenset[str], _ByRun]:
        """Look for the artifact `digest`. Return (1) by run, the names of the tasks whose output is this artifact or
        contains it; (2) the digests of the blobs in which the store keeps it; (3) by run, the names of those tasks that
        made the artifact themselves."""
        found = {run: run.giving(digest) for run in self._holding((digest, *inside), runs or ())}
        if runs is None and not any(found.values()):  # perhaps one without a blob, made under an earlier code
            numbers = islice(self._views.runs_telling_of(digest), self._newest)
            found = {run: run.giving(digest) for run in self._holding((), numbers)}
        stored = frozenset(each for run, names in found.items() for each in run.stored(names, digest))
        makers = {run: run.first(names) if stored else names for run, names in found.items() if names}
        if not makers:
            raise NotFoundError(
                f"no task produced an artifact `{digest}`",
                hint="`headrace show RUN --json` lists the digests of outputs",
            )
        return found, stored, makers

    def _counted(self, *sides: Iterable[Step]) -> Trail:
        """Return the trail of these steps, each with the runs that reused its result. A run that reused the result may
        contain nothing else of the trail, so these runs are looked up for each step."""
        lists = [list(steps) for steps in sides]
        reuses = self._views.reuses({digest for steps in lists for step in steps for digest in self._digest(step)})
        return Trail(*(tuple(replace(step, again=self._again(step, reuses)) for step in steps) for steps in lists))

    def _above(self, run: RunGraph, names: Iterable[str]) -> list[Step]:
        """Return the steps of all tasks on which the results of these tasks depend, nearest first. If a run reused a
        result, the search continues in the run that made it, since the result was computed from that run's outputs."""
        rest = [self._made(run, name) for name in names]
        seen, steps = set(rest), []
        for maker, name in rest:
            for each in (self._made(maker, above) for above in maker.above(name) if above in maker.rows):
                if each not in seen:
                    seen.add(each)
                    rest.append(each)
                    steps.append(each[0].step(each[1]))
        return once(steps)

    def _made(self, run: RunGraph, name: str) -> tuple[RunGraph, str]:
        """Return the run that made a task's result, and the task's name there. If several codes of this run have the
        result, return the newest of them. If the run was forgotten, return the given run and name."""
        origin = run.origin(name)
        if origin is None and not run.is_earlier:
            return run, name
        result = run.result(name)
        for maker in self._kept(origin or run.id):
            if name in maker.rows and maker.result(name) == result:
                return maker, name
            if (found := maker.named.get(result)) is not None:
                return maker, found
        return run, name

    def _again(self, step: Step, reuses: Mapping[tuple[str, str | None], Sequence[int]]) -> tuple[str, ...]:
        result = self._graph_of(step).result(step.task)
        numbers = [number for digest in self._digest(step) for number in reuses.get((digest, step.key), ())]
        runs = map(self._numbered, numbers[:RUNS])
        return tuple(run.id for run in runs if run.id != step.run and result in run.reused)

    def _digest(self, step: Step) -> Sequence[str]:
        return self._graph_of(step).digests(step.task)[:1]

    def _graph_of(self, step: Step) -> RunGraph:
        graphs = [graph for graph in self._codes(step.run) if step.task in graph.rows]
        return next((each for each in graphs[:-1] if each.step(step.task).outputs == step.outputs), graphs[-1])

    def _holding(self, digests: Iterable[str], runs: Iterable[int] = ()) -> list[RunGraph]:
        """Return the graphs of the runs that hold one of these artifacts, and of `runs`, newest run first."""
        numbers = set(runs)
        for digest in digests:
            numbers |= self._views.runs_holding(digest)
        newest = sorted(numbers, reverse=True)[: self._newest]
        return [graph for number in newest for graph in self._codes(self._views.run_id(number))]

    def _load(self, run: str) -> RunGraph:
        story = self._told(run)
        return self._graph(run, self._views.rows(run), story.nodes, story.reused)

    def _graph(
        self,
        run: str,
        rows: Sequence[TaskRow],
        nodes: Mapping[str, Node],
        reused: Sequence[Reused],
        *,
        is_earlier: bool = False,
    ) -> RunGraph:
        origins = {event.task: self._maker(run, event.key) for event in reused}
        whole: dict[str, set[str]] = {}
        for row in rows:
            if row.parent is not None:
                whole.setdefault(row.parent, set()).add(origins.get(row.name, run))
        origins = {**{name: min(found) for name, found in whole.items() if len(found) == 1}, **origins}
        return RunGraph(run, {row.name: row for row in rows}, nodes, origins, is_earlier=is_earlier)

    def _graphs(self, run: str) -> list[RunGraph]:
        """Return the graph of each code that a run has had, the present one first."""
        return [self._run(run), *self._earlier(run)]

    def _earlier(self, run: str) -> list[RunGraph]:
        """Return the graphs of a run's earlier codes, the newest first. No row has their tasks any more, so the run is
        replayed from its events."""
        found: list[RunGraph] = []
        machine, reused = Machine(), list[Reused]()
        with suppress(LookupError):  # an event needs an earlier one that is lost: `headrace fsck` reports it
            for event in self._views.events(run) if self._told(run).renewed else ():
                if isinstance(event, Renewed):
                    found.insert(0, self._replayed(run, machine, reused))
                    reused = []
                elif isinstance(event, Reused):
                    reused.append(event)
                machine.step(event)
        return found

    def _replayed(self, run: str, machine: Machine, reused: Sequence[Reused]) -> RunGraph:
        tasks = machine.tasks.values()
        nodes = {task.name: task.node for task in tasks if task.parent is None}
        return self._graph(run, [task.row() for task in tasks], nodes, reused, is_earlier=True)

    def _unless_forgotten(self, run: str) -> list[RunGraph]:
        try:
            return self._codes(run)
        except NotFoundError:
            return []

    def _heard(self, run: str) -> _Told:
        """Return what a run's events say about its graph."""
        story = self._views.story(run)
        return _Told(story.nodes, story.reused, story.renewed)

    def _maker(self, run: str, key: str) -> str:
        """Return the run that made the result which `run` reused under `key`. The run from which `run` reused it may
        itself have reused it from another run, so the search continues there."""
        seen = set()
        while run not in seen:
            seen.add(run)
            run = self._had(run).get(key, run)
        return run

    def _reused(self, run: str) -> dict[str, str]:
        """Return, by key, the run that made each result that `run` reused; nothing if `run` was forgotten."""
        try:
            reused = self._told(run).reused
        except NotFoundError:
            return {}
        return {event.key: event.run or run for event in reversed(reused)}  # for equal tasks, the first counts
