"""The revival of tasks that came to nothing: a new lease may try them again, with all that had gone on without them."""

from __future__ import annotations

from collections.abc import Collection

from headrace.plan.needs import names_needed
from headrace.run.machine.graph import Graph
from headrace.run.machine.outputs import Outputs
from headrace.run.machine.phases import Phases
from headrace.run.machine.task import Task
from headrace.spec.graph import outs


class Revival:
    """Has tasks wait again, as if they had never been tried; what they have given is kept for whoever asks for it."""

    def __init__(self, phases: Phases, graph: Graph, outputs: Outputs) -> None:
        self._phases = phases
        self._graph = graph
        self._outputs = outputs

    def revive(self) -> None:
        """Try again what came to nothing, and ask again for what went on without it."""
        revived: set[str] = set()
        for task in list(self._phases.tasks.values()):
            if task.failures:
                task.failures.pop("lost", None)  # that drivers die goes to no task's account
            if task.move is not None and task.phase in ("failed", "cancelled"):
                task.reason = "it is tried again where a task needs it"
                self._phases.move(task, "skipped")
            if task.move is not None or task.parent is not None or task.phase == "blocked":
                continue
            moved = _is_moved(task, revived) or self._outputs.is_damaged(task)
            if moved or task.phase in ("failed", "cancelled"):
                revived.add(task.name)
                self.reset(task, moved=moved)
            elif task.phase == "spread":
                self._revive_elements(task)
        self._graph.free_again()

    def reset(self, task: Task, *, moved: bool) -> None:
        """Make a task wait again, as if it had never been tried. `moved`: what it depends on is tried again too."""
        self._outputs.forget_damaged(task)
        self._outputs.keep(task)
        if task.phase == "ready":
            task.forget_miss()
        self._phases.move(task, "blocked")
        task.reason = task.why = ""
        task.failures = task.failure = task.out = task.args = task.spread = task.fetches = None
        task.by_when = False
        task.waits = 0
        for element in task.elements or ():
            if moved or not element.good:
                self.reset(element, moved=moved)

    def _revive_elements(self, task: Task) -> None:
        """Try those elements again that have failed while others of the same mapped task still live."""
        for element in task.elements or ():
            if element.ended and not element.good:
                self.reset(element, moved=False)
                task.waits += 1
                self._phases.probe(element)


def _is_moved(task: Task, revived: Collection[str]) -> bool:
    """Whether a task that has begun or ended may come out otherwise, now that these others are tried again."""
    if not revived:
        return False
    if not task.good:
        return any(name in revived for name in names_needed(task.node))
    sources = [out.task for _, arg in task.node.args for out in outs(arg)]
    if task.node.when is not None:
        sources.append(task.node.when.task)
    return any(name in revived for name in sources)
