"""The crew: a run's workers in one pool, what each holds and how far ahead its queue reaches.

Short attempts are queued behind another on the same worker, so that no worker waits for the driver; they share its
grant. How many is measured: some ms of work ahead, more where messages take longer; one attempt while nothing is known.

Every question is answered from counts kept by need, so that a crew of thousands costs no more than one of four.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from headrace.run.ports import Grant, Job, Want
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources, Stage

AHEAD_S = 0.010
AHEAD_LIMIT = 256
_SLACK = 1e-6
_NOTHING = Resources(cpu=1e-9)

Three = tuple[float, float, float]
"""Cpus, GiB of memory, gpus."""


class Worker:
    """One worker process: whom it is like, and the attempts that it has been told to run, oldest first.

    `ahead_s` is how long these will take, as far as that is known; `unknown` counts those of which it isn't. `done`
    counts the attempts that have ended. One that is `fresh` is given no other attempt, and leaves after those it has.
    """

    __slots__ = ("ahead_s", "count", "done", "fresh", "gang", "number", "queue", "unknown")

    def __init__(self, number: int, count: Count, *, fresh: bool) -> None:
        self.number = number
        self.count = count
        self.fresh = fresh
        self.queue: deque[tuple[str, int, float | None]] = deque()
        self.gang = False
        self.done = 0
        self.ahead_s = 0.0
        self.unknown = 0

    def add(self, task: str, attempt: int, mean: float | None) -> None:
        """Queue an attempt, which takes some such time if that is known."""
        self.queue.append((task, attempt, mean))
        if mean is None:
            self.unknown += 1
        else:
            self.ahead_s += mean

    def remove(self, task: str, attempt: int) -> bool:
        """Take an attempt out of the queue; say whether it was there."""
        place = next((i for i, each in enumerate(self.queue) if each[:2] == (task, attempt)), None)
        if place is None:
            return False
        mean = self.queue[place][2]
        del self.queue[place]
        if mean is None:
            self.unknown -= 1
        else:
            self.ahead_s = self.ahead_s - mean if self.queue else 0.0
        return True


class Count:
    """How many workers of an environment hold what `need` says of one node, how many are busy, and which are idle."""

    __slots__ = ("all", "busy", "cpu", "environment", "gpus", "idle", "memory_gib", "need", "short")

    def __init__(self, need: Resources, environment: str | None) -> None:
        self.need = need
        self.environment = environment
        self.cpu, self.memory_gib, self.gpus = need.cpu, need.memory_gib, float(need.gpus)
        self.all = 0
        self.busy = 0
        self.idle: dict[int, Worker] = {}
        self.short: list[tuple[float, int]] = []  # a heap of (ahead_s, number), each true until it has changed

    def times(self, workers: int) -> Three:
        """Give what so many workers hold."""
        return self.cpu * workers, self.memory_gib * workers, self.gpus * workers


class Crew:
    """Reserves workers for attempts within the run's grant; starts and dismisses them. Implements `machine.Room`."""

    def __init__(self, pool: Pool, first: int = 1, ahead_s: float = AHEAD_S) -> None:
        self._pool = pool
        self._ahead_s = ahead_s
        self.grant = Grant(pool=pool.name, cpu=0, memory_gib=0, gpus=0, expires=0)
        self.workers: dict[int, Worker] = {}
        self.jobs: list[Job] = []
        self.leaving: list[int] = []
        self._counts: dict[tuple[Resources, str | None], Count] = {}
        self._next = first
        self._mean: dict[str, float] = {}
        self._held: Resources | None = None

    # -- the room that a machine sees ----------------------------------------------------------------------------

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._pool.name

    def price(self, need: Resources) -> float:
        """Give US dollars per hour of an attempt: its share of the pool, at the pool's price."""
        return self._pool.usd_per_hour * self._pool.share(need)

    def hold(self, need: Resources | None) -> None:
        """Leave room for an attempt that needs this, whatever else asks; None: for none in particular."""
        self._held = need

    def take(self, task: str, attempt: int, stage: Stage) -> tuple[int, ...] | None:
        """Give an attempt to workers: idle ones, new ones or, if it is short, one behind others; None if none can."""
        need, fresh = stage.resources, stage.isolation == "fresh"
        mean = self._mean.get(stage.function)
        count = self._counts.get(kind := (need, stage.environment))
        if count is None:
            count = self._counts[kind] = Count(*kind)
        if self._fits(count):
            chosen = self._choose(count, fresh=fresh)
        else:
            ahead = None if need.nodes > 1 or fresh else self._behind(count, mean)
            if ahead is None:
                return None
            chosen = [ahead]
        for worker in chosen:
            if not worker.queue:
                count.busy += 1
                worker.gang = need.nodes > 1
            worker.add(task, attempt, mean)
            self._note_ahead(count, worker)
        return (chosen[0].number,) if len(chosen) == 1 else tuple([worker.number for worker in chosen])

    # -- what the driver tells it --------------------------------------------------------------------------------

    def finished(self, number: int, task: str, attempt: int, stage: str, seconds: float | None) -> None:
        """Note that an attempt has ended on a worker, and how long all of it took there, if it succeeded."""
        if seconds is not None:
            mean = self._mean.get(stage)
            self._mean[stage] = seconds if mean is None else mean + (seconds - mean) / 8
        worker = self.workers.get(number)
        if worker is None:
            return
        worker.done += 1  # one that was taken back too late, too: the worker counts it
        if not worker.remove(task, attempt):
            return
        count = worker.count
        if worker.queue:
            self._note_ahead(count, worker)
            return
        count.busy -= 1
        count.idle[number] = worker
        if worker.fresh:
            self._dismiss(worker)

    def adopt(self, job: Job, attempts: Sequence[tuple[str, int]], *, done: int, fresh: bool) -> None:
        """Count in a worker that an earlier driver began, with the attempts that it has still to end, oldest first."""
        kind = job.resources, job.environment
        count = self._counts.setdefault(kind, Count(*kind))
        worker = self.workers[job.worker] = Worker(job.worker, count, fresh=fresh)
        worker.done = done
        worker.gang = job.resources.nodes > 1
        count.all += 1
        for task, attempt in attempts:
            worker.add(task, attempt, None)
        if attempts:
            count.busy += 1
        else:
            count.idle[job.worker] = worker

    def lost(self, number: int) -> list[tuple[str, int]]:
        """Forget a worker that died; give the attempts that it had, oldest first."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return []
        count = worker.count
        count.all -= 1
        count.busy -= bool(worker.queue)
        count.idle.pop(number, None)
        return [(task, attempt) for task, attempt, _ in worker.queue]

    def retire(self, number: int) -> None:
        """Give no more attempts to a worker that is being ended."""
        worker = self.workers.get(number)
        if worker is not None:
            worker.fresh = True
            if not worker.queue:
                self._dismiss(worker)

    def recall(self, number: int) -> list[tuple[str, int]]:
        """Take back what waits behind the attempt that a worker is at, which takes long; nothing more is put there."""
        worker = self.workers.get(number)
        if worker is None or len(worker.queue) < 2:
            return []
        (task, attempt, _), *rest = worker.queue
        worker.queue.clear()
        worker.ahead_s, worker.unknown = 0.0, 0
        worker.add(task, attempt, None)
        return [(each, other) for each, other, _ in rest]

    def waiting(self, number: int) -> bool:
        """Say whether something waits behind the attempt that a worker is at."""
        worker = self.workers.get(number)
        return worker is not None and len(worker.queue) > 1

    def holds(self, number: int, task: str, attempt: int) -> bool:
        """Say whether a worker has this attempt still to end."""
        worker = self.workers.get(number)
        return worker is not None and any(each[:2] == (task, attempt) for each in worker.queue)

    def queued(self, number: int) -> list[tuple[str, int]]:
        """Give the attempts that a worker has still to end, oldest first."""
        worker = self.workers.get(number)
        return [] if worker is None else [(task, attempt) for task, attempt, _ in worker.queue]

    def present(self, number: int) -> tuple[str, int] | None:
        """Give the attempt that a worker is at, as far as has been heard."""
        worker = self.workers.get(number)
        return worker.queue[0][:2] if worker is not None and worker.queue else None

    def used(self) -> tuple[float, float, int]:
        """Give the cpus, GiB and gpus that workers with something to do hold."""
        cpu, memory, gpus = self._busy()
        return cpu, memory, int(gpus)

    def want(self, wanted: Sequence[tuple[Resources, int]]) -> Want:
        """Give what to ask the pool for: what is used, and what is `wanted` beside it, a need and how many of it."""
        cpu, memory, gpus = self.used()
        want_cpu, want_memory, want_gpus = cpu, memory, gpus
        least = wanted[0][0] if wanted else _NOTHING
        for need, count in wanted:
            want_cpu += need.cpu * need.nodes * count
            want_memory += need.memory_gib * need.nodes * count
            want_gpus += need.gpus * need.nodes * count
        return Want(
            pool=self._pool.name,
            cpu=min(want_cpu, self._pool.cpu),
            memory_gib=min(want_memory, self._pool.memory_gib),
            gpus=min(want_gpus, self._pool.gpus),
            used_cpu=cpu,
            used_memory_gib=memory,
            used_gpus=gpus,
            least_cpu=least.cpu * least.nodes,
            least_memory_gib=least.memory_gib * least.nodes,
            least_gpus=least.gpus * least.nodes,
        )

    def drain(self) -> tuple[list[Job], list[int]]:
        """Give, once, the workers to start and those to dismiss."""
        jobs, leaving = self.jobs, self.leaving
        self.jobs, self.leaving = [], []
        return jobs, leaving

    def shrink(self) -> None:
        """Dismiss idle workers that the grant no longer covers."""
        self._make_room((0.0, 0.0, 0.0))

    # -- inside --------------------------------------------------------------------------------------------------

    def _choose(self, count: Count, *, fresh: bool) -> list[Worker]:
        """Give the workers of an attempt: idle ones, then new ones in the place of others' idle ones."""
        need = count.need
        if need.nodes == 1 and count.idle and not fresh:
            return [count.idle.popitem()[1]]
        chosen: list[Worker] = []
        while not fresh and count.idle and len(chosen) < need.nodes:
            chosen.append(count.idle.popitem()[1])
        missing = need.nodes - len(chosen)
        if missing:
            self._make_room(count.times(missing))
        for _ in range(missing):
            worker = Worker(self._next, count, fresh=fresh)
            self._next += 1
            self.workers[worker.number] = worker
            count.all += 1
            self.jobs.append(Job(worker=worker.number, resources=need, environment=count.environment))
            chosen.append(worker)
        return chosen

    def _behind(self, count: Count, mean: float | None) -> Worker | None:
        """Find the worker with the least to do, if what it has to do is known to be short, as this attempt is."""
        if mean is None or mean > self._ahead_s or self._is_held_from(count):
            return None
        while count.short:
            ahead_s, number = count.short[0]
            worker = self.workers.get(number)
            if worker is None or worker.fresh or not worker.queue or worker.ahead_s != ahead_s or worker.unknown:
                heapq.heappop(count.short)
                continue
            return worker if ahead_s <= self._ahead_s and len(worker.queue) < AHEAD_LIMIT else None
        return None

    def _note_ahead(self, count: Count, worker: Worker) -> None:
        if worker.unknown or worker.gang or worker.fresh:
            return
        if len(count.short) > 8 * count.all + 64:
            numbers = {number for _, number in count.short}
            living = [self.workers[number] for number in numbers if number in self.workers]
            count.short = [(each.ahead_s, each.number) for each in living if each.queue and not each.unknown]
            heapq.heapify(count.short)
        heapq.heappush(count.short, (worker.ahead_s, worker.number))

    def _make_room(self, more: Three) -> None:
        """Dismiss idle workers until the grant covers all that are left, and this much more."""
        total = self._total()
        for count in self._counts.values():
            one = count.times(1)
            while count.idle and not self._covers(_plus(total, more)):
                self._dismiss(next(reversed(count.idle.values())))
                total = _plus(total, one, -1)

    def _dismiss(self, worker: Worker) -> None:
        del self.workers[worker.number]
        count = worker.count
        count.all -= 1
        count.idle.pop(worker.number, None)
        self.leaving.append(worker.number)

    def _fits(self, count: Count) -> bool:
        """Whether an attempt fits within the grant beside those that run, and beside the one that room is held for."""
        cpu, memory_gib, gpus = self._busy()
        nodes, grant, held = count.need.nodes, self.grant, self._held
        cpu += count.cpu * nodes
        memory_gib += count.memory_gib * nodes
        gpus += count.gpus * nodes
        if cpu > grant.cpu + _SLACK or memory_gib > grant.memory_gib + _SLACK or gpus > grant.gpus:
            return False
        if held is None or held == count.need:
            return True
        return self._covers(_plus((cpu, memory_gib, gpus), _shared(held, count.need)))

    def _is_held_from(self, count: Count) -> bool:
        held = self._held
        if held is None or held == count.need:
            return False
        return not self._covers(_plus(self._busy(), _shared(held, count.need)))

    def _covers(self, amount: Three) -> bool:
        grant = self.grant
        cpu, memory_gib, gpus = amount
        return cpu <= grant.cpu + _SLACK and memory_gib <= grant.memory_gib + _SLACK and gpus <= grant.gpus

    def _busy(self) -> Three:
        cpu = memory_gib = gpus = 0.0
        for count in self._counts.values():
            if count.busy:
                cpu += count.cpu * count.busy
                memory_gib += count.memory_gib * count.busy
                gpus += count.gpus * count.busy
        return cpu, memory_gib, gpus

    def _total(self) -> Three:
        total = (0.0, 0.0, 0.0)
        for count in self._counts.values():
            total = _plus(total, count.times(count.all))
        return total


def _plus(one: Three, other: Three, sign: int = 1) -> Three:
    return one[0] + sign * other[0], one[1] + sign * other[1], one[2] + sign * other[2]


def _shared(held: Resources, need: Resources) -> Three:
    """Give what is held of those things that the other needs too: nobody waits for what he doesn't use."""
    nodes = held.nodes
    return (
        held.cpu * nodes if need.cpu else 0.0,
        held.memory_gib * nodes if need.memory_gib else 0.0,
        float(held.gpus * nodes) if need.gpus else 0.0,
    )
