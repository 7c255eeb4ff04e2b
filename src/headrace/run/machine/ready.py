"""The tasks that wait only for room, queued by what they need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from headrace.errors import listed
from headrace.plan.pools import FIRST
from headrace.run.events import Launched, Placed
from headrace.run.machine.task import Lane, Task
from headrace.spec.stage import Resources, Stage

PATIENCE = 64
"""If there is no room for a task, this many younger attempts may start before it. After that, room is reserved for the
task."""


Queue = OrderedDict[str, Task]
"""The tasks of one lane by name, in the order of arrival. `Lane` says what the tasks of a lane have in common."""


class Room(Protocol):
    """The room for attempts in a pool, as the state machine sees it: which workers may start an attempt now."""

    @property
    def pool(self) -> str:
        """The pool's name."""
        ...

    @property
    def region(self) -> str:
        """The pool's region."""
        ...

    def has_room(self, stage: Stage, placed: Sequence[Stage], *, behind: bool) -> bool:
        """Return whether an attempt of this stage could start now. Attempts of the stages `placed` are on their way to
        this pool, and need room too. If `behind` is True, the attempt may also be queued behind a short one."""
        ...

    def take(self, task: str, attempt: int, stage: Stage, *, behind: bool = True) -> tuple[int, ...] | None:
        """Assign an attempt to workers and return their numbers, or None if there is no room for it. If `behind` is
        True, the attempt may be queued behind a short one."""
        ...

    def hold(self, need: Resources | None) -> None:
        """From now on reserve room for an attempt with this need; None ends the reservation."""
        ...

    def price(self, need: Resources) -> float:
        """Return the price of an attempt with this need, in US dollars per hour."""
        ...


class Ready:
    """A queue of tasks for each lane, in the order of arrival. A task can be removed from any place in its queue."""

    def __init__(self) -> None:
        self._queues: dict[Lane, Queue] = {}
        self._new: set[str] = set()
        self._since: dict[str, float] = {}
        """When each queued task began to wait for room: later by the time in which it was out of the queue, because its
        inputs were looked for or copied."""
        self._waited: dict[str, float] = {}
        """How many seconds each task that was taken out of its queue, and will be queued again, has waited for room."""
        self._waiting: dict[str, tuple[str, int]] = {}
        """For each pool: the oldest task that it has no room for, and how many younger attempts have started there
        since."""

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __contains__(self, task: Task) -> bool:
        return task.lane is not None and task.name in self._queues.get(task.lane, ())

    def add(self, task: Task) -> None:
        """Queue a task."""
        lane = task.lane = lane_of(task)
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = OrderedDict()
        queue[task.name] = task
        self._new.add(task.name)

    def pause(self, task: Task, at: float) -> None:
        """Take a task out of its queue for a while. `at` is the present time (Unix seconds). The time that the task has
        waited so far is remembered, and counts when the task is queued again."""
        if task.name in self._since:
            self._waited[task.name] = max(0.0, at - self._since[task.name])
        self.remove(task)

    def remove(self, task: Task) -> None:
        """Take a task out of its queue."""
        assert task.lane is not None
        queue = self._queues[task.lane]
        queue.pop(task.name, None)
        self._new.discard(task.name)
        self._since.pop(task.name, None)
        if not queue:
            del self._queues[task.lane]
        task.lane = None

    def wanted(self, pool: str) -> list[tuple[Resources, int]]:
        """Return pairs of a need and the number of queued tasks with this need that may start in `pool`.

        The oldest task's need comes first.
        """
        lanes = ((*lane, len(queue)) for lane, queue in self._by_age())
        return [(need, size) for need, choice, _, size in lanes if choice is None or pool in choice]

    def propose(
        self, rooms: Sequence[Room], at: float, placed: Mapping[str, Mapping[str, Task]] | None = None
    ) -> list[Placed | Launched]:
        """Return a proposed attempt for each task that there is room for, oldest first among tasks of equal needs.

        Younger tasks with other needs may start before a task for which there is no room. After `PATIENCE` such starts,
        room is reserved for that task, so that many small tasks can't starve a big one. A proposed task stays in its
        queue until `remove` is called.

        If the run uses several pools, `placed` has for each pool the tasks that were placed there and have not begun:
        they need room too. Otherwise it is None, and no attempt is placed.
        """
        self._since |= {name: at - self._waited.pop(name, 0.0) for name in self._new}
        self._new.clear()
        pools = {room.pool: Opening(room, placed) for room in rooms}
        for room in rooms:
            room.hold(None)
        found: list[Placed | Launched] = []
        before: dict[str, int] = {}
        for (_, choice, _), queue in self._by_age():
            openings = list(pools.values()) if choice is None else [pools[name] for name in choice if name in pools]
            start_in = openings[0].start if len(openings) == 1 else self._start
            for task in queue.values():
                queued_s = max(0.0, at - self._since[task.name])
                start = start_in(task, openings, at, queued_s)
                if not start:
                    for opening in openings:
                        if opening.room.pool not in before:
                            before[opening.room.pool] = opening.launched
                            self._wait_for(task, opening.room)
                    break
                if isinstance(start[-1], Placed):
                    self._waited[task.name] = queued_s
                found += start
        self._waiting = {
            pool: (self._waiting[pool][0], self._waiting[pool][1] + pools[pool].launched - count)
            for pool, count in before.items()
        }
        return found

    def _start(
        self, task: Task, openings: Sequence[Opening], at: float, queued_s: float
    ) -> Sequence[Placed | Launched]:
        """Propose an attempt of a task in the first of some pools that has room. Return nothing if none has.

        A pool in which the attempt can start at once comes before one in which it would be queued behind another.
        """
        for behind in (False, True):
            for opening in openings:
                if found := opening.start(task, openings, at, queued_s, behind=behind):
                    return found
        return ()

    def _wait_for(self, task: Task, room: Room) -> None:
        """Record that this is the oldest task that a pool has no room for. Reserve room for it there once `PATIENCE`
        younger attempts have started before it."""
        name, passed = self._waiting.get(room.pool, ("", 0))
        if name != task.name:
            passed = 0
        self._waiting[room.pool] = task.name, passed
        if passed >= PATIENCE:
            room.hold(task.stage.resources)

    def _by_age(self) -> list[tuple[Lane, Queue]]:
        return sorted(self._queues.items(), key=lambda each: next(iter(each[1].values())).ordinal)


