"""The conditions that hold for a state machine after each step. Tests check them; the program itself does not.

`check` looks at all tasks of a run, so its cost grows with the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from headrace.plan.needs import names_needed
from headrace.run.machine.machine import Machine
from headrace.run.machine.ready import lane_of
from headrace.run.machine.task import Task

_MOVING = frozenset(("probing", "asking", "ready", "running", "resting"))
_BEGUN = _MOVING | {"fetching"}


def check(machine: Machine) -> None:
    """Raise `AssertionError` with a list of all conditions that do not hold, if there are any."""
    wrong = list(violations(machine))
    if wrong:
        raise AssertionError("; ".join(wrong))


def violations(machine: Machine) -> Iterator[str]:
    """Yield a description of each condition that does not hold. Call this before or after a step, not during one:
    within a step, conditions may be broken for a moment."""
    yield from _of_counts(machine)
    yield from _of_progress(machine)
    for task in machine.tasks.values():
        yield from (f"`{task.name}` {each}" for each in _of_task(machine, task))


def _of_counts(machine: Machine) -> Iterator[str]:
    tasks = machine.tasks.values()
    living = sum(not task.ended for task in tasks)
    if machine.phases.living != living:
        yield f"{machine.phases.living} tasks are counted as living, and {living} live"
    ready = sum(task.phase == "ready" for task in tasks)
    if machine.ready != ready:
        yield f"{machine.ready} tasks are queued, and {ready} are ready"
    if machine.phases.ended or machine.graph.freed:
        yield "something that has ended was not passed on"
    if any(one.ordinal >= other.ordinal for one, other in pairwise(tasks)):
        yield "two tasks have one place in the run"


def _of_progress(machine: Machine) -> Iterator[str]:
    """Yield what is wrong with a run's progress.

    If the graph is complete and the run is not closed, at least one task must be in a phase that ends without waiting
    for another task. If the run is closed, all tasks must have ended.
    """
    moving = any(task.phase in _MOVING for task in machine.tasks.values())
    if machine.closed is not None and machine.phases.living:
        yield f"it is closed, and {machine.phases.living} tasks live"
    if machine.closed is None and machine.trace_ended and machine.phases.living and not moving:
        yield "nothing moves, and it has not ended"
    asked = machine.dialogue.question
    if asked is not None and machine.tasks[asked.out.task].ended and not machine.dialogue.awaited:
        yield f"`{asked.out.task}` has ended, and question {asked.question} has no answer"
    if machine.cancelled is not None and any(task.phase in _BEGUN - {"running"} for task in machine.tasks.values()):
        yield "it is cancelled, and something is about to begin"


def _of_task(machine: Machine, task: Task) -> Iterator[str]:
    needs = [machine.tasks[name] for name in names_needed(task.node)]
    open_needs = sum(not need.ended for need in needs)
    if task.phase != "blocked" and not task.ended and open_needs:
        yield f"is {task.phase}, and {open_needs} of its needs have not ended"
    if task.phase == "blocked" and task.parent is None:
        yield from _of_blocked(machine, task, open_needs)
    if task.phase == "blocked" and task.parent is not None and task.parent.phase != "blocked":
        yield f"is blocked, and its mapped task is {task.parent.phase}"
    if (task.phase == "ready") != (task in machine.phases.ready):
        yield f"is {task.phase}, and its queue says otherwise"
    if (task.phase == "asking") != (task.name in machine.phases.asking):
        yield f"is {task.phase}, and the list of those that ask for an approval says otherwise"
    if task.phase == "asking" and (task.stage.approval is None or (task.name, task.key) in machine.phases.approved):
        yield "asks for an approval that it doesn't need"
    if task.phase == "running" and not (task.workers and task.attempt and (task.key or task.move)):
        yield "runs without a worker, a number or a key"
    if task.phase == "resting" and (task.due, task.ordinal, task.name) not in machine.phases.due:
        yield "rests, and nothing will wake it"
    if task.good and task.out is None:
        yield f"{task.phase}, and has no output"
    if task.phase == "failed" and task.failure is None:
        yield "failed for no reason"
    if task.ended and not task.reason and task.phase != "succeeded":
        yield f"is {task.phase} and has no reason"
    yield from _of_elements(task)
    yield from _of_transfers(machine, task)


def _of_transfers(machine: Machine, task: Task) -> Iterator[str]:
    """Yield what is wrong with a task's region and transfers.

    A task that runs, or is ready in a certain pool, must have its inputs in the pool's region. A task that waits for
    transfers must wait only for transfers that have not ended.
    """
    phases = machine.phases
    pool = task.placed if task.phase == "ready" else task.pool
    is_bound = task.phase == "running" or (task.phase == "ready" and (bool(task.placed) or not phases.is_spread))
    if task.move is None and is_bound and task.region != phases.region_of(pool):
        yield f"is {task.phase}, and its inputs were last seen in `{task.region}`"
    if task.phase == "ready" and task.choice is not None and phases.pools.keys().isdisjoint(task.choice):
        yield f"is ready, and the run has none of the pools {task.choice}"
    if task.phase == "ready" and task.lane != lane_of(task):
        yield f"is queued in {task.lane}, and belongs in {lane_of(task)}"
    if (task.name in phases.placed.get(task.placed, ())) != bool(task.placed):
        yield f"is placed in `{task.placed}`, and its pool says otherwise"
    if task.placed and task.phase not in ("probing", "fetching", "ready"):
        yield f"is {task.phase}, and still placed in `{task.placed}`"
    if (task.phase == "fetching") != bool(task.fetches):
        yield f"is {task.phase}, and waits for {len(task.fetches or ())} transfers"
    for name in task.fetches or ():
        if machine.tasks[name].ended or machine.tasks[name].move is None:
            yield f"waits for `{name}`, which has ended or is no transfer"
        if task not in machine.transfers.waiting.get(name, ()):
            yield f"waits for `{name}`, which doesn't know of it"
    if task.move is not None:
        same = [each for each in machine.tasks.values() if each.move is not None and each.move.ref == task.move.ref]
        if sum(not each.ended for each in same) > 1:
            yield "brings a blob that another transfer is bringing"


def _of_blocked(machine: Machine, task: Task, open_needs: int) -> Iterator[str]:
    if task.waits != open_needs:
        yield f"waits for {task.waits} tasks, and {open_needs} have not ended"
    free = task.name in machine.graph.free
    if free != (not open_needs):
        yield "is free, and nothing will let it go" if not free else "is to be let go, and is not free"
    if free and machine.trace_ended:
        yield "is free, and was not let go when the trace had ended"


def _of_elements(task: Task) -> Iterator[str]:
    if task.elements is None:
        if task.phase == "spread":
            yield "is spread over nothing"
        return
    living = [element for element in task.elements if not element.ended]
    if task.phase == "spread" and (task.waits != len(living) or not living):
        yield f"waits for {task.waits} elements, and {len(living)} live"
    if task.ended and living:
        yield f"is {task.phase}, and its element `{living[0].name}` lives"
    if any(element.parent is not task or element.index != index for index, element in enumerate(task.elements)):
        yield "has an element that is not its own"
