"""Drawings for reports, made with matplotlib: all in one style, and with the same bytes for the same data."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.spec.report import Drawing

INK, MUTED, FAINT = "#1f2933", "#66727f", "#e3e7eb"
COLOURS = ("#0b6e8f", "#c8702a", "#8a94a0", "#5b8c5a", "#8f3d6e", "#b59a2e")
"""Colours that can be told apart in shades of grey too, and by people with red-green colour blindness."""
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.hashsalt": "headrace",
}


class Canvas:
    """A matplotlib `figure` with its `axes` to draw on. `drawing()` returns the result for a report."""

    def __init__(self, figure: Any, axes: Any) -> None:
        self.figure = figure
        self.axes = axes

    def drawing(self, title: str, caption: str = "") -> Drawing:
        """Return the figure as a drawing for a report. Its SVG has no date, so the same data gives the same bytes."""
        text = io.StringIO()
        self.figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
        return Drawing(title=title, svg=text.getvalue(), caption=caption)


@contextmanager
def canvas(width: float = 6.4, height: float = 3.6) -> Iterator[Canvas]:
    """Yield an empty canvas with one pair of axes, in Headrace's style; `width` and `height` are in inches.

    Call the canvas's `drawing()` inside the `with` block.
    """
    import matplotlib as mpl  # noqa: PLC0415  0.2 s, for stages that draw
    from cycler import cycler  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415  without pyplot: no window, nothing global

    with mpl.rc_context({**STYLE, "axes.prop_cycle": cycler(color=list(COLOURS))}):
        figure = Figure(figsize=(width, height))
        yield Canvas(figure, figure.subplots())
