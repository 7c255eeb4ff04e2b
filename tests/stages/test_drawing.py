"""Drawings of reports."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from headrace.spec.report import Drawing
from headrace.stages.evaluate import drawings
from headrace.stages.report.chart import Axis, Chart, drawing, rounded
from headrace.stages.report.drawing import canvas

SVG = "{http://www.w3.org/2000/svg}"


def curve() -> Drawing:
    with canvas() as drawn:
        drawn.axes.plot([1, 2, 3], [3, 1, 2], label="loss")
        drawn.axes.legend()
        return drawn.drawing("Loss", "It falls, and rises.")


def test_the_same_data_make_the_same_bytes() -> None:
    assert curve() == curve()
    assert curve().svg.startswith("<?xml")


def test_nothing_global_is_changed() -> None:
    before = dict(mpl.rcParams)
    curve()
    assert dict(mpl.rcParams) == before


def figures() -> list[Drawing]:
    random = np.random.default_rng(0)
    positive, score = random.random(300) < 0.3, random.random(300)
    truth = random.normal(100, 30, 300)
    bins = np.linspace(0.05, 0.95, 10)
    return [
        *drawings.ranking(positive, {"model": score, "baseline": np.full(300, 0.3)}),
        drawings.calibration(bins, bins, bins - 0.05, bins + 0.05, score, "is <late> & sorry"),
        drawings.forest(["a", "<b>"], np.array([0.6, 0.7]), np.array([0.5, 0.6]), np.array([0.7, 0.8]), 0.65, "AUC"),
        drawings.confusion(np.array([[5, 3], [1, 9]]), ["a", "<b>"]),
        *drawings.residuals(truth, truth + random.normal(0, 9, 300), 0),
    ]


def test_figures_are_whole_the_same_each_time_and_escape_what_users_name() -> None:
    made = figures()
    assert made == figures()
    for each in made:
        root = ET.fromstring(each.svg)
        width, height = (float(root.attrib[name]) for name in ("width", "height"))
        for text in root.iter(f"{SVG}text"):
            assert 0 <= float(text.attrib["x"]) <= width
            assert 0 <= float(text.attrib["y"]) <= height
        for line in root.iter(f"{SVG}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height
    words = [text.text for each in made for text in ET.fromstring(each.svg).iter(f"{SVG}text")]
    assert "share that is <late> & sorry" in words
    assert words.count("<b>") == 3


def test_a_mark_stands_where_the_axes_say() -> None:
    chart = Chart(Axis("x", 0, 10), Axis("y", 0, 4), top=0, bottom=200, width=300)
    chart.dots([5], [1])
    (dot,) = ET.fromstring(drawing("t", "", chart.drawn()).svg).iter(f"{SVG}circle")
    assert float(dot.attrib["cx"]) == pytest.approx((chart.left + chart.right) / 2, abs=0.01)
    assert float(dot.attrib["cy"]) == 150


@pytest.mark.parametrize("ends", [(0, 1), (-120, 310), (0.61, 0.64), (1e-9, 3e-9), (-5e139, 1e140), (1e6, 1e6 + 1e-2)])
def test_the_marks_of_an_axis_are_two_or_more_and_within_it(ends: tuple[float, float]) -> None:
    found = [place for place, _ in rounded(*ends)]
    assert 2 <= len(found) <= 8
    room = 1e-6 * (ends[1] - ends[0])
    assert ends[0] - room <= min(found)
    assert max(found) <= ends[1] + room


def test_equal_errors_and_no_spread_are_drawn_too() -> None:
    same = np.full(5, 3.0)
    for each in (*drawings.residuals(same, same, 0), drawings.forest(["a"], same[:1], same[:1], same[:1], 3.0, "MAE")):
        assert "nan" not in each.svg


def test_figures_need_no_matplotlib() -> None:
    code = (
        "import sys, numpy as np; from headrace.stages.evaluate import drawings;"
        "drawings.residuals(np.arange(9.0), np.arange(9.0) + 1, 0); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
