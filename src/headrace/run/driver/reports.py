"""Reports of workers about their attempts. A report counts only if it is about the attempt that runs now."""

from __future__ import annotations

from msgspec.structs import replace

from headrace.errors import BackendError
from headrace.run.driver.audience import Audience
from headrace.run.driver.courier import Courier
from headrace.run.driver.sites import Sites
from headrace.run.driver.steps import Steps
from headrace.run.driver.tracer import Tracer
from headrace.run.events import (
    Asked,
    Awaits,
    Checkpointed,
    Failed,
    Logged,
    Moved,
    Succeeded,
    Traced,
    TraceEnded,
    TraceFailed,
    decode_event,
)
from headrace.run.machine.machine import Machine
from headrace.run.ports import TRACER, Clock
from headrace.run.projection import kept_by
from headrace.run.wire import Progress
from headrace.spec.failure import Failure


class Reports:
    """Handles the reports of workers, updates the crew's counts, and steps the state machine with the reports that
    count."""

    def __init__(
        self,
        *,
        machine: Machine,
        steps: Steps,
        sites: Sites,
        courier: Courier,
        tracer: Tracer,
        clock: Clock,
        audience: Audience,
    ) -> None:
        self._machine = machine
        self._steps = steps
        self._sites = sites
        self._courier = courier
        self._tracer = tracer
        self._clock = clock
        self._audience = audience

    def heard(self, worker: int, body: bytes) -> None:
        """Handle a report of a worker or of the tracer.

        Raises:
            BackendError: the report is of a kind that this worker may not send.
            TraceError, PlacementError: the graph that the tracer sent is refused.
        """
        event = decode_event(body)
        match event:
            case Succeeded(task=task, attempt=attempt):
                took_s = event.seconds + event.load_s + event.save_s
                self._sites.crew(worker).finished(worker, task, attempt, self._stage(task), took_s)
                if self._counts(worker, event):
                    self._succeeded(worker, event, body)
            case Moved(task=task, attempt=attempt):
                self._sites.crew(worker).finished(worker, task, attempt, self._stage(task), event.seconds)
                if self._counts(worker, event):
                    self._steps.absorb(event, body)
            case Failed(task=task, attempt=attempt, failure=failure):
                self._sites.crew(worker).finished(worker, task, attempt, "", None)
                if failure.kind == "cancelled":
                    self._sites.crew(worker).retire(worker)  # it exits now, whoever cancelled it
                if self._counts(worker, event):
                    self._courier.end_gang(self._machine.tasks[task].workers, worker, task, attempt)
                    self._steps.fail(event)
            case Checkpointed():
                if self._counts(worker, event):
                    self._steps.absorb(event, body)
            case Logged():
                self._logged(event, body)
            case Traced() | TraceEnded() | TraceFailed() | Asked() if worker == TRACER:
                self._tracer.heard(event, body)
            case _:
                raise BackendError(f"worker {worker} reported `{type(event).__name__}`, which a worker may not report")

    def inherited(self, worker: int, body: bytes) -> None:
        """Handle a worker's report that an earlier driver did not store."""
        event = decode_event(body)
        if isinstance(event, Failed) and self._counts(worker, event):
            self._steps.fail(event)
        elif isinstance(event, Logged):
            self._logged(event, body)
        elif isinstance(event, Succeeded) and self._counts(worker, event):
            self._succeeded(worker, event, body)
        elif isinstance(event, Moved | Checkpointed) and self._counts(worker, event):
            self._steps.absorb(event, body)

    def progress(self, progress: Progress) -> None:
        """Show how many bytes a transfer has copied. The number is not stored."""
        if self._machine.expects(progress.task, progress.attempt):
            task = self._machine.tasks[progress.task]
            size = 0 if task.move is None else task.move.ref.size
            reason = f"{progress.done / 1e6:.0f} of {size / 1e6:.0f} MB; {task.reason}"
            self._audience.show([replace(task.row(), reason=reason)])

    def waits(self, worker: int, why: str) -> None:
        """Note what a worker waits for. If the worker is the tracer, show the reason as a note, since the tracer has no
        task."""
        if worker == TRACER and why:
            self._audience.note(why)
        for task, attempt in self._sites.crew(worker).queued(worker):
            if self._machine.expects(task, attempt):
                self._steps.absorb(Awaits(task, attempt, why))

    def _stage(self, task: str) -> str:
        known = self._machine.tasks.get(task)
        return "" if known is None else known.stage.function

    def _logged(self, event: Logged, body: bytes) -> None:
        """Handle what a running attempt has logged. Each worker of an attempt that spans nodes may log."""
        if self._machine.expects(event.task, event.attempt) and not self._machine.curves.knows(event):
            self._steps.absorb(event, body)

    def _succeeded(self, worker: int, event: Succeeded, body: bytes) -> None:
        """Handle a success on a worker. The success counts if the store has all blobs that the event names. If one of
        these blobs was deleted in the meantime, the attempt counts as lost."""
        now = self._clock.now()
        took_s = max(event.seconds + event.load_s + event.save_s, now - self._machine.tasks[event.task].started)
        if (lost := self._sites.of(worker).places.lost(kept_by(event), took_s)) is None:
            self._steps.absorb(event, body)
            return
        blob = f"blob `{lost.digest[:12]}`, which the task had stored,"
        why = f"{blob} was gone from the store before the task's success was recorded"
        failure = Failure(
            "lost",
            why,
            hint="check whether something other than `headrace gc` deletes files there, such as a rule of the bucket",
        )
        self._steps.absorb(
            Failed(event.task, event.attempt, failure, now, event.started, event.seconds, event.log, event.use)
        )

    def _counts(self, worker: int, event: Succeeded | Moved | Failed | Checkpointed) -> bool:
        """Return whether a report counts.

        The report must be about the attempt that runs now. A failure may come from any worker of the attempt. Every
        other report must come from the attempt's first worker. A checkpoint must not have been reported before.
        """
        if not self._machine.expects(event.task, event.attempt):
            return False
        task = self._machine.tasks[event.task]
        if isinstance(event, Checkpointed) and self._machine.outputs.knows(task, event):
            return False
        workers = task.workers
        return worker in workers if isinstance(event, Failed) else worker == workers[0]
