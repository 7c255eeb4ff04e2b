"""Why a task is skipped: a `when=` that said no, or a task before it that failed or was skipped."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from headrace.plan.resolve import follow, truth
from headrace.run.machine.task import GOOD, Task
from headrace.spec.graph import outs


class Skip(Struct, frozen=True):
    """Why a task is not to run. `by_when`: a `when=` said no, its own or one of a task that it depends on."""

    why: str
    by_when: bool = False


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


def _may_lack(task: Task, param: str) -> bool:
    return param in task.stage.defaults and param not in task.node.over


def _because(source: Task) -> Skip:
    return Skip(f"`{source.name}` {'was skipped' if source.phase == 'skipped' else source.phase}", source.by_when)
