"""The graph of a run as it is traced: which tasks wait for which other tasks, and which tasks wait for none."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from headrace.errors import TraceError
from headrace.plan.needs import names_needed, needed_by, with_needs
from headrace.run.events import Traced
from headrace.run.machine.phases import Phases
from headrace.run.machine.task import Task
from headrace.spec.artifact import Ref
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Arg, Const, Many, Node
from headrace.spec.stage import Stage


class Graph:
    """The stages and nodes that were traced.

    `whole` is True once the pipeline's body has returned. `failure` is set if the body raised an exception. `begun` is
    True once tasks may begin: the trace has been good so far, and has ended or waits for a value that it asked for.
    `free` are tasks that wait only for the trace. `freed` are tasks that no longer wait for the trace or for another
    task.
    """

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self.stages: dict[str, Stage] = {}
        self.codes: dict[str, Code] = {}
        self.nodes: list[Node] = []
        self.whole = False
        self.begun = False
        self.failure: Failure | None = None
        self.free: dict[str, Task] = {}
        self.freed: deque[Task] = deque()
        self._dependents: dict[str, list[Task]] = {}
        self._wanted: set[str] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be traced: the body has returned or raised, or the run is cancelled."""
        return self.whole or self.failure is not None or self._phases.cancelled is not None

    def unseen(self, stages: tuple[Stage, ...], nodes: tuple[Node, ...], seen: int) -> Traced | None:
        """Compare traced `nodes` with the known nodes from index `seen` on, and return what is new, or None.

        Raises:
            TraceError: the trace differs; the message names the node.
        """
        known = self.nodes[seen : seen + len(nodes)]
        for before, after in zip(known, nodes, strict=False):
            if not _is_same(before, after):
                otherwise = f" ({before.line}) with other arguments" if before.name == after.name else ""
                raise TraceError(
                    f"the pipeline's body called `{after.name}` ({after.line}) where it had called"
                    f" `{before.name}`{otherwise} before",
                    hint="a pipeline's body must do the same each time: use `hr.now()` for the time and `.value()` for"
                    " data; `headrace resume RUN --new-code` starts from the code as it is now",
                )
        new_stages = tuple(stage for stage in stages if stage.function not in self.stages)
        new_nodes = nodes[len(known) :]
        return Traced(new_stages, new_nodes) if new_nodes or new_stages else None

    def add(self, event: Traced) -> None:
        """Add the traced stages and tasks."""
        phases, tasks = self._phases, self._phases.tasks
        for stage in event.stages:
            self.stages[stage.function] = stage
        self.codes.update((code.digest, code) for code in event.codes)
        for node in event.nodes:
            task = phases.add(node.name, node, self.stages[node.stage])
            self.nodes.append(node)
            for name in names_needed(node):
                if not tasks[name].ended:
                    task.waits += 1
                dependents = self._dependents.get(name)
                if dependents is None:
                    self._dependents[name] = [task]
                else:
                    dependents.append(task)
            if phases.cancelled is not None:
                phases.end(task, "cancelled", phases.cancelled.why)
            elif task.waits == 0:
                self.free[task.name] = task

    def begin(self, only: Sequence[str], asked_for: str | None) -> None:
        """Free the tasks that wait for no other task, since the trace has been good so far.

        If `only` is not empty, some tasks wait until the trace has ended: those that no task in `only` has needed so
        far. A node that is traced later may need them.
        """
        self.begun = True
        if only:
            wanted = needed_by(only, self.nodes, self.stages)
            if asked_for is not None:
                wanted |= with_needs((asked_for,), self.nodes)
            self._wanted = (self._wanted or set()) | wanted
        keep: dict[str, Task] = {}
        for name, task in self.free.items():
            if self._wanted is None or self.ended or name in self._wanted:
                self.freed.append(task)
            else:
                keep[name] = task
        self.free = keep

    def let_go(self, task: Task) -> None:
        """Free a task that waits for no other task any more."""
        if self.begun and (self._wanted is None or self.ended or task.name in self._wanted):
            self.freed.append(task)
        else:
            self.free[task.name] = task

    def pass_on(self, task: Task) -> None:
        """Handle a task that has ended: free the tasks that waited only for it."""
        for dependent in self._dependents.get(task.name, ()):
            if dependent.phase == "blocked":
                dependent.waits -= 1
                if dependent.waits == 0:
                    self.let_go(dependent)

    def leaves_out(self, task: Task) -> bool:
        """Return whether a task is left out because the run was asked to make only other tasks."""
        return self._wanted is not None and task.name not in self._wanted

    def fail(self, failure: Failure) -> None:
        """Handle an exception of the body: running attempts may end normally, but no other attempt begins."""
        self.failure = failure
        self._phases.end_waiting("the pipeline's body raised")
        self.free.clear()

    def free_again(self) -> None:
        """Count again how many tasks each blocked task waits for. Call this after ended tasks were reset."""
        self.free.clear()
        tasks = self._phases.tasks
        for task in tasks.values():
            if task.phase == "blocked" and task.parent is None:
                task.waits = sum(not tasks[name].ended for name in names_needed(task.node))
                if task.waits == 0:
                    self.let_go(task)

    def renew(self) -> None:
        """Forget the graph, since new code is to be traced."""
        for part in (self.stages, self.codes, self.nodes, self._dependents, self.free):
            part.clear()
        self.whole = self.begun = False
        self.failure = self._wanted = None


def _is_same(before: Node, after: Node) -> bool:
    """Return whether two nodes are the same call. Values are compared by content,
    not by their generation in the store."""
    return before == after or _bare(before) == _bare(after)


def _bare(node: Node) -> Node:
    return replace(node, args=tuple([(name, _identified(arg)) for name, arg in node.args]))


def _identified(arg: Arg) -> Arg:
    match arg:
        case Const(ref=ref):
            return Const(Ref(digest=ref.identity, size=ref.size, codec=ref.codec, type=ref.type))
        case Many(shape=shape, items=items, names=names):
            return Many(shape, tuple([_identified(item) for item in items]), names)
        case _:
            return arg
