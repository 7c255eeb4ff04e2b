"""A task's inputs: what its handles came to, and the lists that it is spread over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headrace.plan.resolve import columns, follow
from headrace.run.machine.task import GOOD, Inputs, Spread, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out


def resolve(task: Task, tasks: Mapping[str, Task]) -> Inputs:
    """Return a task's arguments with each handle replaced by its artifact; one whose task was skipped is dropped.

    Raises:
        Unmappable: an output lacks a part that is asked of it, or is no list where it should be one.
    """
    if task.parent is None:
        return tuple(_whole(task, tasks).items())
    if task.parent.spread is None:
        task.parent.spread = spread(task.parent, tasks)
    return task.parent.spread.row(task.index)


def spread(task: Task, tasks: Mapping[str, Task]) -> Spread:
    """Return what the elements of a mapped task are made of; all that they share is resolved once.

    Raises:
        Unmappable: what it is spread over are not lists of one length.
    """
    lists = columns(task.name, dict(task.node.args), task.node.over, _outputs(tasks))
    return Spread([name for name, _ in task.node.args], lists, _whole(task, tasks, without=task.node.over))


def _whole(task: Task, tasks: Mapping[str, Task], without: Sequence[str] = ()) -> dict[str, Arg]:
    found: dict[str, Arg] = {}
    for name, arg in task.node.args:
        if name not in without and (known := _known(arg, tasks)) is not None:
            found[name] = known
    return found


def _known(arg: Arg, tasks: Mapping[str, Task]) -> Arg | None:
    """Replace the handles in an argument; None if one has no output. It nests as deep as the user wrote it."""
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
