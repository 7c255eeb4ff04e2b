"""Approvals that nobody has given in time, of runs whose driver has left. Such a run waits on until a driver looks."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.views import RunView, Views
from headrace.run.machine.machine import Machine


class LateApproval(Struct, frozen=True):
    """A task that was to be approved until a time (Unix seconds)."""

    task: str
    until: float


def late_approvals(views: Views, run: RunView, now: float) -> list[LateApproval]:
    """Return the tasks of a run that waits whose approval should have been given by now."""
    if run.state != "waiting":
        return []
    machine = Machine()
    for event in views.events(run.run):
        machine.step(event)
    return [LateApproval(task.name, task.due) for task in machine.approvals.overdue(now)]
