"""Sparklines and curves hold for any numbers."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from headrace.inspect.metrics.curves import MAX_POINTS, Line, kept
from headrace.inspect.metrics.directions import direction
from headrace.inspect.page.curves import curves
from headrace.report.sparkline import BARS, sparkline

NUMBERS = st.lists(st.floats(), max_size=60)


@given(NUMBERS, st.integers(1, 40))
def test_a_sparkline_fits_and_shows_each_number(values: list[float], width: int) -> None:
    drawn = sparkline(values, width=width)
    finite = [value for value in values if math.isfinite(value)]
    assert len(drawn) <= width
    assert set(drawn) <= {*BARS, " "}
    assert bool(drawn.strip()) == bool(finite)


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline(range(8)) == BARS
    assert sparkline([1.0] * 3) == BARS[4] * 3
    assert sparkline([0.0, 5.0], low=0.0, high=10.0) == "▁▅"
    assert len(sparkline([1e308, -1e308])) == 2


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=30))
def test_curves_of_any_numbers_are_well_formed(points: list[tuple[float, float]]) -> None:
    line = Line(steps=tuple(step for step, _ in points), values=tuple(value for _, value in points))
    drawn = ET.fromstring(curves([("a <b>", line), ("none", None)], "loss & more"))
    for each in drawn.iter():
        assert "nan" not in str(each.attrib)
        assert "inf" not in str(each.attrib)


def test_thinning_keeps_spikes_and_ends() -> None:
    values = [0.0] * 50_000
    values[31_337] = 9.0
    found = kept(values)
    assert len(found) <= MAX_POINTS
    assert 31_337 in found
    assert (found[0], found[-1]) == (0, 49_999)


@given(st.lists(st.floats(), max_size=200), st.integers(4, 30))
def test_thinning_gives_no_more_than_asked_in_order(values: list[float], limit: int) -> None:
    found = list(kept(values, limit))
    assert len(found) <= max(limit, 4)
    assert found == sorted(set(found))
    numbers = [value for value in values if not math.isnan(value)]
    if numbers:
        assert max(numbers) in [values[place] for place in found]


def test_the_direction_of_a_number_is_read_from_its_words() -> None:
    told = {
        "train/loss": "lower",
        "valid.log_loss": "lower",
        "AUC": "higher",
        "PR AUC": "higher",
        "macro-F1": "higher",
        "error_rate": "lower",
        "worst-slice gap": "lower",
        "accuracy_gap": "lower",
        "Brier score": "lower",
        "valid/binary_logloss": "lower",
        "valid/neg_log_loss": "higher",
        "train/neg_mean_absolute_error": "higher",
        "d2_absolute_error_score": "higher",
        "negative_log_likelihood": "lower",
        "precision/negative": "higher",
        "negative/recall": "higher",
        "test_score": "higher",
        "rows": "",
        "lr": "",
        "": "",
    }
    assert {name: direction(name) for name in told} == told
