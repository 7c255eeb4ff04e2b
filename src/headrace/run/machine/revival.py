"""The revival of tasks that failed or were cancelled: a driver with a new lease may try them again, and with them the
tasks that depend on them."""

from __future__ import annotations

from collections.abc import Collection

from headrace.plan.needs import names_needed
from headrace.run.machine.graph import Graph
from headrace.run.machine.outputs import Outputs
from headrace.run.machine.phases import Phases
from headrace.run.machine.task import Task
from headrace.spec.graph import outs


class Revival:
    """Resets tasks to blocked, as if they had never been tried.
    Outputs that they made are kept for later use in the run."""

    def __init__(self, phases: Phases, graph: Graph, outputs: Outputs) -> None:
        self._phases = phases
        self._graph = graph
        self._outputs = outputs

    def revive(self) -> None:
        """Reset the tasks that failed, were cancelled or were not approved, and those with a damaged output. Also reset
        the tasks whose result may change because of that."""
        revived: set[str] = set()
        for task in list(self._phases.tasks.values()):
            if task.failures:
                task.failures.pop("lost", None)  # the death of a driver counts against no task
            if task.move is not None and task.phase in ("failed", "cancelled"):
                task.reason = "it is tried again if a task needs it"
                self._phases.move(task, "skipped")
            if task.move is not None or task.parent is not None or task.phase == "blocked":
                continue
            moved = _is_moved(task, revived) or self._outputs.is_damaged(task)
            if moved or task.refused or task.phase in ("failed", "cancelled"):
                revived.add(task.name)
                self.reset(task, moved=moved)
            elif task.phase == "spread":
                self._revive_elements(task)
        self._graph.free_again()

    def reset(self, task: Task, *, moved: bool) -> None:
        """Reset a task to blocked, as if it had never been tried.

        `moved` is True if the task's result may change, for example because a task that it depends on is tried again
        too. Then all elements of a mapped task are reset, otherwise only those without an output.
        """
        self._outputs.forget_damaged(task)
        self._outputs.keep(task)
        if task.phase == "ready":
            task.forget_miss()
        self._phases.move(task, "blocked")
        task.reason = task.why = ""
        task.failures = task.failure = task.out = task.args = task.spread = task.fetches = None
        task.by_when = task.refused = False
        task.waits = 0
        for element in task.elements or ():
            if moved or not element.good:
                self.reset(element, moved=moved)

    def _revive_elements(self, task: Task) -> None:
        """Reset the failed elements of a mapped task that has not ended, so that they are tried again."""
        for element in task.elements or ():
            if element.ended and not element.good:
                self.reset(element, moved=False)
                task.waits += 1
                self._phases.probe(element)


def _is_moved(task: Task, revived: Collection[str]) -> bool:
    """Return whether a task's result may change, now that the `revived` tasks are tried again."""
    if not revived:
        return False
    if not task.good:
        return any(name in revived for name in names_needed(task.node))
    sources = [out.task for _, arg in task.node.args for out in outs(arg)]
    if task.node.when is not None:
        sources.append(task.node.when.task)
    return any(name in revived for name in sources)
