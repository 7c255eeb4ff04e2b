"""What tasks have logged, as curves: a later attempt's points replace the earlier ones from where it begins."""

from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from headrace.run.curves import Curve, Curves, Name
from headrace.run.events import Logged, Points, Shown
from headrace.spec.artifact import Ref

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
BATCHES = st.lists(
    st.tuples(st.integers(1, 3), st.lists(st.tuples(st.integers(-3, 6), NUMBERS), max_size=5)), max_size=8
).map(lambda batches: sorted(batches, key=lambda batch: batch[0]))
TEXT = Ref(digest="d" * 64, size=2, codec="text", type="builtins.str", inline=b"hi")


def points(found: list[tuple[int, float]], name: str = "loss") -> Points:
    steps, values = array("q", [step for step, _ in found]), array("d", [value for _, value in found])
    return Points(name, steps.tobytes(), values.tobytes(), array("f", [0.5] * len(found)).tobytes())


@given(BATCHES)
def test_a_summary_is_that_of_the_points_that_stand(batches: list[tuple[int, list[tuple[int, float]]]]) -> None:
    curve, stands, latest = Curve(), list[tuple[int, float]](), 0
    for attempt, found in batches:
        curve.extend(attempt, 10.0, points(found))
        if found:
            if attempt != latest:
                stands = [each for each in stands if each[0] < found[0][0]]
            stands += found
            latest = attempt
    assert list(curve.steps) == [step for step, _ in stands]
    if not stands:
        return
    summary = curve.summary("fit", "loss")
    numbers = [value for _, value in stands if not math.isnan(value)]
    assert summary.count == len(stands)
    assert (summary.least, summary.greatest) == ((min(numbers), max(numbers)) if numbers else (None, None))
    assert summary.last == (None if math.isnan(stands[-1][1]) else stands[-1][1])
    assert (summary.first_step, summary.last_step, summary.at) == (stands[0][0], stands[-1][0], 10.5)


def test_texts_and_figures_are_counted_by_name_and_replaced_as_points_are() -> None:
    curves = Curves()
    curves.add(Logged("fit", 1, 1.0, (), tuple(Shown("said", step, 1.0, TEXT) for step in range(3))))
    curves.add(Logged("fit", 2, 2.0, (), (Shown("said", 1, 2.0, TEXT),), (Shown("drawn", 0, 2.0, TEXT),)))
    said, drawn = curves.summary(Name("fit", "text", "said")), curves.summary(Name("fit", "figure", "drawn"))
    assert (said.count, said.first_step, said.last_step, said.at) == (2, 0, 1, 2.0)
    assert (drawn.count, drawn.last) == (1, None)


def test_what_a_driver_stored_and_could_not_acknowledge_counts_once_though_it_is_reported_again() -> None:
    curves = Curves()
    event = Logged("fit", 1, 1.0, (points([(0, 1.0), (1, 0.5)]),), (Shown("said", 0, 1.0, TEXT),))
    for _ in range(2):
        curves.add(event)
    assert [each.count for each in curves.summaries()] == [2, 1]


def test_a_task_that_has_ended_lets_go_of_its_points_and_keeps_what_they_come_to() -> None:
    curves = Curves()
    curves.add(Logged("fit", 1, 1.0, (points([(0, 1.0), (1, 0.5)]),)))
    before = list(curves.summaries())
    curves.end("fit")
    assert curves.numbers == {}
    assert list(curves.summaries()) == before
    curves.end("fit")
    curves.end("never")
