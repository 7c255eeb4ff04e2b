"""Curves over steps as SVG: one line for each run, and axes with round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from headrace.inspect.metrics.curves import Line, kept
from headrace.report.markup import Markup, tag

WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
HUGE = 1e300
"""Numbers with a greater magnitude are left out, like numbers that are not finite: an axis for them would overflow."""
ALONE = (
    "text{font:12px sans-serif;fill:#5c6670}.grid{stroke:#e2e4e1}"
    ".curve{fill:none;stroke:#2f6aa8;stroke-width:1.8}.dot{fill:#2f6aa8}"
)
COLOURS = 8
"""How many colours the page's style has. Further lines repeat the colours with dashes."""


def curves(lines: Sequence[tuple[str, Line | None]], title: str) -> Markup:
    """Return named lines drawn over one pair of axes, or a note if there is no point to draw."""
    points = [_finite(line) for _, line in lines]
    every = [point for each in points for point in each]
    if not every:
        return tag("p", "no point that can be drawn", class_="note")
    x_axis = _Axis([x for x, _ in every], LEFT, WIDTH - RIGHT)
    y_axis = _Axis([y for _, y in every], HEIGHT - BOTTOM, TOP, 0.04)
    return tag(
        "svg",
        tag("title", title),
        _grid(x_axis, y_axis),
        (
            _line(name, each, number, x_axis, y_axis)
            for number, ((name, _), each) in enumerate(zip(lines, points, strict=True))
            if each
        ),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="curves",
        role="img",
        aria_label=f"{title}, over steps {_number(x_axis.low)} to {_number(x_axis.high)}",
    )


def picture(line: Line, title: str) -> str:
    """Return a drawing of one line as the text of a separate SVG file, dark on white, to be used as an image in another
    page."""
    return (
        curves([(title, line)], title)
        .replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" ', 1)
        .replace("</title>", f"</title><style>{ALONE}</style>", 1)
    )


def legend(names: Sequence[str]) -> Markup:
    """Return a legend that shows the colour of each name."""
    return tag(
        "p",
        (
            tag("span", tag("svg", _key(number), viewBox="0 0 22 10", width=22, height=10, aria_hidden="true"), name)
            for number, name in enumerate(names)
        ),
        class_="legend",
    )


class _Axis:
    """Maps values to places on the drawing, and has ticks at round numbers."""

    def __init__(self, values: Sequence[float], start: float, end: float, room: float = 0.0) -> None:
        self.low, self.high = min(values), max(values)
        pad = (self.high - self.low) * room if self.high > self.low else abs(self.low) * 0.05 or 0.5
        self._low, self._high = self.low - pad, self.high + pad
        self._start, self._end = start, end
        self.ticks = list(_ticks(self._low, self._high))

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(self._start + (self._end - self._start) * share, 1)


def _ticks(low: float, high: float) -> Iterator[float]:
    span = high - low
    if span < 1 / HUGE:
        yield from (low, high)
        return
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough), rough)
    first = math.ceil(low / step - 1e-9)
    for number in range(8):
        value = (first + number) * step
        if value > high + step * 1e-9:
            return
        yield 0.0 if abs(value) < step * 1e-9 else value


def _grid(x_axis: _Axis, y_axis: _Axis) -> Iterator[Markup]:
    for value in y_axis.ticks:
        y = y_axis(value)
        yield tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
        yield tag("text", _number(value), class_="tick", x=LEFT - 8, y=y + 4, text_anchor="end")
    for value in x_axis.ticks:
        yield tag("text", _number(value), class_="tick", x=x_axis(value), y=HEIGHT - BOTTOM + 18, text_anchor="middle")
    yield tag("text", "step", class_="tick", x=WIDTH - RIGHT, y=HEIGHT - 2, text_anchor="end")


def _line(
    name: str, points: Sequence[tuple[float, float]], number: int, x_axis: _Axis, y_axis: _Axis
) -> Iterator[Markup]:
    last = points[-1]
    label = tag("title", f"{name}: {_number(last[1])} at step {_number(last[0])}")
    if len(points) > 1:
        way = "L".join(f"{x_axis(x):g} {y_axis(y):g}" for x, y in points)
        yield tag("path", label, class_=_classes(number), d=f"M{way}")
    yield tag("circle", label, class_=f"dot c{number % COLOURS}", cx=x_axis(last[0]), cy=y_axis(last[1]), r=3)


def _key(number: int) -> Markup:
    return tag("path", class_=_classes(number), d="M1 5L21 5")


def _classes(number: int) -> str:
    return f"curve c{number % COLOURS}{' again' if number // COLOURS % 2 else ''}"


def _finite(line: Line | None) -> list[tuple[float, float]]:
    if line is None:
        return []
    points = [
        (step, value)
        for step, value in zip(line.steps, line.values, strict=True)
        if abs(step) < HUGE and abs(value) < HUGE
    ]
    return [points[place] for place in kept([value for _, value in points])]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.4g}"
