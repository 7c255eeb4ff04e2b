"""A task's inputs: what its handles came to, the lists that it is spread over, and what keeps it from running."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from headrace.plan.resolve import columns, follow, truth
from headrace.run.machine.task import GOOD, Inputs, Spread, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out, outs


class Skip(Struct, frozen=True):
    """Why a task is not to run. `by_when`: a `when=` said no, its own or one of a task that it depends on."""

    why: str
    by_when: bool = False


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


def why_skip(task: Task, tasks: Mapping[str, Task]) -> Skip | None:
    """Return why a task is not to run, now that all that it waited for has ended; None where it is to run.

    It needs the outputs that it takes, unless the parameter has a default and what would give it was skipped by a
    `when=`; `always` goes on without those that failed too, where there is a default.

    Raises:
        Unmappable: the output that `when=` names has no such part.
    """
    node = task.node
    for param, arg in node.args:
        for out in outs(arg):
            source = tasks[out.task]
            if source.phase not in GOOD and not (_may_lack(task, param) and (source.by_when or node.always)):
                return _because(source)
    for name in node.after:
        if not tasks[name].good and not node.always:
            return _because(tasks[name])
    if node.when is None:
        return None
    source = tasks[node.when.task]
    if source.out is None or not source.good:
        return _because(source)
    verdict = truth(follow(source.out, node.when.path))
    if verdict is None:
        return Skip(f"`when=` got a value of `{source.name}` that is neither true nor false")
    return None if verdict else Skip(f"`when=`: the value of `{source.name}` is false", True)


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


def _may_lack(task: Task, param: str) -> bool:
    return param in task.stage.defaults and param not in task.node.over


def _because(source: Task) -> Skip:
    return Skip(f"`{source.name}` {'was skipped' if source.phase == 'skipped' else source.phase}", source.by_when)
