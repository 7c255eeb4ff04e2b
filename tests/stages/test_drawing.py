"""Drawings of reports."""

from __future__ import annotations

import matplotlib as mpl

from headrace.spec.report import Drawing
from headrace.stages.report.drawing import canvas


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
