"""Approve or reject tasks that wait for an approval, and go on with their run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import LeaseHeld, RefusedError, UsageError, listed
from headrace.inspect.run_record import decided_text
from headrace.operate import session
from headrace.operate.clock import SystemClock
from headrace.operate.progress.observer import Observer
from headrace.operate.session import Ended
from headrace.project.project import Project
from headrace.project.state import open_ledger, views
from headrace.run.events import Approved, Rejected
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import Decision

WHY_LIMIT = 1000
"""The longest reason for a decision, in characters."""


class Decided(Struct, frozen=True, kw_only=True):
    """What became of a decision. `tasks` are the tasks that it is about. Tasks about which somebody had decided before
    are left out: `earlier` has the decisions about them that no driver has read yet.

    `ended` says how the run went on; `tasks` are then those for which the decision counted. `ended` is None if this
    process didn't go on with the run: `is_driven` is then whether the run has a live driver, which obeys the decision.
    """

    run: str
    tasks: tuple[str, ...]
    earlier: tuple[Approved | Rejected, ...] = ()
    ended: Ended | None = None
    is_driven: bool = False


class _Known(Struct, frozen=True, kw_only=True):
    """A run's id, and the state machine that the run's next driver will have after it has read the inbox. `earlier` are
    the decisions in the inbox that count."""

    run: str
    machine: Machine
    earlier: tuple[Approved | Rejected, ...]


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

    The first decision about a task counts. So tasks about which somebody has decided are left out, even if no driver
    has read that yet.

    Raises:
        UsageError: nothing waits for this decision.
        RefusedError: whoever started the run or gave it new code can't approve its tasks; or the time to decide is
            over.
    """
    why = why.strip()
    if not why or len(why) > WHY_LIMIT:
        raise UsageError("`--why` is empty" if not why else "`--why` is too long", hint="say why, in a few words")
    known = _read(project, run)
    tasks = _asking(known, task)
    with open_ledger(project) as ledger:
        by, began = ledger.user, SystemClock().now()  # the clock by which the ledger dates the signals of this process
        _check(known, tasks, kind, by, began)
        for each in tasks:
            decision = Decision(task=each.name, key=each.key or "", why=why)
            ledger.signal(known.run, kind, by=by, body=msgspec.json.encode(decision).decode())
    earlier = tuple([each for each in known.earlier if task in _names(known.machine, each)])
    decided = Decided(run=known.run, tasks=tuple([each.name for each in tasks]), earlier=earlier)
    if later:
        return decided
    try:
        ended = session.go_on(project, known.run, observer=observer)
    except LeaseHeld:
        return replace(decided, is_driven=True)
    with views(project) as found:
        events = [each for each in found.events(known.run) if isinstance(each, Approved | Rejected)]
    counted = {each.task for each in events if (each.by, each.why) == (by, why) and each.at >= began}
    return replace(decided, ended=ended, tasks=tuple([name for name in decided.tasks if name in counted]))


def _check(known: _Known, tasks: Sequence[Task], kind: str, by: str, now: float) -> None:
    """Raise `RefusedError` if `by` can't decide about these tasks now."""
    if kind == "approve" and not known.machine.approvals.allowed(by, known.machine.policy):
        raise RefusedError(
            f"`{by}` started run {known.run} or gave it new code, so somebody else must approve its tasks",
            hint="`[run] approve_own = true` lets people approve their own later runs; you may reject it",
        )
    late = [each for each in known.machine.approvals.overdue(now) if each in tasks]
    if late:
        until = f"{datetime.fromtimestamp(late[0].due, UTC):%Y-%m-%d %H:%M:%S} UTC"
        rest = "" if len(late) == len(tasks) else "; decide about the other tasks by their names"
        raise RefusedError(
            f"it is too late to {kind} {listed([each.name for each in late])} of run {known.run}: the time was over at"
            f" {until}",
            hint=f"`headrace resume {known.run}` ends the run as refused{rest}",
        )


def _read(project: Project, run: str) -> _Known:
    """Return a run as its next driver will find it, once that driver has read its inbox."""
    machine, earlier = Machine(), []
    with views(project) as found:
        run_id = found.find(run).run
        for event in found.events(run_id):
            machine.step(event)
        for decision in found.decisions(run_id):
            if not machine.approvals.objection(decision, machine.policy):
                machine.step(decision)
                earlier.append(decision)
    return _Known(run=run_id, machine=machine, earlier=tuple(earlier))


def _asking(known: _Known, task: str | None) -> list[Task]:
    """Return the tasks of a run that wait for an approval: all, or those that `task` names."""
    run, machine = known.run, known.machine
    if machine.closed is not None:
        raise UsageError(
            f"run {run} has ended already ({machine.closed.state}), so no task waits for an approval",
            hint=f"`headrace show {run}` shows what was decided",
        )
    asking = list(machine.phases.asking.values())
    found = [each for each in asking if task in (None, each.name, each.parent and each.parent.name)]
    if found:
        return found
    if earlier := [decided_text(each) for each in known.earlier if task in _names(machine, each)]:
        hint = f"the first decision counts: the run's driver obeys it, or `headrace resume {run}`"
        raise UsageError(f"somebody has decided already about run {run}: {'; '.join(earlier)}", hint=hint)
    what = f"no task of run {run} waits" if task is None else f"task `{task}` of run {run} doesn't wait"
    who = f"these wait: {listed([each.name for each in asking])}" if asking else f"see `headrace show {run}`"
    raise UsageError(f"{what} for an approval", hint=who)


def _names(machine: Machine, decision: Approved | Rejected) -> tuple[str | None, ...]:
    """Return what a user may name to mean the task of a decision: None, its name, and the name of its map."""
    task = machine.tasks.get(decision.task)
    parent = None if task is None else task.parent
    return None, decision.task, None if parent is None else parent.name
