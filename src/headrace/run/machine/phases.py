"""The phases that a run's tasks are in, and every move from one phase to another."""

from __future__ import annotations

import heapq
from collections import deque

from headrace.run.events import Cancelled, Placed, Reused
from headrace.run.machine.commands import Ask, Command, Missed, Probe, Stop
from headrace.run.machine.ready import Ready
from headrace.run.machine.task import ENDED, Phase, Spent, Task
from headrace.run.ports import TaskRow
from headrace.spec.failure import Failure
from headrace.spec.graph import Node
from headrace.spec.stage import Stage


class Phases:
    """The tasks of a run, by phase. Every move of a task to another phase is made here,
    so that queues and counts agree.

    `changed` are the tasks whose rows are to be written again. `ready` are the tasks that wait for room. `due` are the
    tasks that wait for a time: (Unix seconds, ordinal, name). `ended` are tasks that have ended, while the tasks that
    wait for them do not know it yet. `living` is the number of tasks that have not ended. `commands` are the commands
    that follow from the present step. Nothing begins once `cancelled` is set. `asking` are the tasks that wait for
    somebody's approval, and `approved` the names and keys of approved tasks.

    `pools` maps each pool that the run can still use to its region. `region` is the region of the first of them. If
    `is_spread` is True, the run began with several pools. `placed` has, for each pool, the tasks whose next attempt was
    placed there and has not begun.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.changed: dict[str, Task] = {}
        self.ready = Ready()
        self.due: list[tuple[float, int, str]] = []
        self.ended: deque[Task] = deque()
        self.living = 0
        self.commands: list[Command] = []
        self.region = ""
        self.pools: dict[str, str] = {}
        self.is_spread = False
        self.placed: dict[str, dict[str, Task]] = {}
        self.cancelled: Cancelled | None = None
        self.asking: dict[str, Task] = {}
        self.approved: set[tuple[str, str]] = set()
        self._tried: dict[str, int] = {}
        self._spent: dict[str, Spent] = {}
        self._ordinal = 0

    def current(self, name: str, attempt: int) -> Task | None:
        """Return the task if this is its running attempt, otherwise None. Late reports of older attempts do not
        count."""
        task = self.tasks.get(name)
        return task if task is not None and task.phase == "running" and task.attempt == attempt else None

    def running(self) -> list[Task]:
        """Return the tasks that have a running attempt."""
        return [task for task in self.tasks.values() if task.phase == "running"]

    @property
    def usd_before(self) -> float:
        """The cost (US dollars) of tasks that ran before the run got new code, and that are not (or not yet) in the new
        graph."""
        return sum(spent.usd for spent in self._spent.values())

    def region_of(self, pool: str | None) -> str:
        """Return the region of a pool of the run. If the run has no such pool, return the region of its first pool."""
        return self.pools.get(pool or "", self.region)

    def pools_in(self, region: str) -> tuple[str, ...]:
        """Return the names of the run's pools that are in a region."""
        return tuple([name for name, each in self.pools.items() if each == region])

    def changed_rows(self) -> list[TaskRow]:
        """Return the rows that are to be written again. A mapped task's row says whether all its elements wait for
        approvals, so it is written again whenever an element that needs an approval changes."""
        approved = [task for task in self.changed.values() if task.stage.approval is not None]
        maps = {task.parent.name: task.parent for task in approved if task.parent is not None}
        return [task.row() for task in {**self.changed, **maps}.values()]

    # -- moves ---------------------------------------------------------------------------------------------------

    def add(self, name: str, node: Node, stage: Stage, parent: Task | None = None, index: int = -1) -> Task:
        """Add a task, which is blocked at first, and return it.

        If the run got new code, an earlier task may have the same name. The new task then continues the earlier task's
        attempt numbers, times and costs. A mapped task takes over no times or costs, since it sums up its elements.
        """
        task = Task(self._ordinal, name, node, stage, parent, index, attempt=self._tried.get(name, 0))
        if name in self._spent and (parent is not None or not node.over):
            task.go_on_from(self._spent.pop(name))
        self._ordinal += 1
        self.living += 1
        self.tasks[name] = task
        self.changed[name] = task
        return task

    def move(self, task: Task, phase: Phase) -> None:
        """Set a task's phase. If the task was ready, take it out of its queue. For phases that require more than this,
        use the other methods."""
        if task.phase == "ready":
            self.ready.remove(task)
        self.asking.pop(task.name, None)
        self.living += task.ended - (phase in ENDED)
        task.phase = phase
        self.changed[task.name] = task

    def probe(self, task: Task) -> None:
        """Ask the driver whether a task's output already exists."""
        self.asking.pop(task.name, None)
        task.phase = "probing"
        self.commands.append(Probe(task.name))

    def probe_again(self, task: Task, at: float = 0.0) -> None:
        """Ask the driver again whether a task can be reused. The task was about to be launched, but the run now uses
        another region. `at` is the present time, in Unix seconds."""
        if task.phase == "ready":
            self.ready.pause(task, at)
        self.unplace(task)
        task.workers, task.fetches = (), None
        self.changed[task.name] = task
        self.probe(task)

    def miss(self, event: Missed) -> None:
        """Queue a task that has to run, because its output does not exist."""
        task = self.tasks[event.task]
        if task.phase == "probing":
            task.missed = task.missed or (task.key, task.code, task.inputs)
            task.identify(event.key, event.inputs)
            task.reason, task.where, task.barred = event.why, event.where, event.barred
            task.region = self.region_of(task.placed) if event.located else None
            self.enqueue(task)

    def place(self, event: Placed) -> None:
        """Note in which pool the next attempt of a task is to start. If it isn't known yet whether the task's inputs
        are in that pool's region, the driver has to look for them."""
        task = self.tasks[event.task]
        if task.phase not in ("probing", "ready"):
            return
        if not event.pool:
            task.failure = Failure("lost", event.why)
            self.end(task, "failed", event.why)
            return
        if task.phase == "ready":
            self.ready.remove(task)
        self.unplace(task)
        task.placed, task.placed_why = event.pool, event.why
        self.placed.setdefault(event.pool, {})[task.name] = task
        if task.phase == "probing" or task.region != event.region:
            task.phase = "probing"
            self.changed[task.name] = task
        else:
            self.enqueue(task)

    def unplace(self, task: Task) -> None:
        """Forget in which pool the next attempt of a task was to start."""
        if task.placed:
            self.placed[task.placed].pop(task.name, None)
            task.placed = ""

    def reuse(self, event: Reused) -> bool:
        """End a task with an output that already exists; return whether the task still needed an output."""
        task = self.tasks[event.task]
        if task.phase not in ("probing", "ready"):
            return False
        task.identify(event.key, event.inputs)
        task.out = event.out
        self.end(task, "reused", event.why)
        return True

    def enqueue(self, task: Task) -> None:
        """Queue a task to be launched once there is room. If its stage needs an approval that it doesn't have, ask for
        the approval first."""
        if task.stage.approval is not None and (task.name, task.key or "") not in self.approved:
            self.ask(task)
            self.commands.append(Ask(task.name))
            return
        self.asking.pop(task.name, None)
        task.phase = "ready"
        task.workers = ()
        self.ready.add(task)
        self.changed[task.name] = task

    def ask(self, task: Task) -> None:
        """Make a task wait until somebody approves it."""
        self.move(task, "asking")
        self.asking[task.name] = task

    def queue(self, task: Task) -> None:
        """Queue a task to be launched again, in any pool that it may start in. If the run may have changed its pools,
        first ask the driver again which pools these are and where the task's inputs are.

        A transfer to a region in which the run has no pool any more is ended.
        """
        self.unplace(task)
        if task.move is not None:
            task.where = self.pools_in(task.move.target) if self.is_spread else None
            if task.where == ():
                self.end(task, "skipped", f"the run has no pool in region `{task.move.target}` any more")
                return
        self.asking.pop(task.name, None)
        if task.move is None and self._has_moved(task):
            self.probe_again(task)
        else:
            self.enqueue(task)

    def _has_moved(self, task: Task) -> bool:
        """Return whether the run may have changed the pools that a task may start in."""
        if self.is_spread:
            return task.where is None
        return task.region != self.region

    def rest(self, task: Task, due: float, reason: str) -> None:
        """Make a task wait until its next attempt is due (Unix seconds)."""
        task.phase = "resting"
        task.workers = ()
        task.due, task.reason = due, reason
        heapq.heappush(self.due, (due, task.ordinal, task.name))
        self.changed[task.name] = task

    def wake(self, at: float) -> None:
        """Queue the tasks whose retry is due by this time (Unix seconds)."""
        while self.due and self.due[0][0] <= at:
            due, _, name = heapq.heappop(self.due)
            task = self.tasks[name]
            if task.phase == "resting" and task.due == due:
                self.queue(task)

    def end(self, task: Task, phase: Phase, reason: str) -> None:
        """End a task in this phase, for this reason."""
        if task.phase == "ready":
            self.ready.remove(task)
            if phase != "reused":
                task.forget_miss()
        self.asking.pop(task.name, None)
        task.phase, task.reason = phase, reason
        self.unplace(task)
        task.workers, task.args, task.fetches = (), None, None
        self.living -= 1
        self.changed[task.name] = task
        self.ended.append(task)
        for element in task.elements or ():
            if element.phase == "blocked":  # it waited to be tried again
                self.end(element, phase, reason)

    def end_waiting(self, why: str) -> None:
        """End all tasks that have no running attempt. A mapped task ends when its last element ends."""
        for task in self.tasks.values():
            if task.phase in ("blocked", "probing", "fetching", "asking", "ready", "resting"):
                self.end(task, "cancelled", why)
        self.due.clear()

    def cancel(self, event: Cancelled) -> None:
        """Stop the attempts that run, and end all other tasks."""
        self.cancelled = event
        self.commands.extend(Stop(task.name, task.attempt, task.workers, event.now) for task in self.running())
        self.end_waiting(event.why)

    def renew(self, *, counted: bool) -> None:
        """Forget all tasks, but keep how often each was tried, because a task's output and metrics are stored under the
        number of the attempt.

        If `counted` is True, also keep the times and costs of the attempts.
        """
        self._tried.update((task.name, task.attempt) for task in self.tasks.values() if task.attempt)
        if counted:
            tried = (task for task in self.tasks.values() if task.attempt and task.elements is None)
            self._spent.update((task.name, task.spent) for task in tried)
        self.tasks.clear()
        self.changed.clear()
        self.due.clear()
        self.placed.clear()
        self.ready = Ready()
        self.asking.clear()
        self.cancelled = None
        self.living = self._ordinal = 0
