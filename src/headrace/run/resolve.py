"""The machine's tasks, resolved: their arguments, and the lists that they are spread over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headrace.plan.resolve import columns, elements, value
from headrace.run.task import Inputs, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, outs


def resolve(task: Task, tasks: Mapping[str, Task]) -> Inputs:
    """Give a task's arguments with each handle replaced by its artifact; one whose task was skipped is dropped."""
    over = task.node.over if task.parent is not None else ()
    output = _outputs(tasks)
    found = []
    for name, arg in task.node.args:
        if any(not tasks[out.task].good for out in outs(arg)):
            continue
        known = value(arg, output)
        found.append((name, elements(name, known)[task.index] if name in over else known))
    return tuple(found)


def lists(task: Task, tasks: Mapping[str, Task]) -> dict[str, Sequence[Arg]]:
    """Give the lists that a mapped task is spread over, by parameter.

    Raises:
        Unmappable: one is no list, or their lengths differ.
    """
    return columns(task.name, dict(task.node.args), task.node.over, _outputs(tasks))


def _outputs(tasks: Mapping[str, Task]) -> Callable[[str], Ref]:
    def output(name: str) -> Ref:
        ref = tasks[name].out
        assert ref is not None
        return ref

    return output
