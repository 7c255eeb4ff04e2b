"""What a plan expects of tasks whose inputs are still to be made."""

from __future__ import annotations

from typing import Any

from headrace.plan.planner import History, Planner
from headrace.plan.reuse import Before
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Link, Pool
from headrace.spec.graph import Const, Out
from headrace.spec.plan import PlannedTask
from headrace.spec.policy import Policy
from headrace.testing.graphs import Sketch, truth


class Taught:
    """A history in which each task took a second, and a mapped one had three elements (`plan.planner.History`)."""

    def result(self, key: str) -> tuple[Ref, str] | None:
        return None

    def before(self, task: str) -> Before | None:
        return None

    def output(self, task: str) -> Ref | None:
        return None

    def seconds(self, task: str, stage: str) -> float | None:
        return 1.0

    def width(self, task: str) -> int | None:
        return 3


class Told(Taught):
    """As `Taught`, and every output is there: a false one."""

    def result(self, key: str) -> tuple[Ref, str] | None:
        return truth(False), "run-1"


def planner(sketch: Sketch, history: History, **more: Any) -> Planner:
    return Planner(
        stages={each.function: each for each in sketch.stages.values()},
        policy=Policy(),
        pool=Pool(name="here", cpu=1, memory_gib=1, usd_per_hour=3600.0),
        history=history,
        changed_code=lambda _run, _stage: (),
        **more,
    )


def plan(sketch: Sketch, history: History) -> dict[str, PlannedTask]:
    return {task.name: task for task in planner(sketch, history).plan("flow", sketch.nodes).tasks}


def test_all_of_a_plan_counts_what_is_brought_and_what_a_run_takes_beside_its_stages() -> None:
    sketch = Sketch()
    blobs = [Ref(digest=name * 64, size=10**9, codec="bytes", type="builtins.bytes", nonce="n") for name in "ab"]
    sketch.node("fit", x=Const(blobs[0]), y=Const(blobs[1]))
    link = Link(source="eu", target="us", bits_per_s=1e9, usd_per_gb=0.5)
    found = planner(sketch, Taught(), source=lambda _: link, beside_s=(2.0, 5.0)).plan("flow", sketch.nodes)
    assert [task.expected_s for task in found.tasks] == [1.0, 8.0, 8.0]
    assert found.expected_s == (1 + 8 + 2, 1 + 16 + 5)
    assert found.expected_usd == (2.0, 2.0)
    assert planner(sketch, Told(), beside_s=(2.0, 5.0)).plan("flow", sketch.nodes).expected_s == (0.0, 0.0)


def test_a_map_that_is_never_reused_is_expected_to_be_as_wide_as_it_was() -> None:
    for cache in ("always", "never"):
        sketch = Sketch()
        sketch.declare("each", cache=cache)
        sketch.node("each", over=["x"], x=sketch.node("many"))
        each = plan(sketch, Taught())["each"]
        assert (each.decision, each.width, each.expected_s, each.expected_usd) == ("run", 3, 3.0, 3.0)


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
        "always": "reuse",
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
