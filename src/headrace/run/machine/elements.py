"""The elements of mapped tasks. They are made once the lists to map over are known. Their outputs are gathered once all
elements have ended."""

from __future__ import annotations

from headrace.run.machine.inputs import spread
from headrace.run.machine.phases import Phases
from headrace.run.machine.revival import Revival
from headrace.run.machine.task import Task
from headrace.spec.artifact import gather


class Elements:
    """Makes the elements of mapped tasks, and ends a mapped task when its last element has ended."""

    def __init__(self, phases: Phases, revival: Revival) -> None:
        self._phases = phases
        self._revival = revival

    def spread(self, task: Task, labels: int) -> None:
        """Make the elements of a mapped task, now that its lists are known. Elements that the task already has are
        kept.

        `labels` is the version of the rules for naming elements that this run uses.

        Raises:
            Unmappable: the arguments to map over are not lists, or the lists differ in length.
        """
        phases = self._phases
        task.spread = spread(task, phases.tasks)
        known = {element.name: element for element in task.elements or ()}
        names = task.spread.labels(task.name, labels)
        phases.move(task, "spread")
        task.elements = []
        for index, name in enumerate(names):
            element = known.pop(name, None)
            if element is None and (element := phases.tasks.get(name)) is not None:
                self._revival.reset(element, moved=True)  # an earlier list had this element, and the last list did not
            if element is None:
                element = phases.add(name, task.node, task.stage, task, index)
            task.elements.append(element)
            element.index = index
            if element.phase == "blocked":
                phases.probe(element)
        for element in known.values():
            element.index = -1
            phases.end(element, "skipped", "the list no longer has it")
        task.waits = sum(not element.ended for element in task.elements)
        if task.waits == 0:
            self._gather(task)

    def ended(self, element: Task, parent: Task) -> None:
        """Handle the end of an element: a mapped task ends with its last element."""
        if parent.phase == "spread" and element.index >= 0:
            parent.waits -= 1
            if parent.waits == 0:
                self._gather(parent)

    def _gather(self, task: Task) -> None:
        """End a mapped task whose elements have all ended.

        Its output is the list of the outputs of those elements that have one.
        """
        elements = task.elements or []
        bad = [element for element in elements if not element.good]
        task.spread = None
        task.sum_up(elements)
        stopped = next((element for element in bad if element.phase == "cancelled"), None)
        if stopped is not None:
            self._phases.end(task, "cancelled", stopped.reason)
        elif (refused := next((element for element in bad if element.refused), None)) is not None:
            task.refused = True
            self._phases.end(task, "skipped", refused.reason)
        elif len(bad) > task.node.allow_failures:
            task.failure = bad[0].failure
            why = f"{len(bad)} of {len(elements)} failed, first `{bad[0].name}`: {bad[0].reason}"
            self._phases.end(task, "failed", why)
        else:
            task.out = gather([element.out for element in elements if element.out is not None])
            reused = bool(elements) and all(element.phase == "reused" for element in elements)
            lost = f", {len(bad)} failed as allowed" if bad else ""
            plural = "" if len(elements) == 1 else "s"
            self._phases.end(task, "reused" if reused else "succeeded", f"{len(elements)} element{plural}{lost}")
