"""What a plan expects of tasks whose inputs are still to be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headrace.plan.history import History
from headrace.plan.keys import key_of
from headrace.plan.planner import Planner
from headrace.plan.pools import PlannedPools
from headrace.plan.reuse import Before
from headrace.plan.times import Beside, Took
from headrace.plan.transfers import Source
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Link, Pool
from headrace.spec.graph import Const, Out
from headrace.spec.plan import PlannedTask
from headrace.spec.policy import Policy
from headrace.testing.graphs import Sketch, number, stage, truth


class Taught:
    """A history in which each task took a second, and a mapped one had three elements (`plan.history.History`)."""

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        return {}

    def why_gone(self, key: str) -> str | None:
        return None

    def runs(self) -> Sequence[str]:
        return ["run-7"]

    def before(self, task: str) -> Before | None:
        return None

    def output(self, task: str, run: str) -> Ref | None:
        return None

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        return ()

    def took(self, task: str, stage: str) -> Took | None:
        return Took(1.0, 1.0, 1.0)

    def width(self, task: str) -> int | None:
        return 3


class Told(Taught):
    """As `Taught`, and every output is there: a false one."""

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        return dict.fromkeys(keys, (truth(False), "run-1"))


def planner(sketch: Sketch, history: History, source: Source | None = None, **more: Any) -> Planner:
    pool = Pool(name="here", cpu=1, memory_gib=1, usd_per_hour=3600.0)
    return Planner(
        stages={each.function: each for each in sketch.stages.values()},
        policy=Policy(),
        pools=PlannedPools([pool], {}, {} if source is None else {"here": source}),
        history=history,
        changed_code=lambda *_: (),
        **more,
    )


def plan(sketch: Sketch, history: History) -> dict[str, PlannedTask]:
    return {task.name: task for task in planner(sketch, history).plan("flow", sketch.nodes).tasks}


def within(low: float, high: float) -> Any:
    """A range with the room that is left at both ends."""
    return pytest.approx((low * 0.6, high * 1.2))


def test_all_of_a_plan_counts_what_is_brought_and_what_a_run_takes_beside_its_stages() -> None:
    sketch = Sketch()
    blobs = [Ref(digest=name * 64, size=10**9, codec="bytes", type="builtins.bytes", nonce="n") for name in "ab"]
    sketch.node("fit", x=Const(blobs[0]), y=Const(blobs[1]))
    link = Link(source="eu", target="us", bits_per_s=1e9, usd_per_gb=0.5)
    beside = [Beside({"fit"}, 2.0), Beside({"fit"}, 5.0)]
    found = planner(sketch, Taught(), source=lambda _: link, beside=beside).plan("flow", sketch.nodes)
    assert [task.expected_s for task in found.tasks] == [1.0, 8.0, 8.0]
    assert found.expected_s == within(1 + 8 + 2, 1 + 16 + 5)
    assert found.expected_usd == (2.0, 2.0)
    assert planner(sketch, Told(), beside=beside).plan("flow", sketch.nodes).expected_s == within(0.0, 5.0)
    beside.append(Beside(set(), 1.0))
    assert planner(sketch, Told(), beside=beside).plan("flow", sketch.nodes).expected_s == within(1.0, 1.0)


class Vague(Taught):
    """As `Taught`, but what the tasks were made of isn't known, so an output may be there."""

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        return None


def test_what_is_brought_for_a_task_that_may_not_run_counts_at_the_upper_ends_only() -> None:
    sketch = Sketch()
    sketch.declare("draw", cache="never")
    blob = Const(Ref(digest="a" * 64, size=10**9, codec="bytes", type="builtins.bytes", nonce="n"))
    sketch.node("after", x=sketch.node("draw"), y=blob)
    link = Link(source="eu", target="us", bits_per_s=1e9, usd_per_gb=0.5)
    found = planner(sketch, Vague(), source=lambda _: link).plan("flow", sketch.nodes)
    assert [task.decision for task in found.tasks] == ["run", "reuse_if_unchanged", "skip_if_unchanged"]
    assert found.tasks[-1].reason == "1.0 GB that are in `eu`, if `after` runs"
    assert found.tasks[-1].expected_usd == (0.0, 0.5)
    assert found.expected_usd == (1.0, 2.5)
    assert found.expected_s == within(1, 1 + 1 + 8)

    sketch.node("fit", y=blob)
    found = planner(sketch, Vague(), source=lambda _: link).plan("flow", sketch.nodes)
    assert (found.tasks[-1].decision, found.tasks[-1].reason) == ("run", "1.0 GB that are in `eu`")
    assert found.expected_usd == (2.5, 3.5)


