"""The machine under random pipelines and random fates; its invariants are checked after each step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.plan.needs import needed_by, with_needs
from headrace.run.events import Asked, decode_event
from headrace.spec.failure import FailureKind
from headrace.spec.policy import Policy
from tests.run.model import Model, compare, replay
from tests.run.scenes import Scene, scenes

FATES = ("succeed", "succeed", "succeed", "see", "fail", "fail", "die", "checkpoint", "log")
RARE = ("cancel", "resume", "resume", "renew", "break_trace", "replay", "recall")
FAILURES: tuple[FailureKind, ...] = ("user", "timeout", "memory", "crash", "lost", "refused", "cancelled")


def live(model: Model, data: st.DataObject, steps: int) -> None:
    """Let one thing happen after another, whatever is drawn."""
    for _ in range(data.draw(st.integers(0, steps))):
        ready = model.enabled()
        if not ready and model.machine.closed is None:
            return
        choices = [each for each in ready if each != "succeed"] + (list(FATES) if "succeed" in ready else [])
        step = data.draw(st.sampled_from([*choices * 2, *RARE]))
        happen(model, data, step)


def happen(model: Model, data: st.DataObject, step: str) -> None:
    match step:
        case "succeed" | "see" | "die" | "checkpoint" | "log":
            getattr(model, step)(data.draw(st.sampled_from(model.heads())))
        case "fail":
            model.fail(data.draw(st.sampled_from(model.heads())), data.draw(st.sampled_from(FAILURES)), seconds=0.002)
        case "cancel":
            if model.machine.closed is None:
                model.cancel(now=data.draw(st.booleans()))
        case "break_trace":
            if model.machine.may_launch and not model.machine.trace_ended:
                model.break_trace()
        case "resume":
            model.resume(data.draw(st.integers(0, 3)), away=len(model.stores) > 1 and data.draw(st.booleans()))
        case "renew":
            model.resume(data.draw(st.integers(0, 3)), new_code=True)
        case "replay":
            compare(model.machine, replay(model.stored))
        case _:
            getattr(model, step)()


@settings(max_examples=250)
@given(scenes(approved=True), st.data())
def test_a_run_keeps_its_invariants_and_ends_whatever_happens(scene: Scene, data: st.DataObject) -> None:
    model = Model(scene)
    live(model, data, 40)
    model.finish()


@settings(max_examples=120)
@given(scenes(), st.data())
def test_a_run_that_asks_for_some_tasks_only_runs_all_that_they_need(scene: Scene, data: st.DataObject) -> None:
    only = data.draw(st.sampled_from(("plain0", "map0", "flag1", "nothing")))
    model = Model(scene, Policy(only=(only,)))
    live(model, data, 25)
    model.finish()
    machine = model.machine
    events = [decode_event(body) for body in model.stored]
    asked = [each.out.task for each in events if isinstance(each, Asked) and each.out.task in machine.tasks]
    wanted = needed_by([only], machine.nodes, machine.stages) | with_needs(asked, machine.nodes)
    for task in machine.tasks.values():
        if "--only" in task.reason:
            assert task.name not in wanted


@settings(max_examples=250)
@given(scenes(allows=0, approved=True), st.data())
def test_a_run_that_is_resumed_until_all_is_well_gives_what_an_undisturbed_one_gives(
    scene: Scene, data: st.DataObject
) -> None:
    calm, model = Model(scene), Model(scene)
    calm.finish()
    live(model, data, 40)
    model.finish()
    model.resume(0)
    model.finish()
    assert model.outcome() == calm.outcome()


FORCED = st.lists(st.sampled_from([f"{kind}{number}" for kind in ("plain", "map", "list") for number in range(4)]))


@settings(max_examples=250)
@given(scenes(), FORCED, st.data())
def test_what_a_run_reuses_of_another_region_is_brought_once(
    scene: Scene, forced: list[str], data: st.DataObject
) -> None:
    first = Model(scene, regions=True)
    first.finish()
    model = Model(scene, Policy(force=tuple(forced)), regions=True, after=first)
    live(model, data, 25)
    model.finish()
    moved = [task for task in model.machine.tasks.values() if task.move is not None and task.good]
    assert len({(task.move.ref.digest, task.move.target) for task in moved if task.move is not None}) == len(moved)


@settings(max_examples=120)
@given(scenes(allows=0, approved=True), FORCED, st.data())
def test_a_run_that_went_from_region_to_region_gives_what_one_that_stayed_gives(
    scene: Scene, forced: list[str], data: st.DataObject
) -> None:
    calm = Model(scene, regions=True)
    calm.finish()
    model = Model(scene, Policy(force=tuple(forced)), regions=True, after=calm)
    live(model, data, 40)
    model.finish()
    model.resume(0, away=data.draw(st.booleans()))
    model.finish()
    assert model.outcome() == calm.outcome()
