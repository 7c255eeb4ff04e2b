"""Adoption: a driver takes over the unstored reports and the living workers that an earlier driver left."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.run.driver.audience import Audience
from headrace.run.driver.courier import Courier
from headrace.run.driver.reports import Reports
from headrace.run.driver.sites import Site, Sites
from headrace.run.driver.steps import Steps
from headrace.run.events import Failed
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import Alive, Clock, Heard, Left
from headrace.run.wire import Report
from headrace.spec.failure import Failure

SHOWN = 5
"""A note names at most this many tasks."""


class Adoption:
    """Takes over the reports and workers that an earlier driver left. `Adoption` is used once, before the first tick.
    `_alive` holds the workers that were taken over."""

    def __init__(
        self,
        *,
        machine: Machine,
        steps: Steps,
        reports: Reports,
        sites: Sites,
        courier: Courier,
        clock: Clock,
        audience: Audience,
    ) -> None:
        self._machine = machine
        self._steps = steps
        self._reports = reports
        self._sites = sites
        self._courier = courier
        self._clock = clock
        self._audience = audience
        self._alive: dict[int, Alive] = {}

    def adopt(self, *, keep: bool, left: Sequence[Left]) -> None:
        """Store the reports that an earlier driver left, then add its living workers to the crew. An attempt continues
        if all its workers are alive and have not finished it yet. Otherwise it is lost.

        If `keep` is False, the workers are ended instead. `left` are the pools that the run no longer uses: the reports
        from there are stored too, but the workers there are always ended.
        """
        for each in left:
            self._hear(each, None)
        for site in self._sites.living:
            self._hear(site.backend, site if keep else None)
        lost = [task for task in self._machine.running() if not self._is_held(task.name, task.attempt, task.workers)]
        for task in lost:
            for worker in task.workers:
                if self._sites.crew(worker).holds(worker, task.name, task.attempt):
                    self._courier.end(worker, "lost", "another node of this attempt is gone", now=True)
            failure = Failure("lost", "the driver that had launched it is gone")
            self._steps.absorb(Failed(task.name, task.attempt, failure, self._clock.now()))
        self._note([f"`{task.name}` {self._start(task)}" for task in lost], may_change=not keep)
        for worker in self._alive:
            if (present := self._sites.crew(worker).present(worker)) is not None and self._is_over(*present):
                self._courier.end(worker, "lost", "its attempt no longer counts", now=True)

    def _hear(self, left: Left, site: Site | None) -> None:
        """Take over the reports and workers that an earlier driver left in a pool. The workers are added to the crew of
        `site`. If `site` is None, they are ended."""
        for notice in left.adopt():
            if isinstance(notice, Heard):
                if isinstance(notice.message, Report):
                    self._courier.heard(notice.worker, notice.message.seq)
                    self._reports.inherited(notice.worker, notice.message.body)
            elif site is not None:
                self._alive[notice.job.worker] = notice
                self._sites.note(notice.job.worker, site)
                fresh = any(self._is_fresh(task) for task, _ in notice.attempts)
                site.crew.adopt(notice.job, notice.attempts, done=notice.done, fresh=fresh)
            else:
                left.close([notice.job.worker], now=True)

    def _is_fresh(self, task: str) -> bool:
        known = self._machine.tasks.get(task)
        return known is not None and known.stage.isolation == "fresh"

    def _is_held(self, task: str, attempt: int, workers: tuple[int, ...]) -> bool:
        """Return whether each worker of an attempt is alive and has not yet finished the attempt."""
        alive = self._alive
        return all(worker in alive and (task, attempt) in alive[worker].attempts for worker in workers)

    def _is_over(self, task: str, attempt: int) -> bool:
        """Return whether an attempt no longer counts, so that its workers can be ended. If the task has an output,
        return False, because this attempt may have made the output."""
        known = self._machine.tasks.get(task)
        return not self._machine.expects(task, attempt) and not (known is not None and known.good)

    def _note(self, lost: list[str], *, may_change: bool) -> None:
        if lost:
            more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
            unless = "; those whose code or inputs change begin from the beginning" if may_change else ""
            self._audience.note(
                "attempts of these tasks had not finished when this driver took over the run, so they begin again:"
                f" {', '.join(lost[:SHOWN])}{more}{unless}"
            )

    def _start(self, task: Task) -> str:
        """Return a text that says where the next attempt of a task starts: at the beginning or at a checkpoint."""
        kept = self._machine.outputs.checkpoints(task.name, task.key)
        if kept is None:
            return "from the beginning"
        return f"from checkpoint {kept.number} of attempt {kept.attempt}" if kept.number else "from the last checkpoint"
