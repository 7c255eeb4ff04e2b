"""The crew: a run's workers in one pool, what each holds and how far ahead its queue reaches.

Short attempts are queued behind another on the same worker, so that no worker waits for the driver; they share its
grant. How many is measured: about 10 ms of work ahead, one attempt while nothing is known.
"""

from __future__ import annotations

from collections import deque

from headrace.run.ports import Grant, Job
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources, Stage

AHEAD_S = 0.010
AHEAD_LIMIT = 256
_NOTHING = Resources(cpu=1e-9)


class Worker:
    """One worker process: what it holds, what it has been told to do, oldest first."""

    __slots__ = ("done", "fresh", "gang", "number", "queue", "resources")

    def __init__(self, number: int, resources: Resources, *, fresh: bool) -> None:
        self.number = number
        self.resources = resources
        self.fresh = fresh
        self.queue: deque[tuple[str, int]] = deque()
        self.gang = False
        self.done = 0


class Crew:
    """Reserves workers for attempts within the run's grant; starts and dismisses them. Implements `machine.Room`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.grant = Grant(pool=pool.name, cpu=0, memory_gib=0, gpus=0, expires=0)
        self.workers: dict[int, Worker] = {}
        self.jobs: list[Job] = []
        self.leaving: list[int] = []
        self._next = 1
        self._mean: dict[str, float] = {}

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._pool.name

    def price(self, need: Resources) -> float:
        """Give US dollars per hour of an attempt: its share of the pool, at the pool's price."""
        return self._pool.usd_per_hour * self._pool.share(need)

    def take(self, task: str, attempt: int, stage: Stage) -> tuple[int, ...] | None:
        """Give an attempt to workers: idle ones, new ones or, if it is short, one behind others; None if none can."""
        need, fresh = stage.resources, stage.isolation == "fresh"
        like = [] if fresh else [w for w in self.workers.values() if not w.fresh and w.resources == need]
        chosen = [worker for worker in like if not worker.queue][: need.nodes]
        while len(chosen) < need.nodes and (worker := self._hire(need, fresh=fresh)) is not None:
            chosen.append(worker)
        if len(chosen) < need.nodes:
            ahead = None if need.nodes > 1 else self._behind(like, stage.function)
            if ahead is None:
                return None
            chosen = [ahead]
        for worker in chosen:
            worker.gang = need.nodes > 1
            worker.queue.append((task, attempt))
        return tuple(worker.number for worker in chosen)

    def finished(self, number: int, task: str, attempt: int, stage: str, seconds: float | None) -> None:
        """Note that an attempt has ended on a worker, and how long all of it took there, if it succeeded."""
        worker = self.workers.get(number)
        if worker is None:
            return
        if (task, attempt) in worker.queue:
            worker.queue.remove((task, attempt))
            worker.done += 1
        if seconds is not None:
            mean = self._mean.get(stage)
            self._mean[stage] = seconds if mean is None else mean + (seconds - mean) / 8
        if worker.fresh and not worker.queue:
            self._dismiss(worker)

    def lost(self, number: int) -> list[tuple[str, int]]:
        """Forget a worker that died; give the attempts that it had, oldest first."""
        worker = self.workers.pop(number, None)
        return [] if worker is None else list(worker.queue)

    def used(self) -> tuple[float, float, int]:
        """Give the cpus, GiB and gpus that workers with something to do hold."""
        busy = [worker.resources for worker in self.workers.values() if worker.queue]
        return sum(n.cpu for n in busy), sum(n.memory_gib for n in busy), sum(n.gpus for n in busy)

    def drain(self) -> tuple[list[Job], list[int]]:
        """Give, once, the workers to start and those to dismiss."""
        jobs, leaving = self.jobs, self.leaving
        self.jobs, self.leaving = [], []
        return jobs, leaving

    def shrink(self) -> None:
        """Dismiss idle workers that the grant no longer covers."""
        for worker in list(self.workers.values()):
            if self._fits(_NOTHING):
                return
            if not worker.queue:
                self._dismiss(worker)

    def _behind(self, like: list[Worker], stage: str) -> Worker | None:
        mean = self._mean.get(stage)
        if mean is None or not like:
            return None
        most = min(AHEAD_LIMIT, int(AHEAD_S / max(mean, 1e-6)))
        shortest = min((w for w in like if not w.gang), key=lambda w: len(w.queue), default=None)
        return shortest if shortest is not None and len(shortest.queue) <= most else None

    def _hire(self, need: Resources, *, fresh: bool) -> Worker | None:
        if not self._fits(need):
            for worker in list(self.workers.values()):
                if not worker.queue and (worker.resources != need or fresh):
                    self._dismiss(worker)
                    if self._fits(need):
                        break
            else:
                return None
        worker = Worker(self._next, need, fresh=fresh)
        self._next += 1
        self.workers[worker.number] = worker
        self.jobs.append(Job(worker=worker.number, resources=need))
        return worker

    def _dismiss(self, worker: Worker) -> None:
        del self.workers[worker.number]
        self.leaving.append(worker.number)

    def _fits(self, need: Resources) -> bool:
        """Whether one more worker (one node's share) fits within the grant, beside those that are there."""
        held = [worker.resources for worker in self.workers.values()]
        slack = 1e-6
        return (
            sum(n.cpu for n in held) + need.cpu <= self.grant.cpu + slack
            and sum(n.memory_gib for n in held) + need.memory_gib <= self.grant.memory_gib + slack
            and sum(n.gpus for n in held) + need.gpus <= self.grant.gpus
        )
