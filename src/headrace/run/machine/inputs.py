"""A task's inputs: the artifacts that replace references to other tasks' outputs, and the lists that the task maps
over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headrace.plan.resolve import columns, follow
from headrace.run.machine.task import GOOD, Inputs, Spread, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out


def resolve(task: Task, tasks: Mapping[str, Task]) -> Inputs:
    """Return a task's arguments, with artifacts in place of the outputs of other tasks. Arguments that need the output
    of a skipped task are left out.

    Raises:
        Unmappable: an output lacks a requested part, or is not a list where a list is needed.
    """
    if task.parent is None:
        return tuple(_whole(task, tasks).items())
    if task.parent.spread is None:
        task.parent.spread = spread(task.parent, tasks)
    return task.parent.spread.row(task.index)


def spread(task: Task, tasks: Mapping[str, Task]) -> Spread:
    """Return the arguments of a mapped task's elements. Arguments that all elements share are resolved once.

    Raises:
        Unmappable: the arguments to map over are not lists, or the lists differ in length.
    """
    lists = columns(task.name, dict(task.node.args), task.node.over, _outputs(tasks))
    return Spread([name for name, _ in task.node.args], lists, _whole(task, tasks, without=task.node.over))


def _whole(task: Task, tasks: Mapping[str, Task], without: Sequence[str] = ()) -> dict[str, Arg]:
    args: dict[str, Arg] = {}
    for name, arg in task.node.args:
        if name not in without and (known := _known(arg, tasks)) is not None:
            args[name] = known
    return args


def _known(arg: Arg, tasks: Mapping[str, Task]) -> Arg | None:
    """Return an argument with artifacts in place of the outputs of tasks, or None if one of these tasks has no output.

    Recursive: the calls nest as deep as the argument does.
    """
    if isinstance(arg, Out):
        source = tasks[arg.task]
        ref = source.out
        if ref is None or source.phase not in GOOD:
            return None
        return Const(follow(ref, arg.path) if arg.path else ref)
    if not isinstance(arg, Many):
        return arg
    items = []
    for item in arg.items:
        known = _known(item, tasks)
        if known is None:
            return None
        items.append(known)
    return Many(arg.shape, tuple(items), arg.names)


def _outputs(tasks: Mapping[str, Task]) -> Callable[[str], Ref]:
    def output(name: str) -> Ref:
        ref = tasks[name].out
        assert ref is not None
        return ref

    return output
