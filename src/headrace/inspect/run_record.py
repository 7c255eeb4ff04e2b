"""The record of one run, read once, for comparisons, cards and explanations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice

from msgspec import Struct

from headrace.inspect.stage_code import sources
from headrace.inspect.views import RunView, Views
from headrace.plan.keys import told
from headrace.run.events import Approved, Rejected, Renewed
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import TaskRow
from headrace.run.story import Story
from headrace.spec.artifact import Ref, decode_ref, within
from headrace.spec.graph import Node, outs
from headrace.spec.stage import Stage
from headrace.store.store import Store


class Material(Struct, kw_only=True, dict=True):
    """What is recorded of a run: `view` is the run's own row, `rows` are its tasks' rows in order, and `story` has the
    facts that are in its events."""

    view: RunView
    rows: dict[str, TaskRow]
    story: Story

    def node(self, task: str) -> Node | None:
        """Return the node of a task. If the task is an element of a map, return the node of the map. If there is no
        such node, return None."""
        row = self.rows.get(task)
        return self.story.nodes.get(task) or (self.story.nodes.get(row.parent) if row and row.parent else None)

    def needed(self, task: str) -> list[str]:
        """Return the names of the tasks whose outputs a task takes."""
        node = self.node(task)
        return [] if node is None else list(dict.fromkeys(out.task for _, arg in node.args for out in outs(arg)))

    def needing(self, task: str) -> list[str]:
        """Return the names of the tasks that take a task's output. For an element of a map, these include the tasks
        that take the output of the whole map, and of their elements those that take this element's output."""
        parent = self.rows[task].parent
        below = [*self._below.get(task, ()), *(self._below.get(parent, ()) if parent else ())]
        return list(dict.fromkeys([*below, *(name for each in below for name in self._elements_with(each, task))]))

    def _elements_with(self, name: str, task: str) -> Iterator[str]:
        """Yield the elements of a map that got a task's output, given that the map as a whole takes it."""
        node, whole, needs = self.story.nodes[name], self.out(task), {task, self.rows[task].parent}
        identities = set() if whole is None else {each.identity for each in within(whole)}
        for param, arg in node.args:
            if any(out.task in needs for out in outs(arg)):
                got = self._elements_by_value.get((name, param), {})
                for identity in identities if param in node.over else got:
                    yield from got.get(identity, ())

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """For each task, the names of the tasks that take its output."""
        below: dict[str, list[str]] = {}
        for each in self.story.nodes:
            for need in self.needed(each):
                below.setdefault(need, []).append(each)
        return below

    @cached_property
    def elements(self) -> dict[str, list[str]]:
        """For each map, the names of its elements."""
        elements: dict[str, list[str]] = {}
        for row in self.rows.values():
            if row.parent is not None:
                elements.setdefault(row.parent, []).append(row.name)
        return elements

    @cached_property
    def _elements_by_value(self) -> dict[tuple[str, str], dict[str, list[str]]]:
        """For each parameter of each map, the elements that got each value (by its identity)."""
        got: dict[tuple[str, str], dict[str, list[str]]] = {}
        for row in self.rows.values():
            if row.parent is not None and row.inputs is not None:
                for param, identity in told(row.inputs).items():
                    got.setdefault((row.parent, param), {}).setdefault(identity, []).append(row.name)
        return got

    def walk(self, starts: Sequence[str], step: Callable[[str], list[str]]) -> list[str]:
        """Return all tasks that are reached from `starts` by calling `step` repeatedly, nearest first,
        without the starts."""
        rest, seen = list(starts), set(starts)
        for name in rest:
            for each in step(name):
                if each not in seen and each in self.rows:
                    seen.add(each)
                    rest.append(each)
        return rest[len(starts) :]

    def stage(self, task: str) -> Stage | None:
        """Return the stage of a task, as the run traced it, or None if unknown."""
        node = self.node(task)
        return None if node is None else self.story.stages.get(node.stage)

    def element(self, task: str, param: str, ref: Ref) -> Ref:
        """Return the value that a task got for the parameter `param`, where the pipeline passed the constant `ref`. The
        two differ only for an element of a map: if `ref` is a list that is mapped over, the value is one of its
        elements."""
        row, node = self.rows.get(task), self.node(task)
        if row is None or node is None or row.inputs is None or row.parent is None or param not in node.over:
            return ref
        identity = told(row.inputs).get(param)
        return next((part for part in ref.parts or () if part.identity == identity), ref)

    def out(self, task: str) -> Ref | None:
        """Return a task's output, or None if it has none."""
        row = self.rows.get(task)
        return decode_ref(row.out) if row is not None and row.out is not None else None

    @property
    def cpu_s(self) -> float:
        """The seconds of cpu time that all attempts used."""
        return sum(use.cpu_s for use in self.story.uses())

    def files(self, store: Store) -> Mapping[str, bytes]:
        """Return the source files that the run recorded, or none if they are gone."""
        return sources(store, self.story.bundle)


def material(views: Views, run: str | None) -> Material:
    """Return the record of a run.

    Raises:
        NotFoundError: there is no such run.
    """
    view = views.find(run)
    return Material(view=view, rows={row.name: row for row in views.rows(view.run)}, story=views.story(view.run))


def material_before(views: Views, run: Material, task: str, digest: str | None = None) -> Material | None:
    """Return a run's record as it was just before the run got new code, or None if the task had not succeeded by then.
    If the run got new code several times after the task had succeeded, the last time counts. If `digest` is given, only
    times count at which the task's output was or contained this artifact."""
    if not run.story.renewed:
        return None
    machine, rows, end = Machine(), None, 0
    for place, event in enumerate(views.events(run.view.run)):
        if isinstance(event, Renewed) and _has_given(machine.tasks.get(task), digest):
            rows, end = {each.name: each.row() for each in machine.tasks.values()}, place
        machine.step(event)
    story = Story.of(islice(views.events(run.view.run), end))
    return None if rows is None else Material(view=run.view, rows=rows, story=story)


def _has_given(task: Task | None, digest: str | None) -> bool:
    """Return whether a task has an output and, if `digest` is given, whether this is or contains this artifact."""
    if task is None or task.out is None or not task.good:
        return False
    return digest is None or any(each.digest == digest for each in within(task.out))


class NextState(Struct, frozen=True, kw_only=True):
    """A run as its next driver will find it, once that driver has read the run's inbox. `decided` are the decisions
    that count and that no driver has read yet. `machine` is the run's state machine after these decisions."""

    run: str
    machine: Machine
    decided: tuple[Approved | Rejected, ...]


def next_state(views: Views, run: str) -> NextState:
    """Return a run as its next driver will find it, once that driver has read the run's inbox."""
    unread = views.decisions(run)  # first: what a driver reads in between is then seen twice, and counts once
    machine, decided = Machine(), []
    for event in views.events(run):
        machine.step(event)
    for decision in unread:
        if not machine.approvals.objection(decision, machine.policy):
            machine.step(decision)
            decided.append(decision)
    return NextState(run=run, machine=machine, decided=tuple(decided))


def decided_text(decision: Approved | Rejected) -> str:
    """Return a decision as a sentence: `` `publish` was rejected by ann: too bad ``."""
    done = "approved" if isinstance(decision, Approved) else "rejected"
    return f"`{decision.task}` was {done} by {decision.by}: {decision.why}"
