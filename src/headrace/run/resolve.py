"""The machine's tasks, resolved: their arguments, and the lists that they are spread over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headrace.plan.resolve import columns, follow, value
from headrace.run.spread import Spread
from headrace.run.task import GOOD, Inputs, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out, outs


def resolve(task: Task, tasks: Mapping[str, Task]) -> Inputs:
    """Give a task's arguments with each handle replaced by its artifact; one whose task was skipped is dropped.

    Raises:
        Unmappable: an output lacks a part that is asked of it, or is no list where it should be one.
    """
    if task.parent is None:
        return tuple(_whole(task, tasks).items())
    if task.parent.spread is None:
        task.parent.spread = spread(task.parent, tasks)
    return task.parent.spread.row(task.index)


def spread(task: Task, tasks: Mapping[str, Task]) -> Spread:
    """Give what the elements of a mapped task are made of; all that they share is resolved once.

    Raises:
        Unmappable: what it is spread over are not lists of one length.
    """
    lists = columns(task.name, dict(task.node.args), task.node.over, _outputs(tasks))
    return Spread([name for name, _ in task.node.args], lists, _whole(task, tasks, without=task.node.over))


def _whole(task: Task, tasks: Mapping[str, Task], without: Sequence[str] = ()) -> dict[str, Arg]:
    """Resolve arguments as far as there is something to resolve; this runs for each task, so the usual comes first."""
    found: dict[str, Arg] = {}
    for name, arg in task.node.args:
        if name in without:
            continue
        if isinstance(arg, Out):
            ref = tasks[arg.task].out
            if ref is not None and tasks[arg.task].phase in GOOD:
                found[name] = Const(follow(ref, arg.path) if arg.path else ref)
        elif not isinstance(arg, Many):
            found[name] = arg
        elif all(tasks[out.task].good for out in outs(arg)):
            found[name] = value(arg, _outputs(tasks))
    return found


def _outputs(tasks: Mapping[str, Task]) -> Callable[[str], Ref]:
    def output(name: str) -> Ref:
        ref = tasks[name].out
        assert ref is not None
        return ref

    return output
