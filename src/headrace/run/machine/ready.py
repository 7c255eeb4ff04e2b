"""The tasks that wait only for room, queued by what they need."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from headrace.run.events import Launched
from headrace.run.machine.task import Task
from headrace.spec.stage import Resources, Stage

PATIENCE = 64
"""The number of younger attempts that may start before a task for which there is no room. After that, room is reserved
for the task."""


class Room(Protocol):
    """The room for attempts, as the state machine sees it: which workers may start one now."""

    @property
    def pool(self) -> str:
        """The pool's name."""
        ...

    def take(self, task: str, attempt: int, stage: Stage) -> tuple[int, ...] | None:
        """Assign an attempt to workers and return their numbers, or None if there is no room for it."""
        ...

    def hold(self, need: Resources | None) -> None:
        """From now on reserve room for an attempt with this need; None ends the reservation."""
        ...

    def price(self, need: Resources) -> float:
        """Return the price of an attempt with this need, in US dollars per hour."""
        ...


class Ready:
    """A queue of tasks for each need, in the order of arrival. A task can be removed from any place in its queue."""

    def __init__(self) -> None:
        self._queues: dict[Resources, OrderedDict[str, Task]] = {}
        self._new: set[str] = set()
        self._since: dict[str, float] = {}
        self._waiting = ""
        self._passed = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __contains__(self, task: Task) -> bool:
        return task.name in self._queues.get(task.stage.resources, ())

    def add(self, task: Task) -> None:
        """Queue a task."""
        need = task.stage.resources
        queue = self._queues.get(need)
        if queue is None:
            queue = self._queues[need] = OrderedDict()
        queue[task.name] = task
        self._new.add(task.name)

    def remove(self, task: Task) -> None:
        """Take a task out of its queue."""
        queue = self._queues[task.stage.resources]
        queue.pop(task.name, None)
        self._new.discard(task.name)
        self._since.pop(task.name, None)
        if not queue:
            del self._queues[task.stage.resources]

    def wanted(self) -> list[tuple[Resources, int]]:
        """Return the needs of the queued tasks, each with the number of tasks that have it.

        The oldest task's need comes first.
        """
        return [(next(iter(queue.values())).stage.resources, len(queue)) for queue in self._by_age()]

    def propose(self, room: Room, at: float) -> list[Launched]:
        """Return a proposed attempt for each task that there is room for, oldest first among tasks of equal needs.

        Younger tasks with other needs may start before a task for which there is no room. After `PATIENCE` such starts,
        room is reserved for that task, so that many small tasks can't starve a big one. A proposed task stays in its
        queue until `remove` is called.
        """
        self._since |= dict.fromkeys(self._new, at)
        self._new.clear()
        room.hold(None)
        launches: list[Launched] = []
        waiting: Task | None = None
        before = 0
        for queue in self._by_age():
            price = room.price(next(iter(queue.values())).stage.resources)
            for task in queue.values():
                workers = room.take(task.name, task.attempt + 1, task.stage)
                if workers is None:
                    if waiting is None:
                        waiting, before = task, len(launches)
                        self._wait_for(task, room)
                    break
                queued_s = max(0.0, at - self._since[task.name])
                launches.append(_launch(task, workers, room.pool, price, at, queued_s))
        if waiting is None:
            self._waiting, self._passed = "", 0
        else:
            self._passed += len(launches) - before
        return launches

    def _wait_for(self, task: Task, room: Room) -> None:
        """Note that this is the oldest task that there is no room for. Reserve room for it once `PATIENCE` younger
        attempts have started before it."""
        if self._waiting != task.name:
            self._waiting, self._passed = task.name, 0
        if self._passed >= PATIENCE:
            room.hold(task.stage.resources)

    def _by_age(self) -> list[OrderedDict[str, Task]]:
        return sorted(self._queues.values(), key=lambda queue: next(iter(queue.values())).ordinal)


def _launch(task: Task, workers: tuple[int, ...], pool: str, price: float, at: float, queued_s: float) -> Launched:
    key, inputs = task.key or "", task.inputs or b""
    return Launched(task.name, task.attempt + 1, key, workers, pool, task.reason, inputs, price, at, queued_s)
