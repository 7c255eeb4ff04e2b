"""The crew: a run's workers in one pool. For each worker, the crew knows its attempts and how long its queue will take.

Short attempts are queued behind another attempt on the same worker, so that no worker waits for the driver. Attempts on
one worker share its part of the grant. A queue holds some milliseconds of work, or more if messages take longer. How
long a queue takes is computed from measured times, so attempts of a stage that has not been measured are never queued
behind others.

Workers with the same needs are counted together (`Count`). All methods use these counts, so their time doesn't grow
with the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.run.driver.worker import Count, Three, Worker, busy, covers, plus, shared, total
from headrace.run.ports import Grant, Job, Want
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources, Stage

AHEAD_S = 0.010
AHEAD_PLACED = 32
"""While this many attempts are on their way to a pool, no more are placed there to be queued behind others."""
_NOTHING = Resources(cpu=1e-9)


class Crew:
    """Assigns attempts to workers within the run's grant; starts and dismisses workers. Implements `Room` of the state
    machine. `numbers` yields the numbers of new workers. `pool` and `region` are the names of the pool and of its
    region."""

    def __init__(self, pool: Pool, numbers: Iterator[int], ahead_s: float = AHEAD_S) -> None:
        self._pool = pool
        self.pool, self.region = pool.name, pool.region
        self._ahead_s = ahead_s
        self.grant = Grant(pool=pool.name, cpu=0, memory_gib=0, gpus=0, expires=0)
        self.workers: dict[int, Worker] = {}
        self.jobs: list[Job] = []
        self.leaving: list[int] = []
        self._counts: dict[tuple[Resources, str | None], Count] = {}
        self._numbers = numbers
        self._mean: dict[str, float] = {}
        self._held: Resources | None = None

    # -- the room that a state machine sees ----------------------------------------------------------------------

    def price(self, need: Resources) -> float:
        """Return the price of an attempt in US dollars per hour: its share of the pool times the pool's price."""
        return self._pool.usd_per_hour * self._pool.share(need)

    def hold(self, need: Resources | None) -> None:
        """Reserve room for an attempt with this need; None ends the reservation."""
        self._held = need

    def has_room(self, stage: Stage, placed: Sequence[Stage], *, behind: bool) -> bool:
        """Return whether an attempt of this stage could start now. Attempts of the stages `placed` are on their way to
        this pool, and need room too. If `behind` is True, the attempt may also be queued behind a short one."""
        count = self._count(stage)
        amount = count.times(count.need.nodes)
        for each in placed:
            amount = plus(amount, self._count(each).times(each.resources.nodes))
        if self._fits(count, amount):
            return True
        if not behind or len(placed) >= AHEAD_PLACED or count.need.nodes > 1 or stage.isolation == "fresh":
            return False
        return self._behind(count, self._mean.get(stage.function)) is not None

    def take(self, task: str, attempt: int, stage: Stage, *, behind: bool = True) -> tuple[int, ...] | None:
        """Assign an attempt to workers and return their numbers, or None if there is no room.

        Idle workers are used first, then new ones. If `behind` is True and the grant covers no more workers, a short
        attempt may be queued behind others.
        """
        need, fresh = stage.resources, stage.isolation == "fresh"
        mean = self._mean.get(stage.function)
        count = self._count(stage)
        if self._fits(count, count.times(need.nodes)):
            chosen = self._choose(count, fresh=fresh)
        else:
            ahead = None if not behind or need.nodes > 1 or fresh else self._behind(count, mean)
            if ahead is None:
                return None
            chosen = [ahead]
        for worker in chosen:
            if not worker.queue:
                count.busy += 1
                worker.gang = need.nodes > 1
            worker.add(task, attempt, mean)
            count.note_ahead(worker, self.workers)
        return (chosen[0].number,) if len(chosen) == 1 else tuple([worker.number for worker in chosen])

    # -- what the driver tells it --------------------------------------------------------------------------------

    def finished(self, number: int, task: str, attempt: int, stage: str, seconds: float | None) -> None:
        """Note that an attempt has ended on a worker. `seconds` is how long the attempt took on this worker in all, or
        None if it failed."""
        if seconds is not None:
            mean = self._mean.get(stage)
            self._mean[stage] = seconds if mean is None else mean + (seconds - mean) / 8
        worker = self.workers.get(number)
        if worker is None:
            return
        worker.done += 1  # also for an attempt that was taken back too late: the worker counts it
        if not worker.remove(task, attempt):
            return
        count = worker.count
        if worker.queue:
            count.note_ahead(worker, self.workers)
            return
        count.busy -= 1
        count.idle[number] = worker
        if worker.fresh:
            self._dismiss(worker)

    def adopt(self, job: Job, attempts: Sequence[tuple[str, int]], *, done: int, fresh: bool) -> None:
        """Add a worker that an earlier driver started. `attempts` are the attempts that the worker was given and has
        not finished, oldest first. `done` is how many it has finished. If `fresh` is True, one of `attempts` needs a
        fresh worker (`isolation="fresh"`), so this worker gets no other attempts."""
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
        """Forget a worker that died; return the attempts that it had not finished, oldest first."""
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
        """Remove from a worker's queue all attempts but the present one, and return them. Because the present attempt
        takes long, no attempt is queued behind it any more."""
        worker = self.workers.get(number)
        if worker is None or len(worker.queue) < 2:
            return []
        (task, attempt, _), *rest = worker.queue
        worker.queue.clear()
        worker.ahead_s, worker.unknown = 0.0, 0
        worker.add(task, attempt, None)
        return [(each, other) for each, other, _ in rest]

    def waiting(self, number: int) -> bool:
        """Return whether an attempt waits behind the one that a worker runs."""
        worker = self.workers.get(number)
        return worker is not None and len(worker.queue) > 1

    def holds(self, number: int, task: str, attempt: int) -> bool:
        """Return whether a worker has this attempt and has not finished it."""
        worker = self.workers.get(number)
        return worker is not None and any(each[:2] == (task, attempt) for each in worker.queue)

    def queued(self, number: int) -> list[tuple[str, int]]:
        """Return the attempts that a worker has not finished, oldest first."""
        worker = self.workers.get(number)
        return [] if worker is None else [(task, attempt) for task, attempt, _ in worker.queue]

    def present(self, number: int) -> tuple[str, int] | None:
        """Return the attempt that a worker runs according to its reports so far, or None if it has none."""
        worker = self.workers.get(number)
        return worker.queue[0][:2] if worker is not None and worker.queue else None

    def used(self) -> tuple[float, float, int]:
        """Return the cpus, GiB of memory and gpus held by workers that have something to do."""
        cpu, memory, gpus = busy(self._counts.values())
        return cpu, memory, int(gpus)

    def want(self, wanted: Sequence[tuple[Resources, int]]) -> Want:
        """Return how much of the pool to ask for: what is used now, plus what waiting tasks need. `wanted` are pairs of
        a need and the number of waiting tasks with that need."""
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
        """Return the workers to start and the numbers of the workers to dismiss, and forget both lists."""
        jobs, leaving = self.jobs, self.leaving
        self.jobs, self.leaving = [], []
        return jobs, leaving

    def shrink(self) -> None:
        """Dismiss idle workers that the grant no longer covers."""
        self._make_room((0.0, 0.0, 0.0))

    # -- inside --------------------------------------------------------------------------------------------------

    def _choose(self, count: Count, *, fresh: bool) -> list[Worker]:
        """Return workers for an attempt: idle ones first (none if `fresh` is True), then new ones. To make room for new
        workers, idle workers with other needs are dismissed."""
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
            worker = Worker(next(self._numbers), count, fresh=fresh)
            self.workers[worker.number] = worker
            count.all += 1
            self.jobs.append(Job(worker=worker.number, resources=need, environment=count.environment))
            chosen.append(worker)
        return chosen

    def _behind(self, count: Count, mean: float | None) -> Worker | None:
        """Return the worker whose queue takes the least time, or None if the attempt should not be queued. `mean` is
        the expected time of the attempt. The attempt isn't queued if `mean` is long or unknown, or if every queue takes
        a long or an unknown time."""
        if mean is None or mean > self._ahead_s or self._is_held_from(count):
            return None
        return count.least_ahead(self._ahead_s, self.workers)

    def _make_room(self, more: Three) -> None:
        """Dismiss idle workers until the grant covers the remaining workers plus the amount `more`."""
        amount = total(self._counts.values())
        for count in self._counts.values():
            one = count.times(1)
            while count.idle and not covers(self.grant, plus(amount, more)):
                self._dismiss(next(reversed(count.idle.values())))
                amount = plus(amount, one, -1)

    def _dismiss(self, worker: Worker) -> None:
        del self.workers[worker.number]
        count = worker.count
        count.all -= 1
        count.idle.pop(worker.number, None)
        self.leaving.append(worker.number)

    def _count(self, stage: Stage) -> Count:
        """Return the `Count` of the workers that attempts of this stage need."""
        count = self._counts.get(kind := (stage.resources, stage.environment))
        if count is None:
            count = self._counts[kind] = Count(*kind)
        return count

    def _fits(self, count: Count, more: Three) -> bool:
        """Return whether the grant has room for `more` in addition to the running attempts. `more` is what some
        attempts need; one of them is to start on workers of `count`. If room is reserved for an attempt with another
        need, it must stay free, as far as it consists of resources that these workers use."""
        held = self._held
        amount = plus(busy(self._counts.values()), more)
        if not covers(self.grant, amount):
            return False
        return held is None or held == count.need or covers(self.grant, plus(amount, shared(held, count.need)))

    def _is_held_from(self, count: Count) -> bool:
        held = self._held
        if held is None or held == count.need:
            return False
        return not covers(self.grant, plus(busy(self._counts.values()), shared(held, count.need)))
