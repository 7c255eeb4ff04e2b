"""The graph of a run as SVG: a box for each task, coloured and labelled by its state."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from headrace.inspect.page.facts import TaskFacts
from headrace.inspect.page.layout import Point, draw
from headrace.report.markup import Markup, tag
from headrace.report.measures import seconds_text

BOX_WIDTH, BOX_HEIGHT = 196, 54
COLUMN, LAYER = BOX_WIDTH + 32, BOX_HEIGHT + 46
MARGIN = 12
MAX_NODES = 500
MARKS = {
    "succeeded": "✓",
    "reused": "↺",
    "failed": "✗",
    "skipped": "⤼",
    "cancelled": "■",
    "running": "▸",
    "waiting": "…",
}


def graph(tasks: Sequence[TaskFacts], anchors: Mapping[str, str]) -> Markup:
    """Return a drawing of the tasks. The elements of a map are drawn as a stack under the map. Each box links to the
    place on the page that `anchors` has for its task."""
    nodes = [task for task in tasks if task.parent is None][:MAX_NODES]
    names = {task.name for task in nodes}
    edges = [(need, task.name) for task in nodes for need in task.needs if need in names]
    drawing = draw([task.name for task in nodes], edges)
    width = drawing.width * COLUMN + 2 * MARGIN
    height = max(1, drawing.layers) * LAYER - (LAYER - BOX_HEIGHT) + 2 * MARGIN
    elements: dict[str, list[TaskFacts]] = {}
    for task in tasks:
        if task.parent is not None:
            elements.setdefault(task.parent, []).append(task)
    return tag(
        "svg",
        (
            tag("path", class_="edge", d=_curve(way), data_from=anchors.get(source), data_to=anchors.get(target))
            for (source, target), way in drawing.ways.items()
        ),
        (_box(task, drawing.places[task.name], elements.get(task.name, ()), anchors) for task in nodes),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=round(width),
        height=round(height),
        role="group",
        aria_label=f"The graph of {len(nodes)} tasks",
    )


def _across(place: Point) -> float:
    return place[0] * COLUMN + MARGIN


def _down(place: Point) -> float:
    return place[1] * LAYER + MARGIN


def _curve(way: Sequence[Point]) -> str:
    """Return the path of an edge from the bottom of one box to the top of another,
    straight through the layers between."""
    parts: list[str] = []
    for start, end in itertools.pairwise(way):
        x1, y1, x2, y2 = _across(start), _down(start) + BOX_HEIGHT, _across(end), _down(end)
        middle = (y1 + y2) / 2
        parts.append(f"L{x1:.1f} {y1:.1f}" if parts else f"M{x1:.1f} {y1:.1f}")
        parts.append(f"C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}")
    return "".join(parts)


def _box(task: TaskFacts, place: Point, elements: Sequence[TaskFacts], anchors: Mapping[str, str]) -> Markup:
    x, y = _across(place) - BOX_WIDTH / 2, _down(place)
    anchor = anchors.get(task.name)
    title = "\n".join(part for part in (f"{task.name}: {task.state}", task.reason, task.line) if part)
    stack = (tag("rect", class_="stack", x=x + by, y=y + by, width=BOX_WIDTH, height=BOX_HEIGHT, rx=8) for by in (8, 4))
    return tag(
        "a",
        tag("title", title),
        stack if elements else None,
        tag("rect", class_="box", x=x, y=y, width=BOX_WIDTH, height=BOX_HEIGHT, rx=8),
        tag("rect", class_="stripe", x=x, y=y + 8, width=4, height=BOX_HEIGHT - 16, rx=2),
        tag("text", _shorten(task.name, 23), class_="name", x=x + 16, y=y + 23),
        tag("text", f"{MARKS.get(task.state, '')} {_second_line(task, elements)}", class_="what", x=x + 16, y=y + 41),
        href=f"#{anchor}" if anchor else None,
        class_=f"node {task.state}",
        data_id=anchor,
        aria_label=f"{task.name}, {task.kind}: {task.state}. {task.reason}",
    )


def _second_line(task: TaskFacts, elements: Sequence[TaskFacts]) -> str:
    if not elements:
        took = f" · {seconds_text(task.seconds)}" if task.state in ("succeeded", "failed") else ""
        return f"{task.state}{took}"
    states = Counter(each.state for each in elements)
    counts = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    return _shorten(counts, 27)


def _shorten(text: str, limit: int) -> str:
    """Return a text with its middle left out if it is too long, since names differ at their ends."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 3
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"