def test_a_map_that_is_never_reused_is_expected_to_be_as_wide_as_it_was() -> None:
    for cache in ("always", "never"):
        sketch = Sketch()
        sketch.declare("each", cache=cache)
        sketch.node("each", over=["x"], x=sketch.node("many"))
        each = plan(sketch, Taught())["each"]
        assert (each.decision, each.width, each.expected_s, each.expected_usd) == ("run", 3, 3.0, 3.0)


def test_a_maps_list_comes_from_what_it_is_mapped_over_and_from_nothing_else() -> None:
    sketch = Sketch()
    table, many, more = (sketch.node(name) for name in ("table", "many", "more"))
    sketch.node("one", over=["x"], x=many, y=table)
    sketch.node("two", over=["x", "y"], x=many, y=more, z=table)
    sketch.node("same", over=["x", "y"], x=Out("many", (0,)), y=Out("many", (1,)), z=table)
    reasons = {name: task.reason for name, task in plan(sketch, Taught()).items()}
    assert reasons["one"] == "its list comes from `many`"
    assert reasons["two"] == "its lists come from `many`, `more`"
    assert reasons["same"] == "its lists come from `many`"


def test_what_can_not_do_without_a_skipped_task_is_skipped() -> None:
    sketch = Sketch()
    for name in ("mapped", "takes"):
        sketch.declare(name, defaults=("x",))
    many = sketch.node("many", when=sketch.node("flag"))
    sketch.node("takes", x=many)
    sketch.node("mapped", over=["x"], x=many)
    sketch.node("later", after=[many])
    sketch.node("always", after=[many], always=True)
    decisions = {name: task.decision for name, task in plan(sketch, Told()).items()}
    assert decisions == {
        "flag": "reuse",
        "many": "skip",
        "takes": "reuse",
        "mapped": "skip",
        "later": "skip",
        "always": "run",
    }


def test_a_part_that_an_output_lacks_is_told_of_those_who_need_it() -> None:
    sketch = Sketch()
    part = Out(sketch.node("flag").task, (1,))
    sketch.node("takes", x=part)
    sketch.node("asks", when=part)
    sketch.node("mapped", over=["x"], x=part, y=sketch.node("later", x=Out("takes")))
    tasks = plan(sketch, Told())
    for name in ("takes", "asks", "mapped"):
        assert (tasks[name].decision, tasks[name].reason) == (
            "run",
            "it will fail: a `builtins.bool` has 0 parts, so none at 1",
        )


NOTHING = key_of(stage("any"), (), None)[1]
"""No inputs, as a key's parts are kept."""


class Remembered(Taught):
    """As `Taught`, and every task gave something false in the run before, or true; nothing is there to be reused."""

    def __init__(self, gave: bool) -> None:
        self._gave = gave

    def before(self, task: str) -> Before | None:
        return Before("run-7", "another key", "", NOTHING)

    def output(self, task: str, run: str) -> Ref | None:
        return truth(self._gave)


class Old(Remembered):
    """As `Remembered`, and each task made an output in some run before the latest."""

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        return None if is_map else (key_of(stage(task), (("x", Const(number(1))),), None)[1],)


