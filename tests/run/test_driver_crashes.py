"""A run whose drivers die at any commit comes to what an undisturbed one comes to, and nothing runs twice."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.run.scenes import Scene, scenes
from tests.run.world import SPREAD, World

NAMES = [f"{kind}{index}" for kind in ("plain", "flag", "list", "map") for index in range(4)]
FATES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("raises", "crashes", "hangs", "keeps")), max_size=3)
CRASHES = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.floats(0, 8)), min_size=1, max_size=6)
USED = st.lists(st.sampled_from(((0, 1), (1, 0), (0,), (1,))), min_size=7, max_size=7)
"""Which of two pools each driver uses, in which order."""


@settings(max_examples=250)
@given(scenes(), FATES, CRASHES)
def test_a_run_whose_drivers_die_comes_to_what_an_undisturbed_one_comes_to(
    scene: Scene, fates: dict[str, str], crashes: list[tuple[int, bool, float]]
) -> None:
    calm, world = World(scene, fates), World(scene, fates)
    assert calm.drive()
    calm.check()
    died = 0
    for dies_at, stored, pause in crashes:
        if world.drive(dies_at, stored=stored):
            break
        died += 1
        world.lose_driver(pause)
        if world.run.record.row is None:
            world = World(scene, fates)  # it had never been stored that there is a run
    else:
        assert world.drive()
    event(f"{died} drivers died")
    world.check()
    assert world.outcome() == calm.outcome()


@settings(max_examples=100)
@given(scenes(), FATES, CRASHES, st.lists(st.booleans(), min_size=7, max_size=7))
def test_a_run_whose_drivers_die_comes_to_the_same_with_its_own_code_and_with_new_code(
    scene: Scene, fates: dict[str, str], crashes: list[tuple[int, bool, float]], codes: list[bool]
) -> None:
    calm, world = World(scene, fates), World(scene, fates)
    assert calm.drive()
    for (dies_at, stored, pause), new_code in zip(crashes, codes, strict=False):
        before = set(world.run.record.tasks)
        if world.drive(dies_at, stored=stored, new_code=new_code):
            break
        if new_code and world.run.record.row is not None:
            assert world.run.record.tasks or not before, "its tasks are gone, and no trace has come in their place"
        world.lose_driver(pause)
        if world.run.record.row is None:
            world = World(scene, fates)
    else:
        assert world.drive(new_code=codes[-1])
    world.check()
    assert world.outcome() == calm.outcome()


@settings(max_examples=200)
@given(scenes(), FATES, CRASHES, USED)
def test_a_run_whose_drivers_die_and_use_other_pools_comes_to_what_it_comes_to_in_one(
    scene: Scene, fates: dict[str, str], crashes: list[tuple[int, bool, float]], used: list[tuple[int, ...]]
) -> None:
    calm, world = World(scene, fates), World(scene, fates, pools=SPREAD)
    assert calm.drive()
    for (dies_at, stored, pause), pools in zip(crashes, used, strict=False):
        world.used = pools
        if world.drive(dies_at, stored=stored):
            break
        world.lose_driver(pause)
        if world.run.record.row is None:
            world = World(scene, fates, pools=SPREAD)
    else:
        world.used = used[-1]
        assert world.drive()
    world.check()
    assert world.outcome() == calm.outcome()


@settings(max_examples=150)
@given(scenes(allows=0), st.floats(1, 20), st.floats(0, 20), st.lists(st.floats(0, 8), max_size=2))
def test_a_run_one_of_whose_pools_is_gone_for_a_while_comes_to_what_it_comes_to_in_one(
    scene: Scene, gone_at: float, back_after: float, pauses: list[float]
) -> None:
    calm, world = World(scene, {}), World(scene, {}, pools=SPREAD)
    assert calm.drive()
    world.gone[1] = gone_at, gone_at + back_after
    for pause in pauses:
        if world.drive(6):
            break
        world.lose_driver(pause)
    else:
        assert world.drive()
    world.check()
    assert world.outcome() == calm.outcome()


@settings(max_examples=100)
@given(scenes(allows=0), FATES, st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=3))
def test_a_run_that_is_cancelled_and_resumed_comes_to_what_an_undisturbed_one_comes_to(
    scene: Scene, fates: dict[str, str], cancels: list[tuple[float, bool]]
) -> None:
    calm, world = World(scene, fates), World(scene, fates)
    assert calm.drive()
    for after, now in cancels:
        world.run = world.ledger.take("scene")
        world.cancel(after, now=now)
        assert world.drive()
        world.check()
        event(f"it {world.state}")
    world.forget_cancels()
    assert world.drive()
    world.check()
    assert world.outcome() == calm.outcome()


@settings(max_examples=100)
@given(scenes(allows=0), st.lists(st.tuples(st.floats(0, 30), st.integers(0, 1)), min_size=1, max_size=4))
def test_a_run_that_loses_nodes_comes_to_what_an_undisturbed_one_comes_to(
    scene: Scene, losses: list[tuple[float, int]]
) -> None:
    calm, world = World(scene, {}), World(scene, {})
    assert calm.drive()
    for after, node in losses:
        world.lose_node(after, node)
    assert world.drive()
    world.check()
    assert world.outcome() == calm.outcome()
