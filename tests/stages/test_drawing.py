"""Drawings of reports."""

from __future__ import annotations

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from headrace.report.chart import LETTER, SIZE, Axis, Chart, drawing, rounded
from headrace.report.drawing import canvas
from headrace.spec.report import Drawing
from headrace.stages.evaluate import figures as drawings

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
        drawings.confusion(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), ["a", "<b>"]),
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
        "import sys, numpy as np; from headrace.stages.evaluate import figures as drawings;"
        "drawings.residuals(np.arange(9.0), np.arange(9.0) + 1, 0); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LONG = "a name of which only what stands behind tells one from another: number {}, which goes on and on"


@pytest.mark.parametrize("count", [2, 12, 60])
@pytest.mark.parametrize("name", ["{}", "class {}", LONG, LONG.partition(",")[0]])
def test_names_in_a_figure_are_told_apart_and_texts_do_not_collide(count: int, name: str) -> None:
    random = np.random.default_rng(count)
    names = [name.format(place) for place in range(count)]
    truth, decided = random.integers(0, count, (2, 5000))
    confusion = drawings.confusion(np.append(truth, range(count)), np.append(decided, range(count)), names)
    low, high = 0.7 + random.random((2, count)) * [[0.1], [0.2]]
    for scale in (1.0, 1e6, 1e-4):
        for made in (confusion, drawings.forest(names, 0.8 * low, low, high * scale + low, 0.8, "AUC of a long name")):
            _check_texts(made)


@pytest.mark.parametrize("lines", [1, 3])
def test_the_names_of_lines_stand_where_no_line_can_lie(lines: int) -> None:
    random = np.random.default_rng(1)
    scores = {f"model {place}": random.random(300) for place in range(lines)}
    for made in drawings.ranking(random.random(300) < 0.3, scores):
        _check_texts(made)
        root = ET.fromstring(made.svg)
        named = [float(each.attrib["y"]) for each in root.iter(f"{SVG}text") if (each.text or "").startswith("model")]
        points = [each.attrib["points"].split() for each in root.iter(f"{SVG}polyline")]
        curves = [float(point.split(",")[1]) for each in points if len(each) > 2 for point in each]
        assert len(named) == lines
        assert max(named) < min(curves) - 2


def test_of_many_classes_those_that_are_confused_most_are_shown_and_the_rest_as_one() -> None:
    truth = np.repeat(np.arange(60), 10)
    decided = np.where((truth == 41) & (np.arange(600) % 10 < 7), 52, truth)
    made = drawings.confusion(truth, decided, [f"class {place}" for place in range(60)])
    assert "The 19 of 60 classes that are confused most are shown, and the others as one." in made.caption
    texts = [each.text for each in ET.fromstring(made.svg).iter(f"{SVG}text")]
    assert {"class 41", "class 52", "41 others", "70%", "30%"} <= {*texts}


def _check_texts(made: Drawing) -> None:
    """Refuse texts of one line that overlap, that reach out of the drawing, or that are the same beside each other."""
    root = ET.fromstring(made.svg)
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}
    boxes: dict[float, list[tuple[float, float, str]]] = {}
    turned: list[str] = []
    for each in root.iter(f"{SVG}text"):
        said = each.text or ""
        if "transform" in each.attrib:
            turned.append(said)
            continue
        wide = len(said) * SIZE * LETTER
        start = float(each.attrib["x"]) - shift[each.attrib["text-anchor"]] * wide
        boxes.setdefault(float(each.attrib["y"]), []).append((start, start + wide, said))
    for line in boxes.values():
        line.sort()
        assert line[0][0] >= -1, line[0]
        assert line[-1][1] <= float(root.attrib["width"]) + 1, line[-1]
        for (_, end, one), (start, _, other) in itertools.pairwise(line):
            assert end <= start + 0.5, (one, other)
    assert len(turned) == len({*turned})
    ends = [said for line in boxes.values() for _, _, said in line if len(said) > 7 and "%" not in said]
    assert len(ends) == len({*ends}), ends
