"""The drawing of a graph: layers, places, ways."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from headrace.inspect.page.layout import draw

NAMES = [f"n{number}" for number in range(30)]
GRAPHS = st.lists(
    st.tuples(st.integers(0, 29), st.integers(0, 29)).filter(lambda edge: edge[0] < edge[1]), max_size=60
).map(lambda edges: [(NAMES[source], NAMES[target]) for source, target in edges])


@given(GRAPHS)
def test_edges_lead_down_and_boxes_never_overlap(edges: list[tuple[str, str]]) -> None:
    drawing = draw(NAMES, edges)
    assert drawing.places.keys() == set(NAMES)
    for source, target in edges:
        way = drawing.ways[source, target]
        assert (way[0], way[-1]) == (drawing.places[source], drawing.places[target])
        assert all(lower[1] == upper[1] + 1 for upper, lower in itertools.pairwise(way))
    for place in drawing.places.values():
        assert place[0] >= 0.5 - 1e-6
        assert place[0] <= drawing.width - 0.5 + 1e-6
    for layer in range(drawing.layers):
        across = sorted(place[0] for place in drawing.places.values() if place[1] == layer)
        assert all(right - left >= 1 - 1e-6 for left, right in itertools.pairwise(across))


def test_a_diamond_has_no_crossing_and_stands_upright() -> None:
    drawing = draw(["a", "b", "c", "d"], [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    assert drawing.layers == 3
    assert drawing.places["a"][0] == drawing.places["d"][0]
    assert drawing.places["b"][0] < drawing.places["a"][0] < drawing.places["c"][0]


def test_crossed_wires_are_uncrossed() -> None:
    drawing = draw(["a", "b", "c", "d"], [("a", "d"), ("b", "c")])
    places = drawing.places
    assert (places["a"][0] < places["b"][0]) == (places["d"][0] < places["c"][0])


def test_what_needs_nothing_stands_right_above_its_use() -> None:
    drawing = draw(["a", "b", "c", "late"], [("a", "b"), ("b", "c"), ("late", "c")])
    assert drawing.places["late"][1] == 1


def test_chains_and_fans_of_a_thousand_take_no_recursion_and_little_time() -> None:
    names = [f"n{number}" for number in range(1000)]
    start = time.process_time()
    assert draw(names, itertools.pairwise(names)).layers == 1000
    assert draw(names, [("n0", name) for name in names[1:]]).layers == 2
    assert time.process_time() - start < 5


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], []).width == 0
