"""Approve or reject tasks that wait for it, and go on with their run."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from headrace.errors import LeaseHeld, RefusedError, UsageError, listed
from headrace.operate import session
from headrace.operate.progress.observer import Observer
from headrace.operate.session import Ended
from headrace.project.project import Project
from headrace.project.state import open_ledger, views
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import Decision

WHY_LIMIT = 1000
"""The longest reason for a decision, in characters."""


class Decided(Struct, frozen=True, kw_only=True):
    """The tasks about which somebody decided. `ended` says how the run went on, or is None if this process didn't go on
    with it: `is_driven` is then whether a driver of the run is alive, which obeys."""

    run: str
    tasks: tuple[str, ...]
    ended: Ended | None = None
    is_driven: bool = False


def decide(
    project: Project,
    run: str,
    task: str | None,
    kind: Literal["approve", "reject"],
    why: str,
    *,
    later: bool = False,
    observer: Observer,
) -> Decided:
    """Record a decision about a run's tasks that wait for an approval: about one task or the elements of one map, or
    about all of them. Then go on with the run, unless `later` is True or the run has a live driver.

    Raises:
        UsageError: nothing waits for this decision.
        RefusedError: whoever started the run or gave it new code can't approve its tasks.
    """
    why = why.strip()
    if not why or len(why) > WHY_LIMIT:
        raise UsageError("`--why` is empty" if not why else "`--why` is too long", hint="say why, in a few words")
    run_id, machine = _read(project, run)
    tasks = _asking(run_id, machine, task)
    with open_ledger(project) as ledger:
        by = ledger.user
        if kind == "approve" and not machine.approvals.allowed(by, machine.policy):
            raise RefusedError(
                f"`{by}` started run {run_id} or gave it new code, so somebody else must approve its tasks",
                hint="`[run] approve_own = true` lets people approve their own later runs; you may reject it",
            )
        for each in tasks:
            decision = Decision(task=each.name, key=each.key or "", why=why)
            ledger.signal(run_id, kind, by=by, body=msgspec.json.encode(decision).decode())
    names = tuple([each.name for each in tasks])
    if later:
        return Decided(run=run_id, tasks=names)
    try:
        return Decided(run=run_id, tasks=names, ended=session.go_on(project, run_id, observer=observer))
    except LeaseHeld:
        return Decided(run=run_id, tasks=names, is_driven=True)


def _read(project: Project, run: str) -> tuple[str, Machine]:
    """Return a run's full id and its state machine, as the ledger has it."""
    machine = Machine()
    with views(project) as found:
        run_id = found.find(run).run
        for event in found.events(run_id):
            machine.step(event)
    return run_id, machine


def _asking(run: str, machine: Machine, task: str | None) -> list[Task]:
    """Return the tasks of a run that wait for an approval: all, or those that `task` names."""
    if machine.closed is not None:
        raise UsageError(
            f"run {run} has ended already ({machine.closed.state}), so no task waits for an approval",
            hint=f"`headrace show {run}` shows what was decided",
        )
    asking = list(machine.phases.asking.values())
    found = [each for each in asking if task in (None, each.name, each.parent and each.parent.name)]
    if not found:
        what = f"no task of run {run} waits" if task is None else f"task `{task}` of run {run} doesn't wait"
        who = f"these wait: {listed([each.name for each in asking])}" if asking else f"see `headrace show {run}`"
        raise UsageError(f"{what} for an approval", hint=who)
    return found
