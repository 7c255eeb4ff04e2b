"""Supervision of workers that die, run an attempt for too long, keep other attempts waiting, or can't start."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from headrace.run.driver.courier import Courier
from headrace.run.driver.sites import Sites
from headrace.run.driver.steps import Steps
from headrace.run.events import Failed, Recalled
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import STOPPED, TRACER, Beat, Clock, Delayed, Died
from headrace.run.wire import Drop
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.stage import Resources, Stage

RECALL_S = 0.5
"""Attempts are queued behind another attempt that is expected to be short. If the other attempt keeps them waiting for
more than this many seconds, the waiting attempts are queued again for other workers."""

RETURN_S = 60.0
"""A task that left a full pool may go back there after this many seconds, since the pool may have room by then. Each
time that the task leaves the pool again, this time doubles, so that the task seldom goes to and fro."""


class Supervision:
    """Watches how long each worker has run its attempt, and decides what happens to the attempts of a worker that dies.

    `_since` has two values for each worker: how many attempts the worker had finished before its present attempt, and
    when the present attempt was first seen (seconds of the monotonic clock). `run` is the name by which hints refer to
    the run.

    `_full` are the workers that can't start because their pool has no room. `_left` has the tasks that were taken back
    from a pool for this reason. For each pair of a task and a pool, it says for how many seconds the task stays away
    from the pool, and until when (seconds of the monotonic clock).
    """

    def __init__(
        self, *, machine: Machine, steps: Steps, sites: Sites, courier: Courier, clock: Clock, run: str
    ) -> None:
        self._machine = machine
        self._steps = steps
        self._sites = sites
        self._courier = courier
        self._clock = clock
        self._run = run
        self._since: dict[int, tuple[int, float]] = {}
        self._full: dict[int, None] = {}
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def died(self, notice: Died) -> None:
        """Handle the death of a worker: its running attempt fails, and the attempts that waited behind that one are
        lost."""
        queue = self._sites.crew(notice.worker).lost(notice.worker)
        self._since.pop(notice.worker, None)
        self._full.pop(notice.worker, None)
        verdict = self._courier.bury(notice.worker)
        for place, (task, attempt) in enumerate(queue):
            if not self._machine.expects(task, attempt):
                continue
            workers, started = self._machine.tasks[task].workers, self._machine.tasks[task].started
            self._courier.end_gang(workers, notice.worker, task, attempt)
            if verdict is not None and verdict.of == (task, attempt):
                is_clear = verdict.now or notice.why == STOPPED
                why = verdict.why if is_clear else f"{verdict.why}; {notice.why}"
                failure = Failure(verdict.kind, why, hint=self._hint(verdict.kind, task))
            elif verdict is None and place == 0:
                failure = Failure(notice.kind, notice.why, hint=notice.hint or self._hint(notice.kind, task))
            else:
                failure = Failure("lost", f"its worker ended while another task ran: {notice.why}")
            now = self._clock.now()
            took_s = max(0.0, now - started) if place == 0 else 0.0
            jitter = self._clock.jitter()
            self._steps.fail(Failed(task, attempt, failure, now, started=started, seconds=took_s, jitter=jitter))

    def beat(self, beat: Beat) -> None:
        """Check how long a worker has run its attempt. End the attempt if it is past its timeout. If other attempts
        have waited behind it for too long, queue them again."""
        crew = self._sites.crew(beat.worker)
        present = crew.present(beat.worker)
        if present is None or self._courier.ends(beat.worker) or beat.at != crew.workers[beat.worker].done:
            return
        limit = self._limit_s(present[0])
        if limit is None and not crew.waiting(beat.worker):
            return
        now = self._clock.monotonic()
        at, since = self._since.get(beat.worker, (-1, now))
        if at != beat.at:
            self._since[beat.worker] = beat.at, now
        elif not self._time_out(beat.worker, limit, now - since) and now - since > RECALL_S:
            self._recall(beat.worker)

    def look(self) -> None:
        """End attempts past their timeout even if no `Beat` of their worker arrives: if the worker hangs, the process
        that sends its beats may have been stopped along with it."""
        now = self._clock.monotonic()
        for worker, (at, since) in list(self._since.items()):
            crew = self._sites.crew(worker)
            present = crew.present(worker)
            if present is None or self._courier.ends(worker):
                continue
            if at == crew.workers[worker].done:
                self._time_out(worker, self._limit_s(present[0]), now - since)

    def delayed(self, notice: Delayed) -> None:
        """Note whether a worker can't start because its pool has no room."""
        if notice.is_full and notice.worker != TRACER:
            self._full[notice.worker] = None
        else:
            self._full.pop(notice.worker, None)

    def wanted(self, pool: str) -> list[tuple[Resources, int]]:
        """Return pairs of a need and the number of tasks with this need. These are tasks whose workers can't start
        because their pool is full, and which may be moved to `pool`."""
        return [(task.stage.resources, 1) for task in self._stuck() if pool in self._others(task)]

    def withdraw(self) -> None:
        """Take back the attempts whose workers can't start, if another pool of the run has room for them: end these
        workers, and queue the attempts again. Call this after the launches, since other tasks come first.

        Some tasks were placed in a pool and still wait for their inputs. The room that they need counts as used.
        """
        if not self._full:
            return
        placed = self._machine.phases.placed
        coming = {name: [each.stage for each in tasks.values()] for name, tasks in placed.items()}
        full: set[tuple[str, int]] = set()
        for task in list(self._stuck()):
            if (pool := self._room_for(task, coming, full)) is not None:
                coming.setdefault(pool, []).append(task.stage)
                self._take_back(task)

    def _room_for(self, task: Task, coming: Mapping[str, Sequence[Stage]], full: set[tuple[str, int]]) -> str | None:
        """Return the name of another pool that has room for a task, or None. `coming` has, for each pool, the stages of
        attempts that are on their way there and need room too.

        `full` has pairs of a pool that has no room and the id of a stage. These pools aren't asked again. New pairs are
        added."""
        others = self._others(task)
        for site in self._sites.living:
            pool = site.pool.name
            if pool in others and (pool, id(task.stage)) not in full:
                if site.crew.has_room(task.stage, coming.get(pool, ()), behind=False):
                    return pool
                full.add((pool, id(task.stage)))
        return None

    def _stuck(self) -> Iterator[Task]:
        """Yield the tasks that may go to another pool, and whose workers can't start because their pool has no room."""
        if not (self._full and self._sites.several and self._machine.may_launch):
            return
        for worker in self._full:
            present = self._sites.crew(worker).present(worker)
            if present is not None and self._machine.expects(*present):
                task = self._machine.tasks[present[0]]
                waiting = [each for each in task.workers if each in self._full]
                if waiting[0] == worker and task.move is None:  # of a task's workers, the first that can't start
                    yield task

    def _others(self, task: Task) -> list[str]:
        """Return the other pools that a running task may go to."""
        now, never = self._clock.monotonic(), (0.0, 0.0)
        others = [name for name in task.where or () if name != task.pool]
        return [name for name in others if now >= self._left.get((task.name, name), never)[1]]

    def _take_back(self, task: Task) -> None:
        """End the workers of a task's attempt. Queue this attempt again, and also the attempts that wait behind it."""
        left = task.name, task.pool or ""
        away_s = 2 * self._left[left][0] if left in self._left else RETURN_S
        self._left[left] = away_s, self._clock.monotonic() + away_s
        for worker in task.workers:
            self._full.pop(worker, None)
            for name, attempt in self._sites.crew(worker).lost(worker):
                if self._machine.expects(name, attempt):
                    self._steps.absorb(Recalled(name, attempt, full=True))
            self._courier.end(worker, "cancelled", "another pool had room for its attempt", now=True)

    def _limit_s(self, name: str) -> float | None:
        task = self._machine.tasks.get(name)
        return None if task is None else task.stage.timeout_s

    def _time_out(self, worker: int, limit: float | None, took_s: float) -> bool:
        """Return whether a worker's attempt is past its limit. If so, end the attempt."""
        if limit is None or took_s <= limit:
            return False
        self._courier.end(worker, "timeout", f"it ran longer than its timeout of {limit:g} s", now=True)
        return True

    def _recall(self, worker: int) -> None:
        """Queue again the attempts that wait behind a worker's present attempt. The present attempt takes longer than
        expected, so other workers are to run these attempts."""
        for task, attempt in self._sites.crew(worker).recall(worker):
            if self._machine.expects(task, attempt):
                self._courier.post(worker, Drop(task, attempt))
                self._steps.absorb(Recalled(task, attempt))

    def _hint(self, kind: FailureKind, task: str) -> str | None:
        """Return a hint for failures of this kind, or None."""
        words = shlex.join([self._run, task])
        return {
            "memory": "raise `memory_gib` in the stage's resources, or let the stage work on less at a time",
            "timeout": "raise `timeout`, or let the stage do less",
            "crash": f"`headrace logs {words}` has its last output; `headrace debug {words}` runs it in one process",
        }.get(kind)
