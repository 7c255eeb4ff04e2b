"""Whether a task runs, by what became of the tasks before it."""

from __future__ import annotations

from typing import Literal

import pytest

from headrace.run.events import Succeeded
from headrace.spec.graph import Const, Out
from headrace.testing.graphs import Sketch, number, truth
from tests.run.model import Model
from tests.run.scenes import Scene

Fate = Literal["good", "failed", "by when", "after failed"]
How = Literal["takes", "may take", "after"]


def outcome(fate: Fate, how: How, *, always: bool) -> tuple[str, str]:
    """Return how a task ended that depends in some way on one that came to some end, and why."""
    sketch = Sketch()
    flag, bad = sketch.node("flag"), sketch.node("bad")
    before = {
        "good": lambda: sketch.node("before"),
        "failed": lambda: bad,
        "by when": lambda: sketch.node("before", when=flag),
        "after failed": lambda: sketch.node("before", x=bad),
    }[fate]()
    sketch.declare("task", defaults=("x",) if how == "may take" else ())
    if how == "after":
        sketch.node("task", after=[before], always=always)
    else:
        sketch.node("task", x=before, always=always)
    found = Model(Scene(sketch.events()))
    while "trace" in found.enabled():
        found.trace()
    while found.machine.closed is None:
        found.launch()
        for task in found.heads():
            if task.name == "bad":
                found.fail(task, "user")
            elif task.name == "flag":
                found.crew.finished(task.workers[0], "flag", task.attempt, "flag", None)
                found.absorb(Succeeded("flag", task.attempt, truth(False), 0.0, 1.0))
            else:
                found.succeed(task)
    task = found.machine.tasks["task"]
    return task.phase, task.reason


RUNS = [
    ("good", "takes", False),
    ("good", "may take", False),
    ("good", "after", False),
    ("good", "takes", True),
    ("failed", "may take", True),
    ("failed", "after", True),
    ("by when", "may take", False),
    ("by when", "may take", True),
    ("by when", "after", True),
    ("after failed", "may take", True),
    ("after failed", "after", True),
]
SKIPPED = [
    ("failed", "takes", False, "`bad` failed"),
    ("failed", "takes", True, "`bad` failed"),
    ("failed", "may take", False, "`bad` failed"),
    ("failed", "after", False, "`bad` failed"),
    ("by when", "takes", False, "`before` was skipped"),
    ("by when", "takes", True, "`before` was skipped"),
    ("by when", "after", False, "`before` was skipped"),
    ("after failed", "takes", False, "`before` was skipped"),
    ("after failed", "may take", False, "`before` was skipped"),
    ("after failed", "after", False, "`before` was skipped"),
]


@pytest.mark.parametrize(("fate", "how", "always"), RUNS)
def test_it_runs(fate: Fate, how: How, *, always: bool) -> None:
    assert outcome(fate, how, always=always)[0] == "succeeded"


@pytest.mark.parametrize(("fate", "how", "always", "why"), SKIPPED)
def test_it_is_skipped(fate: Fate, how: How, why: str, *, always: bool) -> None:
    assert outcome(fate, how, always=always) == ("skipped", why)


@pytest.mark.parametrize(("given", "phase", "why"), [(True, "succeeded", ""), (False, "skipped", "is false")])
def test_a_condition_decides(given: bool, phase: str, why: str) -> None:
    sketch = Sketch()
    flag = sketch.node("flag")
    sketch.node("task", when=flag)
    found = Model(Scene(sketch.events()))
    while "trace" in found.enabled():
        found.trace()
    found.launch()
    flagged = found.machine.tasks["flag"]
    found.crew.finished(flagged.workers[0], "flag", 1, "flag", None)
    found.absorb(Succeeded("flag", 1, truth(given), 0.0, 1.0))
    found.finish()
    task = found.machine.tasks["task"]
    assert task.phase == phase
    assert why in task.reason


def test_a_condition_that_is_no_boolean_is_said_to_be_none() -> None:
    sketch = Sketch()
    sketch.node("task", when=sketch.node("plain"), x=Const(number(1)))
    found = Model(Scene(sketch.events()))
    found.finish()
    assert found.machine.tasks["task"].reason == "`when=` got a value of `plain` that is neither true nor false"


def test_a_condition_may_be_a_part_of_an_output() -> None:
    sketch = Sketch()
    sketch.node("task", when=Out(sketch.node("plain").task, (3,)))
    found = Model(Scene(sketch.events()))
    found.finish()
    assert found.machine.tasks["task"].phase == "failed"