@pytest.mark.parametrize(
    ("known", "decision", "usd"),
    [
        (1, "reuse_if_unchanged", (1.0, 5.0)),
        (2, "run", (2.0, 5.0)),
    ],
)
def test_the_least_that_a_run_takes_leaves_out_what_an_old_run_may_have_made(
    known: int, decision: str, usd: tuple[float, float]
) -> None:
    sketch = Sketch()
    sketch.declare("source", cache="never")
    source = sketch.node("source")
    sketch.node("single", x=Const(number(known)), y=source)
    sketch.node("each", over=["x"], x=source)
    found = planner(sketch, Old(True)).plan("flow", sketch.nodes)
    assert [task.decision for task in found.tasks] == ["run", decision, "reuse_if_unchanged"]
    assert found.expected_usd == usd


def gated() -> Sketch:
    """A gate on what is made anew each time, and what waits for it."""
    sketch = Sketch()
    sketch.declare("lacks", defaults=("x",))
    for name in ("flag", "free"):
        sketch.declare(name, cache="never")
    held = sketch.node("held", when=sketch.node("flag"))
    sketch.node("behind", x=held)
    sketch.node("later", after=[held])
    sketch.node("lacks", x=held)
    sketch.node("free", after=[held], always=True)
    return sketch


def test_what_a_gate_held_back_before_is_planned_to_be_held_back_if_the_gate_says_no_again() -> None:
    tasks = plan(gated(), Remembered(False))
    assert {name: task.decision for name, task in tasks.items()} == {
        "flag": "run",
        "held": "skip_if_unchanged",
        "behind": "skip_if_unchanged",
        "later": "skip_if_unchanged",
        "lacks": "run",
        "free": "run",
    }
    assert tasks["held"].reason == "held back if `flag` says no again, as in run run-7"
    assert tasks["behind"].reason == tasks["later"].reason == "skipped if `held` is"
    assert (tasks["held"].expected_s, tasks["held"].expected_usd) == (1.0, (0.0, 1.0))


def test_what_a_gate_may_hold_back_is_no_part_of_the_least_that_a_run_takes() -> None:
    for gave in (False, True):
        found = planner(gated(), Remembered(gave)).plan("flow", gated().nodes)
        usd = {task.name: task.expected_usd for task in found.tasks}
        assert usd == {
            "flag": 1.0,
            "held": (0.0, 1.0),
            "behind": (0.0, 1.0),
            "later": (0.0, 1.0),
            "lacks": 1.0,
            "free": 1.0,
        }
        assert (found.expected_usd, found.bound_usd, found.expected_s) == ((3.0, 6.0), 3.0, within(3.0, 6.0))
    tasks = plan(gated(), Remembered(True))
    assert tasks["held"].decision == tasks["behind"].decision == "run"


def test_the_reason_of_what_a_gate_may_hold_back_names_the_gate_that_has_not_answered_yet() -> None:
    sketch = gated()
    sketch.node("always", when=sketch.node("gate"), always=True)
    for history in (Taught(), Remembered(True)):
        tasks = plan(sketch, history)
        assert tasks["held"].reason.startswith("if `flag` says yes: ")
        assert tasks["always"].reason == "if `gate` says yes: never reused (`always=True`)"
        assert "flag" not in tasks["free"].reason


class Counting(Told):
    """As `Told`, and every output is a number."""

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        return dict.fromkeys(keys, (number(3), "run-1"))


def test_a_gate_that_is_neither_true_nor_false_holds_back_in_the_plan_as_in_the_run() -> None:
    sketch = Sketch()
    sketch.node("held", when=sketch.node("flag"))
    held = plan(sketch, Counting())["held"]
    assert (held.decision, held.reason) == ("skip", "`when=` got a value of `flag` that is neither true nor false")


class Gone(Taught):
    """As `Taught`, and each output was there, but no store has it."""

    def why_gone(self, key: str) -> str | None:
        return "its output is gone"


def test_a_plan_says_that_an_output_is_gone_and_not_that_there_was_none() -> None:
    sketch = Sketch()
    sketch.node("fit")
    assert plan(sketch, Gone())["fit"].reason == "its output is gone"
    sketch = Sketch()
    sketch.declare("fit", cache="never")
    sketch.node("fit")
    assert plan(sketch, Gone())["fit"].reason == "never reused (`cache=False`)"
