"""The attempts of a run's tasks, and what follows from the events about them."""

from __future__ import annotations

from headrace.plan.keys import differing, key_seen
from headrace.run.curves import Curves
from headrace.run.events import Awaits, Checkpointed, Failed, Launched, Logged, Recalled, Succeeded
from headrace.run.machine.dialogue import Dialogue
from headrace.run.machine.outputs import Outputs
from headrace.run.machine.phases import Phases
from headrace.run.machine.retry import Retry, retry
from headrace.run.machine.task import Task


class Attempts:
    """Handles the events of attempts. At most one attempt of a task counts: the one that was launched last."""

    def __init__(self, phases: Phases, outputs: Outputs, dialogue: Dialogue, curves: Curves) -> None:
        self._phases = phases
        self._outputs = outputs
        self._dialogue = dialogue
        self._curves = curves
        self.last_worker = 0

    def launched(self, event: Launched) -> None:
        """Handle the launch of an attempt: its task runs now."""
        phases = self._phases
        task = phases.tasks[event.task]
        for worker in event.workers:
            if worker > self.last_worker:
                self.last_worker = worker
        if task.ended or task.phase == "running":
            return
        phases.move(task, "running")
        task.pool_reason = task.placed_why if phases.is_spread else None
        phases.unplace(task)
        task.launch(event, phases.region_of(event.pool))
        self._curves.turn(task.name, event.key)

    def heard(self, event: Awaits | Checkpointed | Logged | Recalled) -> None:
        """Handle an event that does not end its attempt."""
        task = self._phases.current(event.task, event.attempt)
        if task is None:
            return
        match event:
            case Logged():
                self._curves.add(event)  # for readers only: nothing follows from it
            case Checkpointed():
                self._outputs.keep_checkpoint(task, event)
            case Awaits(why=why):
                task.awaits = why
                self._phases.changed[task.name] = task
            case Recalled(full=full):
                if full:
                    task.prefer_others()
                    task.left = task.pool or ""
                self._phases.queue(task)

    def succeeded(self, event: Succeeded, platform: str | None) -> None:
        """Handle the success of an attempt that ran on `platform`."""
        task = self._phases.current(event.task, event.attempt)
        if task is None:
            return
        task.out, task.log, task.started = event.out, event.log, event.started
        task.spend(event.seconds, event.load_s, event.save_s)
        self._dialogue.advanced(event.intents)
        reason = task.why
        if event.saw and task.key and task.inputs is not None:
            reason += self._seen(task, event, task.inputs, platform)
        if task.key:
            self._outputs.succeeded(task.key, event.out, reusable=event.unreusable is None)
        if task.failure is not None:
            reason = f"{reason}; attempt {event.attempt}, after: {task.failure.message}"
        if event.unreusable is not None:
            reason = f"{reason}; not reusable: {event.unreusable}"
        self._curves.end(task.name)
        self._phases.end(task, "succeeded", reason)

    def _seen(self, task: Task, event: Succeeded, inputs: bytes, platform: str | None) -> str:
        """Set the task's key to the key of the inputs that the attempt really read. Return a text to add to the task's
        reason."""
        self._outputs.kept[task.name, task.key or ""] = event.out  # this run looks it up by the key of the launch
        key, seen = key_seen(task.stage, inputs, event.saw, platform)
        same = key == task.key
        task.key, task.inputs = key, seen
        if same:
            return ""
        names = ", ".join(f"`{name}`" for name in differing(inputs, seen))
        return f"; {names} had changed before the attempt read it, so the output's key has the value that was read"

    def failed(self, event: Failed) -> None:
        """Handle the failure of an attempt: try again at once, try again after a pause, or end the task as failed."""
        phases = self._phases
        task = phases.current(event.task, event.attempt)
        if task is None:
            return
        kind = event.failure.kind
        if kind in ("lost", "refused") and task.prefer_others():  # its pool may be to blame
            avoided = f"attempt {event.attempt} was {kind} in `{task.pool}`"
            task.barred = f"{task.barred}; {avoided}" if task.barred else avoided
        task.failure, task.log, task.awaits = event.failure, event.log, ""
        task.spend(event.seconds)
        task.failures = task.failures or {}
        task.failures[kind] = task.failures.get(kind, 0) + 1
        if kind == "cancelled" or phases.cancelled is not None:
            phases.end(task, "cancelled", event.failure.message)
            return
        verdict = retry(task.stage, kind, task.failures, event.jitter)
        self._outputs.damaged.update(event.failure.damaged)
        if event.failure.damaged or event.failure.lasting:  # another attempt would fail too
            verdict = Retry(again=False, pause_s=0.0, why=kind)
        why = f"{verdict.why}: {event.failure.message}"
        if not verdict.again:
            hint = f"\nhint: {event.failure.hint}" if event.failure.hint else ""
            phases.end(task, "failed", why + hint)
        elif verdict.pause_s:
            pause = f"{verdict.why}, in {verdict.pause_s:.1f} s: {event.failure.message}"
            phases.rest(task, event.at + verdict.pause_s, pause)
        else:
            task.reason = why
            phases.queue(task)
