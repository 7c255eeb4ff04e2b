"""Approvals: tasks that wait until somebody outside approves what they are about to do.

An approval is for a task and its key. So it is valid only for the code and inputs that the task had when somebody
approved it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from headrace.run.events import Approved, Expired, Rejected, Submitted
from headrace.run.machine.graph import Graph
from headrace.run.machine.phases import Phases
from headrace.run.machine.task import Task
from headrace.run.ports import Decision
from headrace.spec.noun import UNREADABLE
from headrace.spec.policy import Policy

_decode = msgspec.json.Decoder(Decision).decode


class Approvals:
    """Handles the events of tasks that need an approval.

    `authors` are the users who gave the run its code: the one who started it, and those who resumed it with new code.
    `holder` is the user for whom the last driver took the run.
    """

    def __init__(self, phases: Phases, graph: Graph) -> None:
        self.authors: set[str] = set()
        self.holder = ""
        self._phases = phases
        self._graph = graph

    def submitted(self, event: Submitted) -> None:
        """Make a task wait for its approval, from the time of the event on."""
        task = self._phases.tasks[event.task]
        if task.phase not in ("probing", "fetching", "asking"):
            return
        task.identify(event.key, event.inputs)
        task.missed = None  # unlike a `Missed`, this event is stored
        task.region = None if self._phases.is_spread else self._phases.region
        task.due = 0.0 if task.stage.within_s is None else event.at + task.stage.within_s
        task.why = task.why or event.why
        task.reason = f"waits for {asked_of(task)}"
        self._phases.ask(task)

    def decided(self, event: Approved | Rejected | Expired) -> None:
        """Let a task go on if it was approved. Skip it if it was rejected, or if nobody approved it in time."""
        task = self.waiting(event.task, event.key)
        if task is None:
            return
        match event:
            case Approved(by=by, why=why):
                self._phases.approved.add((task.name, event.key))
                task.why = f"{task.why}; approved by {by}: {why}"
                task.reason = task.why
                self._phases.queue(task)
            case Rejected(by=by, why=why):
                self._refuse(task, f"rejected by {by}: {why}")
            case Expired():
                self._refuse(task, f"nobody approved it in time: {asked_of(task)} was needed")

    def waiting(self, name: str, key: str) -> Task | None:
        """Return the task of this name if it waits for the approval of this key, otherwise None."""
        task = self._phases.asking.get(name)
        return task if task is not None and task.key == key else None

    def may_ask(self, name: str) -> bool:
        """Return whether a task may still come to the point at which it asks for its approval. The task need not exist
        yet: it may still be traced, or be made as an element of a mapped task."""
        tasks = self._phases.tasks
        if name in tasks:
            return tasks[name].phase in ("blocked", "probing", "fetching")
        maps = [tasks[name[:end]] for end, sign in enumerate(name) if sign == "[" and name[:end] in tasks]
        return not self._graph.ended or any(each.node.over and each.phase == "blocked" for each in maps)

    def objection(self, event: Approved | Rejected, policy: Policy) -> str:
        """Return why a decision has no effect, or an empty text if it counts."""
        task = self.waiting(event.task, event.key)
        if task is None:
            return "the task doesn't wait for an approval, or its code or inputs have changed since"
        if task.due and event.at > task.due:
            return "it came too late"
        if isinstance(event, Approved) and not self.allowed(event.by, policy):
            return "whoever started the run or gave it new code can't approve its tasks"
        return ""

    def allowed(self, user: str, policy: Policy) -> bool:
        """Return whether a user may approve the run's tasks. If the user gave the run its code, the run's policy must
        allow this."""
        return policy.approve_own or user not in self.authors

    def overdue(self, now: float) -> list[Task]:
        """Return the tasks whose approval should have been given by now (Unix seconds)."""
        return [task for task in self._phases.asking.values() if task.due and task.due <= now]

    def _refuse(self, task: Task, why: str) -> None:
        task.refused = True
        self._phases.end(task, "skipped", why)


def read_decision(kind: str, by: str, body: str, at: float) -> Approved | Rejected | None:
    """Return the decision that a signal of the kind `approve` or `reject` carries, or None if `body` can't be read.
    `by` and `at` are the signal's user and time."""
    try:
        decision = _decode(body)
    except UNREADABLE:
        return None
    event = Approved if kind == "approve" else Rejected
    return event(decision.task, decision.key, by, decision.why, at)


def asked_of(task: Task) -> str:
    """Return what a task waits for: `approval by risk-team until 2026-11-26 10:00 UTC`."""
    until = f" until {datetime.fromtimestamp(task.due, UTC):%Y-%m-%d %H:%M} UTC" if task.due else ""
    return f"approval by {task.stage.approval}{until}"
