"""A crew's workers, counted by kind: what each has to do, and what those of a kind hold of the pool together."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping

from headrace.run.ports import Grant
from headrace.spec.stage import Resources

AHEAD_LIMIT = 256
_SLACK = 1e-6

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
        """Take an attempt out of the queue; return whether it was there."""
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
        """Return what so many workers hold."""
        return self.cpu * workers, self.memory_gib * workers, self.gpus * workers

    def note_ahead(self, worker: Worker, workers: Mapping[int, Worker]) -> None:
        """Take note of how much a worker has to do now, if that is known; `workers` are those that live."""
        if worker.unknown or worker.gang or worker.fresh:
            return
        if len(self.short) > 8 * self.all + 64:
            numbers = {number for _, number in self.short}
            living = [workers[number] for number in numbers if number in workers]
            self.short = [(other.ahead_s, other.number) for other in living if other.queue and not other.unknown]
            heapq.heapify(self.short)
        heapq.heappush(self.short, (worker.ahead_s, worker.number))

    def least_ahead(self, most_s: float, workers: Mapping[int, Worker]) -> Worker | None:
        """Return the worker with the least to do, if what it has to do is known and takes `most_s` at the most."""
        while self.short:
            ahead_s, number = self.short[0]
            worker = workers.get(number)
            if worker is None or worker.fresh or not worker.queue or worker.ahead_s != ahead_s or worker.unknown:
                heapq.heappop(self.short)
                continue
            return worker if ahead_s <= most_s and len(worker.queue) < AHEAD_LIMIT else None
        return None


def busy(counts: Iterable[Count]) -> Three:
    """Return what workers with something to do hold."""
    cpu = memory_gib = gpus = 0.0
    for count in counts:
        if count.busy:
            cpu += count.cpu * count.busy
            memory_gib += count.memory_gib * count.busy
            gpus += count.gpus * count.busy
    return cpu, memory_gib, gpus


def total(counts: Iterable[Count]) -> Three:
    """Return what all workers hold."""
    amount = (0.0, 0.0, 0.0)
    for count in counts:
        amount = plus(amount, count.times(count.all))
    return amount


def covers(grant: Grant, amount: Three) -> bool:
    """Return whether a grant covers that much."""
    cpu, memory_gib, gpus = amount
    return cpu <= grant.cpu + _SLACK and memory_gib <= grant.memory_gib + _SLACK and gpus <= grant.gpus


def plus(one: Three, other: Three, sign: int = 1) -> Three:
    """Add two amounts, or subtract the other."""
    return one[0] + sign * other[0], one[1] + sign * other[1], one[2] + sign * other[2]


def shared(held: Resources, need: Resources) -> Three:
    """Return what is held of those things that the other needs too: nobody waits for what he doesn't use."""
    nodes = held.nodes
    return (
        held.cpu * nodes if need.cpu else 0.0,
        held.memory_gib * nodes if need.memory_gib else 0.0,
        float(held.gpus * nodes) if need.gpus else 0.0,
    )
