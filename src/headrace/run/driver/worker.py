"""The workers of a crew, counted by kind: the queue of each worker, and how much of the pool all workers of a kind
use."""

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
    """One worker process: its kind, and its queue of attempts, oldest first.

    `ahead_s` is the sum of the known times of the queued attempts, in seconds. `unknown` is the number of queued
    attempts whose time is unknown. `done` is the number of attempts that have ended. `fresh` is True if the worker gets
    no more attempts and leaves once its queue is empty. There are two reasons for this: the worker was started for an
    attempt that needs a fresh worker (`isolation="fresh"`), or it is being ended.
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
        """Queue an attempt. `mean` is its expected time in seconds, or None if unknown."""
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
    """The workers with the same need and environment: how many there are, how many are busy, and which are idle.

    `need` is how much of the pool one of these workers uses.
    """

    __slots__ = ("all", "busy", "cpu", "environment", "gpus", "idle", "memory_gib", "need", "short")

    def __init__(self, need: Resources, environment: str | None) -> None:
        self.need = need
        self.environment = environment
        self.cpu, self.memory_gib, self.gpus = need.cpu, need.memory_gib, float(need.gpus)
        self.all = 0
        self.busy = 0
        self.idle: dict[int, Worker] = {}
        self.short: list[tuple[float, int]] = []  # a heap of (ahead_s, number); an entry may be out of date

    def times(self, workers: int) -> Three:
        """Return how much of the pool this many workers use."""
        return self.cpu * workers, self.memory_gib * workers, self.gpus * workers

    def note_ahead(self, worker: Worker, workers: Mapping[int, Worker]) -> None:
        """Note how long a worker's queue takes now, if the times of all queued attempts are known. `workers` are the
        living workers."""
        if worker.unknown or worker.gang or worker.fresh:
            return
        if len(self.short) > 8 * self.all + 64:
            numbers = {number for _, number in self.short}
            living = [workers[number] for number in numbers if number in workers]
            self.short = [(other.ahead_s, other.number) for other in living if other.queue and not other.unknown]
            heapq.heapify(self.short)
        heapq.heappush(self.short, (worker.ahead_s, worker.number))

    def least_ahead(self, most_s: float, workers: Mapping[int, Worker]) -> Worker | None:
        """Return the worker whose queue takes the least time. Return None if no time is known, or if the least time is
        above `most_s` seconds."""
        while self.short:
            ahead_s, number = self.short[0]
            worker = workers.get(number)
            if worker is None or worker.fresh or not worker.queue or worker.ahead_s != ahead_s or worker.unknown:
                heapq.heappop(self.short)
                continue
            return worker if ahead_s <= most_s and len(worker.queue) < AHEAD_LIMIT else None
        return None


def busy(counts: Iterable[Count]) -> Three:
    """Return how much of the pool is used by all workers that have something to do."""
    cpu = memory_gib = gpus = 0.0
    for count in counts:
        if count.busy:
            cpu += count.cpu * count.busy
            memory_gib += count.memory_gib * count.busy
            gpus += count.gpus * count.busy
    return cpu, memory_gib, gpus


def total(counts: Iterable[Count]) -> Three:
    """Return how much of the pool all workers use."""
    amount = (0.0, 0.0, 0.0)
    for count in counts:
        amount = plus(amount, count.times(count.all))
    return amount


def covers(grant: Grant, amount: Three) -> bool:
    """Return whether a grant covers this amount."""
    cpu, memory_gib, gpus = amount
    return cpu <= grant.cpu + _SLACK and memory_gib <= grant.memory_gib + _SLACK and gpus <= grant.gpus


def plus(one: Three, other: Three, sign: int = 1) -> Three:
    """Return the sum of two amounts, or their difference if `sign` is -1."""
    return one[0] + sign * other[0], one[1] + sign * other[1], one[2] + sign * other[2]


def shared(held: Resources, need: Resources) -> Three:
    """Return the amounts in `held` of those resources that `need` uses too. All other amounts are zero."""
    nodes = held.nodes
    return (
        held.cpu * nodes if need.cpu else 0.0,
        held.memory_gib * nodes if need.memory_gib else 0.0,
        float(held.gpus * nodes) if need.gpus else 0.0,
    )
