"""Approve or reject tasks that wait for an approval, and continue their run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import LeaseHeld, RefusedError, UsageError, listed
from headrace.inspect.run_record import NextState, decided_text, next_state
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
    """The result of a decision. `tasks` are the tasks that it was recorded for. `earlier` are earlier decisions about
    the same tasks that no driver has read yet. `late` is a sentence with the tasks for which it was too late, or empty.

    If the run continued and ended, `ended` says how it ended, and `tasks` are only those for which this decision
    counted. Otherwise `ended` is None, and `is_driven` says whether the run has a live driver, which will apply the
    decision.
    """

    run: str
    tasks: tuple[str, ...]
    earlier: tuple[Approved | Rejected, ...] = ()
    late: str = ""
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
    """Record a decision about tasks of a run that wait for an approval. `task` names one task, or a map to decide about
    all its elements; None means all tasks that wait. Then continue the run, unless `later` is True or the run has a
    live driver.

    The first decision about a task counts. So nothing is recorded for a task that somebody has decided about before,
    even if no driver has read the earlier decision yet. Nothing is recorded for a task for which it is too late.

    Raises:
        UsageError: `why` is empty or too long, or no task waits for this decision.
        RefusedError: the user started the run or gave it new code, and so can't approve its tasks; or it is too late
            for all tasks that the decision is about.
    """
    why = why.strip()
    if not why or len(why) > WHY_LIMIT:
        raise UsageError("`--why` is empty" if not why else "`--why` is too long", hint="say why, in a few words")
    with views(project) as found:
        state = next_state(found, found.find(run).run)
    asking = _asking(state, task)
    with open_ledger(project) as ledger:
        by, began = ledger.user, SystemClock().now()  # the clock by which the ledger dates the signals of this process
        _check_allowed(state, kind, by)
        tasks, late = _in_time(state, asking, kind, began)
        for each in tasks:
            decision = Decision(task=each.name, key=each.key or "", why=why)
            ledger.signal(state.run, kind, by=by, body=msgspec.json.encode(decision).decode())
    earlier = tuple([each for each in state.decided if task in _names(state.machine, each)])
    decided = Decided(run=state.run, tasks=tuple([each.name for each in tasks]), earlier=earlier, late=late)
    if later:
        return decided
    try:
        ended = session.go_on(project, state.run, observer=observer)
    except LeaseHeld:
        with views(project) as found:
            closed = next_state(found, state.run).machine.closed
        if closed is None:
            return replace(decided, is_driven=True)
        ended = Ended(state.run, closed.state, closed.why)
    with views(project) as found:
        events = [each for each in found.events(state.run) if isinstance(each, Approved | Rejected)]
    counted = {each.task for each in events if (each.by, each.why) == (by, why) and each.at >= began}
    return replace(decided, ended=ended, tasks=tuple([name for name in decided.tasks if name in counted]))


def _check_allowed(state: NextState, kind: str, by: str) -> None:
    """Raise `RefusedError` if `by` can't decide about the tasks of this run."""
    if kind == "approve" and not state.machine.approvals.allowed(by, state.machine.policy):
        raise RefusedError(
            f"`{by}` started run {state.run} or gave it new code, so somebody else must approve its tasks",
            hint="`[run] approve_own = true` lets people approve their own later runs; you may reject these tasks",
        )


def _in_time(state: NextState, tasks: list[Task], kind: str, now: float) -> tuple[list[Task], str]:
    """Return those tasks for which it isn't too late, and a text about the others.

    Raises:
        RefusedError: it is too late for all of them.
    """
    overdue = {each.name for each in state.machine.approvals.overdue(now)}
    late = [each for each in tasks if each.name in overdue]
    if not late:
        return tasks, ""
    until = f"{datetime.fromtimestamp(max(each.due for each in late), UTC):%Y-%m-%d %H:%M:%S} UTC"
    names = listed([each.name for each in late])
    why = f"it is too late to {kind} {names} of run {state.run}: the time was over at {until}"
    if len(late) == len(tasks):
        what = "the task" if len(late) == 1 else "the tasks"
        raise RefusedError(why, hint=f"`headrace resume {state.run}` refuses {what}")
    return [each for each in tasks if each.name not in overdue], why


def _asking(state: NextState, task: str | None) -> list[Task]:
    """Return the tasks of a run that wait for an approval: all, or those that `task` names."""
    run, machine = state.run, state.machine
    if machine.closed is not None:
        raise UsageError(
            f"run {run} has ended already ({machine.closed.state}), so no task waits for an approval",
            hint=f"`headrace show {run}` shows what was decided",
        )
    asking = list(machine.phases.asking.values())
    found = [each for each in asking if task in (None, each.name, each.parent and each.parent.name)]
    if found:
        return found
    if earlier := [decided_text(each) for each in state.decided if task in _names(machine, each)]:
        hint = f"the first decision counts; if the run has no driver, `headrace resume {run}` carries it out"
        raise UsageError(f"somebody has decided already about run {run}: {'; '.join(earlier)}", hint=hint)
    what = f"no task of run {run} waits" if task is None else f"task `{task}` of run {run} doesn't wait"
    who = f"these wait: {listed([each.name for each in asking])}" if asking else f"see `headrace show {run}`"
    raise UsageError(f"{what} for an approval", hint=who)


def _names(machine: Machine, decision: Approved | Rejected) -> tuple[str | None, ...]:
    """Return the words by which a user can mean a decision's task: None (all tasks), its name, and its map's name."""
    task = machine.tasks.get(decision.task)
    parent = None if task is None else task.parent
    return None, decision.task, None if parent is None else parent.name
