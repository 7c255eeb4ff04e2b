"""Charts for reports, written as SVG without a plotting library, which would take time to import.

For your own drawings, use `canvas`, which is based on matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from headrace.report.drawing import COLOURS, FAINT, INK, MUTED
from headrace.report.markup import Markup, join, tag
from headrace.spec.report import Drawing

WIDTH, HEIGHT = 374, 302
SIZE = 9.5
"""The text's size, in units of the drawing."""
LETTER = 0.56
"""The approximate width of a letter, as a share of the text's size."""
MOST = 7
"""Up to this many round numbers are marked along an axis."""
TICK = 0.34
"""The distance from a text's middle down to its baseline, as a share of the text's size."""


class Axis(NamedTuple):
    """An axis of a chart, from `low` to `high`. `ticks` are the values to mark, with their names; None means round
    numbers."""

    label: str
    low: float = 0.0
    high: float = 1.0
    ticks: Sequence[tuple[float, str]] | None = None

    def marks(self) -> Sequence[tuple[float, str]]:
        """Return the values to mark on the axis, with their names."""
        return rounded(self.low, self.high) if self.ticks is None else self.ticks


class Chart:
    """A chart: a box with two axes, and marks that are drawn in the order in which they are added."""

    def __init__(
        self,
        x: Axis,
        y: Axis,
        *,
        top: float = 8,
        bottom: float = HEIGHT - 42,
        width: float = WIDTH,
        lines: Iterable[tuple[str, str, bool]] = (),
    ) -> None:
        self.x, self.y = x, y
        self.top, self.bottom = top, bottom
        self.left, self.right = _wide(name for _, name in y.marks()) + (30 if y.label else 14), width - 12
        self.marks: list[Markup] = []
        self._legend(lines)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        return round(self.left + across * (self.right - self.left), 2), round(
            self.bottom - up * (self.bottom - self.top), 2
        )

    def line(
        self, x: Iterable[float], y: Iterable[float], colour: str, *, dashed: bool = False, width: float = 1.9
    ) -> None:
        """Draw a line from point to point."""
        points = " ".join(f"{a:g},{b:g}" for a, b in (self._at(*each) for each in zip(x, y, strict=True)))
        dashes = "4 3" if dashed else None
        self.marks.append(
            tag("polyline", points=points, fill="none", stroke=colour, stroke_width=width, stroke_dasharray=dashes)
        )

    def dashed(self, x: Iterable[float], y: Iterable[float]) -> None:
        """Draw a thin dashed reference line from point to point."""
        self.line(x, y, MUTED, dashed=True, width=0.9)

    def dots(self, x: Iterable[float], y: Iterable[float], *, radius: float = 2.3, opacity: float = 1) -> None:
        """Draw a dot at each point."""
        places = (self._at(*each) for each in zip(x, y, strict=True))
        circles = [tag("circle", cx=across, cy=down, r=radius) for across, down in places]
        self.marks.append(tag("g", circles, fill=COLOURS[0], fill_opacity=opacity))

    def bars(self, edges: Sequence[float], heights: Iterable[float]) -> None:
        """Draw the bars of a histogram: one between each two neighbouring edges. Bars of height 0 are left out."""
        for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
            if height:
                self.block(low, high, 0, height, COLOURS[0], opacity=0.75)

    def block(self, left: float, right: float, low: float, high: float, colour: str, *, opacity: float = 1) -> None:
        """Draw a filled rectangle, given by its sides in units of the axes."""
        (x, y), (to, base) = self._at(left, high), self._at(right, low)
        self.marks.append(
            tag("rect", x=x, y=y, width=round(to - x, 2), height=round(base - y, 2), fill=colour, fill_opacity=opacity)
        )

    def text(self, x: float, y: float, words: str, colour: str) -> None:
        """Draw a text centred at a point."""
        across, down = self._at(x, y)
        self.marks.append(_text(across, down + SIZE * TICK, words, colour, "middle"))

    def below(self, x: float, words: str, *, upright: bool = False, down: float = 8) -> None:
        """Draw a text `down` units below the lower axis at `x`.

        The text is turned by 90 degrees and ends at the axis, or, if `upright`, it is centred below `x`.
        """
        across, base = self._at(x, self.y.low)
        turn = {} if upright else {"transform": f"rotate(-90 {across + SIZE * TICK:g} {base + down:g})"}
        at = across if upright else across + SIZE * TICK
        self.marks.append(_text(at, base + down, words, INK, "middle" if upright else "end", **turn))

    def _legend(self, lines: Iterable[tuple[str, str, bool]]) -> None:
        """Draw the chart's legend above its box, where it hides no mark. Each of the `lines` is given by its name, its
        colour, and whether it is dashed."""
        start, y = self.left, self.top
        for name, colour, dashed in lines:
            room = 23 + _wide([name])
            if start > self.left and start + room > self.right:
                start, y = self.left, y + 14
            ends, dashes = f"{start:.1f},{y:g} {start + 18:.1f},{y:g}", "4 3" if dashed else None
            self.marks += [
                tag("polyline", points=ends, fill="none", stroke=colour, stroke_width=1.9, stroke_dasharray=dashes),
                _text(start + 23, y + SIZE * TICK, name, INK, "start"),
            ]
            start, self.top = start + room + 16, y + 14

    def _across(self) -> Sequence[tuple[float, str]]:
        """Return the values to mark along the lower axis, with their names: the axis's own ticks, or as many round
        numbers as there is room for."""
        if self.x.ticks is not None:
            return self.x.ticks
        for most in range(MOST, 2, -1):
            marks = rounded(self.x.low, self.x.high, most)
            room = (self.right - self.left) / (self.x.high - self.x.low)
            if len(marks) < 2 or (marks[1][0] - marks[0][0]) * room >= _wide(name for _, name in marks) + SIZE:
                break
        return marks

    def drawn(self, *, below: bool = True, grid: bool = True) -> list[Markup]:
        """Return the SVG elements of the axes and of all marks.

        Without `below`, the lower axis has no names and no label. Without `grid`, no grid lines are drawn.
        """
        made: list[Markup] = []
        for value, name in self._across():
            x, _ = self._at(value, self.y.low)
            made += [_stroke(x, self.top, x, self.bottom, FAINT)] * grid
            most = self.right + 10 - _wide([name]) / 2  # so that the last name doesn't reach beyond the drawing
            made += [_text(min(x, most), self.bottom + 13, name, INK, "middle")] * below
        for value, name in self.y.marks():
            _, y = self._at(self.x.low, value)
            made += [_stroke(self.left, y, self.right, y, FAINT)] * (grid and self.y.ticks is None)
            made.append(_text(self.left - 5, y + SIZE * TICK, name, INK, "end"))
        made += [_stroke(self.left, self.bottom, self.right, self.bottom, MUTED)]
        made += [_stroke(self.left, self.top, self.left, self.bottom, MUTED)]
        if below and self.x.label:
            made.append(_text((self.left + self.right) / 2, self.bottom + 30, self.x.label, INK, "middle"))
        if self.y.label:
            middle = (self.top + self.bottom) / 2
            made.append(_text(11, middle, self.y.label, INK, "middle", transform=f"rotate(-90 11 {middle:g})"))
        return [*made, *self.marks]