def lane_of(task: Task) -> Lane:
    """Return the lane of a task that is to be queued now."""
    return task.stage.resources, task.choice, bool(task.placed) or task.move is not None


class Opening:
    """A pool during one call of `Ready.propose`. `placed` are the stages of tasks that were placed there and have not
    begun; None if the run uses one pool only. `launched` is how many attempts were proposed to start there."""

    def __init__(self, room: Room, placed: Mapping[str, Mapping[str, Task]] | None) -> None:
        self.room = room
        self.placed = None if placed is None else [task.stage for task in placed.get(room.pool, {}).values()]
        self.launched = 0
        self._prices: dict[Resources, float] = {}

    def start(
        self, task: Task, openings: Sequence[Opening], at: float, queued_s: float, *, behind: bool = True
    ) -> Sequence[Placed | Launched]:
        """Propose the next attempt of a task here. Return nothing if there is no room for it.

        If it isn't known yet whether the task's inputs are in the pool's region, the attempt is only placed. `openings`
        are the pools that the task may start in, the best first. If `behind` is True, the attempt may be queued behind
        another.
        """
        if self.placed is not None and task.region != self.room.region:
            has_room = self.room.has_room(task.stage, self.placed, behind=behind)
            return (self.place(task, openings),) if has_room else ()
        is_bound = bool(task.placed) or task.move is not None
        if self.placed and not is_bound and not self.room.has_room(task.stage, self.placed, behind=behind):
            return ()  # room is kept for those that are on their way
        workers = self.room.take(task.name, task.attempt + 1, task.stage, behind=behind)
        if workers is None:
            return ()
        self.launched += 1
        launch = self.launch(task, workers, at, queued_s)
        is_here = self.placed is None or task.placed == self.room.pool
        return (launch,) if is_here else (self.place(task, openings), launch)

    def place(self, task: Task, openings: Sequence[Opening]) -> Placed:
        """Return the event that places a task here. `openings` are the pools that the task may start in, best first."""
        if self.placed is not None and task.region != self.room.region:
            self.placed.append(task.stage)
        if task.move is not None:
            return Placed(task.name, self.room.pool, self.room.region, "its region lacks the blob")
        full = [each.room.pool for each in openings[: openings.index(self)]]
        if task.left and task.left not in (*full, self.room.pool):
            full.append(task.left)
        reasons = [f"{listed(full)} had no room"] if full else []
        if task.barred:
            reasons.append(task.barred)
        why = "; ".join(reasons) or FIRST
        return Placed(task.name, self.room.pool, self.room.region, why)

    def launch(self, task: Task, workers: tuple[int, ...], at: float, queued_s: float) -> Launched:
        """Return the event that launches a task on these workers."""
        need = task.stage.resources
        price = self._prices.get(need)
        if price is None:
            price = self._prices[need] = self.room.price(need)
        key, inputs, pool = task.key or "", task.inputs or b"", self.room.pool
        return Launched(task.name, task.attempt + 1, key, workers, pool, task.reason, inputs, price, at, queued_s)
