"""The machine, case by case: what random pipelines meet too seldom to rely on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from headrace.errors import TraceError
from headrace.run.events import Asked, Traced, TraceEnded
from headrace.run.machine.machine import Machine
from headrace.spec.graph import Arg, Const, Many, Out
from headrace.spec.stage import Resources
from headrace.testing.graphs import Sketch, chain, fan, number, numbers, spread
from tests.run.model import Model
from tests.run.scenes import Scene


def model(sketch: Sketch, *, checked: bool = True) -> Model:
    """Return a model of a pipeline that is traced whole."""
    found = Model(Scene(sketch.events()), checked=checked)
    while "trace" in found.enabled():
        found.trace()
    return found


def phases(found: Model) -> dict[str, str]:
    return {name: task.phase for name, task in found.machine.tasks.items()}


def state(found: Model) -> str:
    return "" if found.machine.closed is None else found.machine.closed.state


def test_a_cancel_while_a_value_is_asked_for_ends_the_run_and_a_resumed_one_is_traced_to_its_end() -> None:
    sketch = Sketch()
    first = sketch.node("first")
    events = [sketch.traced(), Asked(0, first)]
    sketch.node("second", x=first)
    found = Model(Scene([*events, *sketch.events()]))
    found.trace()
    found.trace()
    found.cancel(now=True)
    assert state(found) == "cancelled"
    found.resume(0)
    assert not found.machine.trace_ended
    found.finish()
    assert phases(found) == {"first": "succeeded", "second": "succeeded"}


def test_what_is_traced_once_the_run_is_cancelled_is_cancelled_too() -> None:
    sketch = Sketch()
    found = Model(Scene([]))
    found.cancel(now=False)
    sketch.node("late")
    found.absorb(sketch.traced())
    assert phases(found) == {"late": "cancelled"}
    assert state(found) == "cancelled"


def test_a_body_that_raised_lets_what_runs_end_and_begins_nothing() -> None:
    sketch = Sketch()
    sketch.declare("big", resources=Resources(cpu=4))
    first = sketch.node("big")
    sketch.node("big")
    found = Model(Scene([sketch.traced(), Asked(0, first), TraceEnded()]))
    found.trace()
    found.trace()
    found.launch()
    found.break_trace()
    assert phases(found) == {"big": "running", "big[1]": "cancelled"}
    found.succeed(found.machine.tasks["big"])
    assert state(found) == "failed"


def test_a_map_keeps_what_its_elements_made_when_the_others_are_tried_again() -> None:
    sketch = Sketch()
    sketch.node("fit", over=["x"], x=numbers(1, 2, 3))
    found = model(sketch)
    found.launch()
    found.succeed(found.machine.tasks["fit[x=1]"])
    found.fail(found.machine.tasks["fit[x=2]"], "user")
    found.fail(found.machine.tasks["fit[x=3]"], "user")
    assert phases(found)["fit"] == "failed"
    found.resume(0)
    assert phases(found) == {"fit": "spread", "fit[x=1]": "succeeded", "fit[x=2]": "ready", "fit[x=3]": "ready"}
    found.finish()
    assert phases(found)["fit"] == "succeeded"
    assert found.machine.tasks["fit"].seconds == pytest.approx(0.003)


def test_what_is_wrong_with_the_data_is_not_tried_again() -> None:
    sketch = Sketch()
    sketch.declare("fit", retries=5)
    sketch.node("fit")
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["fit"], "user", lasting=True)
    assert phases(found) == {"fit": "failed"}
    found.resume(0)
    assert phases(found) == {"fit": "ready"}


def test_elements_that_failed_are_tried_again_though_others_of_their_map_still_live() -> None:
    sketch = Sketch()
    sketch.node("fit", over=["x"], x=numbers(1, 2))
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["fit[x=1]"], "user")
    found.resume(0)
    assert phases(found) == {"fit": "spread", "fit[x=1]": "ready", "fit[x=2]": "ready"}


def test_what_went_on_without_a_failed_task_is_asked_for_again_when_that_is_tried_again() -> None:
    sketch = Sketch()
    sketch.declare("report", defaults=("model",))
    sketch.node("report", model=sketch.node("fit"), always=True)
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["fit"], "user")
    found.launch()
    found.succeed(found.machine.tasks["report"])
    without = found.machine.tasks["report"].out
    assert state(found) == "failed"
    found.resume(0)
    assert phases(found) == {"fit": "ready", "report": "blocked"}
    found.finish()
    assert phases(found) == {"fit": "succeeded", "report": "succeeded"}
    assert found.machine.tasks["report"].out != without


@pytest.mark.parametrize("cache", ["always", "run", "never"])
def test_what_went_on_without_a_task_that_fails_again_is_not_run_again(cache: str) -> None:
    sketch = Sketch()
    sketch.declare("report", defaults=("model",), cache=cache)
    sketch.node("report", model=sketch.node("fit"), always=True)
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["fit"], "user")
    found.launch()
    found.succeed(found.machine.tasks["report"])
    found.resume(0)
    found.launch()
    found.fail(found.machine.tasks["fit"], "user")
    assert phases(found) == {"fit": "failed", "report": "reused"}


def test_a_map_whose_inputs_changed_is_spread_anew() -> None:
    sketch = Sketch()
    sketch.declare("score", defaults=("model",))
    sketch.node("score", over=["x"], x=numbers(1, 2), model=sketch.node("fit"), always=True)
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["fit"], "user")
    found.launch()
    for name in ("score[x=1]", "score[x=2]"):
        found.succeed(found.machine.tasks[name])
    before = [element.key for element in found.machine.tasks["score"].elements or ()]
    found.resume(0)
    found.finish()
    after = [element.key for element in found.machine.tasks["score"].elements or ()]
    assert set(before).isdisjoint(after)
    assert phases(found)["score"] == "succeeded"


def test_a_checkpoint_made_of_other_inputs_is_not_given_to_the_next_attempt() -> None:
    sketch = Sketch()
    sketch.declare("train", defaults=("table",))
    sketch.node("train", table=sketch.node("table"), always=True)
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["table"], "user")
    found.launch()
    train = found.machine.tasks["train"]
    found.checkpoint(train)
    found.fail(train, "user")
    found.resume(0)
    found.launch()
    found.succeed(found.machine.tasks["table"])
    assert found.machine.tasks["train"].key != train.key
    assert found.machine.outputs.checkpoints("train", train.key) is not None
    assert found.machine.outputs.checkpoints("train", found.machine.tasks["train"].key) is None


def test_a_task_outlives_any_number_of_drivers() -> None:
    sketch = Sketch()
    sketch.node("train")
    found = model(sketch)
    for _ in range(12):
        found.launch()
        assert phases(found) == {"train": "running"}
        found.resume(0)
    found.finish()
    assert phases(found) == {"train": "succeeded"}


def test_that_drivers_die_is_not_counted_with_what_else_befalls_a_task() -> None:
    sketch = Sketch()
    sketch.node("train")
    found = model(sketch)
    for _ in range(5):
        found.launch()
        found.resume(0)
    found.launch()
    found.fail(found.machine.tasks["train"], "lost")
    assert phases(found) == {"train": "ready"}


def test_a_part_that_an_output_lacks_fails_what_asks_for_it() -> None:
    sketch = Sketch()
    pair = sketch.node("plain")
    sketch.node("takes", x=Out(pair.task, (0,)))
    sketch.node("depends", when=Out(pair.task, (1,)))
    found = model(sketch)
    found.finish()
    assert phases(found) == {"plain": "succeeded", "takes": "failed", "depends": "failed"}
    assert "has 0 parts" in found.machine.tasks["takes"].reason


def test_a_list_to_map_over_can_not_be_left_out_though_the_parameter_has_a_default() -> None:
    sketch = Sketch()
    sketch.declare("fit", defaults=("x",))
    sketch.node("fit", over=["x"], x=sketch.node("list"), always=True)
    found = model(sketch)
    found.launch()
    found.fail(found.machine.tasks["list"], "user")
    assert phases(found) == {"list": "failed", "fit": "skipped"}


def test_many_small_tasks_do_not_keep_a_big_one_waiting() -> None:
    sketch = Sketch()
    sketch.declare("big", resources=Resources(cpu=4))
    sketch.node("big", after=[sketch.node("small")])
    for each in range(400):
        sketch.node("small", x=Const(number(each)))
    found = model(sketch)
    ran = 0
    while phases(found)["big"] != "succeeded":
        found.launch()
        head = found.heads()[0]
        found.succeed(head, seconds=1.0)
        ran += head.name != "big"
    assert ran < 150


def test_a_short_attempt_is_not_queued_behind_a_long_one() -> None:
    sketch = Sketch()
    first = sketch.node("short")
    sketch.node("long", after=[first])
    for each in range(100):
        sketch.node("short", after=[first], x=Const(number(each)))
    found = model(sketch)
    found.launch()
    found.succeed(found.machine.tasks["short"], seconds=0.001)
    found.launch()
    [worker] = found.machine.tasks["long"].workers
    assert [name for name, _, _ in found.crew.workers[worker].queue] == ["long"]
    assert len(found.machine.running()) > 4


def test_a_trace_that_differs_names_the_node() -> None:
    sketch = Sketch()
    sketch.node("first")
    sketch.node("second")
    machine = Machine()
    machine.step(sketch.traced())
    other = Sketch()
    other.node("first")
    other.node("third")
    with pytest.raises(TraceError, match=r"called `third` .* where it had called `second`"):
        machine.unseen(tuple(other.stages.values()), tuple(other.nodes), 0)


def test_a_trace_that_goes_on_gives_what_is_new() -> None:
    sketch = Sketch()
    sketch.node("first")
    machine = Machine()
    machine.step(sketch.traced())
    sketch.node("second")
    fresh = machine.unseen(tuple(sketch.stages.values()), tuple(sketch.nodes), 0)
    assert fresh == Traced((sketch.stages["second"],), (sketch.nodes[1],))
    assert machine.unseen((), tuple(sketch.nodes[:1]), 0) is None


def test_handles_may_stand_in_lists_inside_of_lists() -> None:
    sketch = Sketch()
    deep: Arg = Const(number(1))
    for _ in range(100):
        deep = Many("list", (deep, sketch.node("leaf")))
    sketch.node("sink", x=deep)
    found = model(sketch)
    found.finish()
    assert set(phases(found).values()) == {"succeeded"}


def run_whole(sketch: Sketch) -> float:
    """Run a large graph to its end; return the seconds of cpu that it took."""
    began = time.process_time()
    found = model(sketch, checked=False)
    while found.machine.closed is None:
        found.launch()
        for task in found.heads():
            found.succeed(task, seconds=1.0)
    assert state(found) == "succeeded"
    return time.process_time() - began


@pytest.mark.parametrize("make", [chain, fan, spread])
def test_ten_times_as_many_tasks_take_ten_times_as_long_and_none_is_too_deep(make: Callable[[int], Sketch]) -> None:
    few = min(run_whole(make(1_000)) for _ in range(3))
    assert run_whole(make(10_000)) < 30 * few  # a hundred times, were it quadratic
