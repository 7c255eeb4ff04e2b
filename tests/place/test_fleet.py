"""What a pool can hold: its machines, and so many of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.spec.fleet import Pool, Shape
from headrace.spec.stage import Resources

TWO_OF_TWO = Pool(name="small", cpu=4, memory_gib=16, nodes=2)


def test_a_need_that_no_machine_has_is_refused_though_all_machines_together_have_it() -> None:
    assert TWO_OF_TWO.holds(Resources(cpu=4)) == "it has 4 cpus, but at most 2 on one machine"
    assert TWO_OF_TWO.holds(Resources(memory_gib=9)) == "it has 16 GiB of memory, but at most 8 GiB on one machine"
    assert TWO_OF_TWO.holds(Resources(cpu=2, memory_gib=8)) is None


def test_one_of_a_thing_is_not_told_as_several() -> None:
    one = Pool(name="one", cpu=1, memory_gib=4, gpus=1, nodes=1)
    assert one.holds(Resources(cpu=2)) == "it has 1 cpu"
    assert one.holds(Resources(gpu="2")) == "it has 1 gpu"
    assert one.holds(Resources(nodes=2)) == "it has 1 node"


def test_a_gang_takes_a_machine_for_each_of_its_nodes() -> None:
    assert TWO_OF_TWO.holds(Resources(cpu=2, nodes=2)) is None
    assert TWO_OF_TWO.holds(Resources(cpu=1, nodes=3)) == "it has 2 nodes"


def test_the_machines_of_a_pool_may_be_larger_than_an_even_part_of_it() -> None:
    pool = Pool(name="mixed", cpu=10, memory_gib=16, nodes=2, machines=(Shape(cpu=8, memory_gib=12),))
    assert pool.holds(Resources(cpu=8)) is None
    assert pool.holds(Resources(cpu=9)) == "it has 10 cpus, but at most 8 on one machine"


def test_what_no_single_machine_has_together_is_refused() -> None:
    many, gpu = Shape(cpu=64, memory_gib=32), Shape(cpu=8, memory_gib=256, gpus=4)
    pool = Pool(name="mixed", cpu=72, memory_gib=288, gpus=4, nodes=2, machines=(many, gpu))
    assert pool.holds(Resources(cpu=64)) is None
    assert pool.holds(Resources(gpu="4")) is None
    assert pool.holds(Resources(cpu=32, gpu="1")) == "no machine of it has 32 cpus and 1 gpu at once"
    assert pool.holds(Resources(cpu=65)) == "it has 72 cpus, but at most 64 on one machine"


def test_gpus_that_do_not_divide_evenly_make_some_machines_have_one_more() -> None:
    pool = Pool(name="gpu", cpu=16, memory_gib=64, gpus=3, gpu_kind="A100", nodes=2)
    assert pool.shapes == (Shape(cpu=8, memory_gib=32, gpus=2, gpu_kind="A100"),)
    assert pool.holds(Resources(gpu="A100:2")) is None
    assert pool.holds(Resources(gpu="A100:3")) == "it has 3 gpus, but at most 2 on one machine"
    assert pool.holds(Resources(gpu="H100:1")) == "its gpus are A100"


@pytest.mark.parametrize("need", [Resources(gpu="1"), Resources(gpu="A100:1")])
def test_a_pool_without_gpus_says_so(need: Resources) -> None:
    assert TWO_OF_TWO.holds(need) == "it has no gpu"


@given(
    cpu=st.floats(0.1, 64),
    memory_gib=st.floats(0, 64),
    nodes=st.integers(1, 8),
    shape=st.builds(Shape, cpu=st.floats(1, 32), memory_gib=st.floats(1, 32)),
    machines=st.integers(1, 8),
)
def test_a_pool_of_like_machines_holds_what_so_many_of_them_hold(
    cpu: float, memory_gib: float, nodes: int, shape: Shape, machines: int
) -> None:
    pool = Pool(name="p", cpu=shape.cpu * machines, memory_gib=shape.memory_gib * machines, nodes=machines)
    (each,) = pool.shapes
    fits = nodes <= machines and cpu <= each.cpu and memory_gib <= each.memory_gib
    assert (pool.holds(Resources(cpu=cpu, memory_gib=memory_gib, nodes=nodes)) is None) == fits
