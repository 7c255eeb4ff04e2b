"""The reasons for which a task is skipped: its `when=` was false, or a task that it depends on failed or was
skipped."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from headrace.plan.resolve import follow, truth
from headrace.run.machine.task import GOOD, Task
from headrace.spec.graph import outs


class Skip(Struct, frozen=True):
    """The reason why a task is not to run. `by_when` is True if its own `when=`, or the `when=` of a task that it
    depends on, was false."""

    why: str
    by_when: bool = False


def why_skip(task: Task, tasks: Mapping[str, Task]) -> Skip | None:
    """Return why a task is not to run, or None if it is to run. All tasks that it waited for have ended.

    A task needs each output that it takes. An output may be missing if its parameter has a default and the task that
    would make it was skipped by a `when=`. In a call with `always=True`, an output of a failed task may be missing too
    if the parameter has a default.

    Raises:
        Unmappable: `when=` names a part that the output doesn't have.
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


def _may_lack(task: Task, param: str) -> bool:
    return param in task.stage.defaults and param not in task.node.over


def _because(source: Task) -> Skip:
    return Skip(f"`{source.name}` {'was skipped' if source.phase == 'skipped' else source.phase}", source.by_when)
