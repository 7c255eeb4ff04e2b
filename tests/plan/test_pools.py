"""What an error says about a stage that none of a run's pools may run, and which pools its hint names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from headrace.errors import PlacementError
from headrace.plan.pools import check_fit
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources
from headrace.testing.graphs import stage

FIT = stage("fit", resources=Resources(cpu=2))
SMALL = Pool(name="small", cpu=1)
RAY = Pool(name="ray", cpu=2)
BIG = Pool(name="big", cpu=2)
OTHER = Pool(name="other", cpu=1)


def hint(pools: Sequence[Pool], pins: Mapping[str, str], *spare: Pool) -> str:
    """Return the hint of the error about `FIT`."""
    with pytest.raises(PlacementError) as caught:
        check_fit([FIT], pools, pins, spare)
    assert caught.value.hint is not None
    return caught.value.hint


def test_the_hint_names_all_pools_of_the_settings_that_can_hold_the_stage() -> None:
    for spare, ways in (
        ((RAY, OTHER, BIG), "`--pool small,ray` or `--pool small,big`"),
        ((OTHER, BIG), "`--pool small,big`"),
    ):
        assert hint([SMALL], {}, *spare) == f"add a pool that can hold it: {ways}; or lower its resources"
    assert hint([SMALL], {}, OTHER).startswith("lower its resources, or add a larger pool")


def test_without_a_pool_that_does_not_answer_only_pools_that_can_hold_the_stage_are_named() -> None:
    pins = {"fit": "ray"}
    for pools, spare, ways in (
        ([SMALL], (OTHER, BIG), "`--pool small,big`"),
        ([SMALL, BIG], (OTHER,), "`--pool small,big`"),
    ):
        named = "or name another pool for `fit` under `[place]` in headrace.toml"
        assert hint(pools, pins, *spare) == f"leave it out with {ways}, {named}"
    assert (
        hint([SMALL], pins, OTHER) == "`headrace doctor` checks it; no other pool is known to hold stage `fit` (cpu=2)"
    )