def drawing(
    title: str, caption: str, marks: Iterable[Markup], *, width: float = WIDTH, height: float = HEIGHT
) -> Drawing:
    """Return a drawing for a report, made of the SVG elements `marks`."""
    svg = tag(
        "svg",
        (join([each, "\n"]) for each in marks),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
        font_family="DejaVu Sans, Verdana, sans-serif",
        font_size=SIZE,
    )
    return Drawing(title=title, svg=str(svg), caption=caption)


def _wide(names: Iterable[str]) -> float:
    """Return the approximate width of the longest of some texts, in units of the drawing."""
    return max(map(len, names), default=0) * SIZE * LETTER


def rounded(low: float, high: float, most: int = MOST) -> list[tuple[float, str]]:
    """Return up to `most` evenly spaced round numbers between `low` and `high`, each with its text.

    >>> [name for _, name in rounded(0, 1)], [name for _, name in rounded(-120, 310)]
    (['0', '0.2', '0.4', '0.6', '0.8', '1'], ['-100', '0', '100', '200', '300'])
    """
    rough = (high - low) / max(1, most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * each for each in (1, 2, 2.5, 5, 10) if unit * each >= rough * (1 - 1e-9))
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(place * step, f"{place * step:.6g}") for place in places]


def _stroke(x: float, y: float, to_x: float, to_y: float, colour: str) -> Markup:
    return tag("line", x1=x, y1=y, x2=to_x, y2=to_y, stroke=colour, stroke_width=0.8)


def _text(x: float, y: float, words: str, colour: str, anchor: str, **more: Any) -> Markup:
    return tag("text", words, x=round(x, 2), y=round(y, 2), fill=colour, text_anchor=anchor, **more)
