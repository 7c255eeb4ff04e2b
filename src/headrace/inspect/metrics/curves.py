"""The numbers that the tasks of a run have logged with `hr.log`: their summaries and curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from headrace.inspect.metrics.directions import direction
from headrace.inspect.views import MetricView, SeriesView, TaskView, Views


class Line(Struct, frozen=True, kw_only=True):
    """The points of a curve, by step."""

    steps: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def is_curve(self) -> bool:
        """Whether a line can be drawn, which needs at least two finite numbers."""
        return sum(map(math.isfinite, self.values)) > 1


class MetricBrief(Struct, frozen=True, kw_only=True):
    """The summary of a number that a task has logged.

    `better` is the direction of improvement that its name implies: `lower`, `higher` or empty. `best` is the least or
    the greatest value accordingly, or None if the direction is unknown.
    """

    last: float | None
    best: float | None
    least: float | None
    greatest: float | None
    count: int
    step: int
    better: str


class TrackedTask(TaskView, frozen=True, kw_only=True):
    """A task with the summaries of what it has logged, by name."""

    metrics: dict[str, MetricBrief]


def brief(metric: MetricView) -> MetricBrief:
    """Return the summary of a metric, with the best of its values."""
    better = direction(metric.name)
    return MetricBrief(
        last=metric.last,
        best={"lower": metric.least, "higher": metric.greatest}.get(better),
        least=metric.least,
        greatest=metric.greatest,
        count=metric.count,
        step=metric.last_step,
        better=better,
    )


def with_metrics(tasks: Iterable[TaskView], metrics: Iterable[MetricView]) -> tuple[TaskView, ...]:
    """Return tasks with the summaries of what they have logged.
    Tasks that have logged nothing are returned unchanged."""
    by_task: dict[str, dict[str, MetricBrief]] = {}
    for metric in metrics:
        by_task.setdefault(metric.task, {})[metric.name] = brief(metric)
    if not by_task:
        return tuple(tasks)
    return tuple(_tracked(task, by_task[task.name]) if task.name in by_task else task for task in tasks)


def _tracked(task: TaskView, metrics: dict[str, MetricBrief]) -> TrackedTask:
    fields = {name: getattr(task, name) for name in task.__struct_fields__}
    return TrackedTask(**fields, metrics=metrics)


def lines(views: Views, run: str, task: str | None = None, name: str | None = None) -> Mapping[tuple[str, str], Line]:
    """Return the curves of a run by task and name, each reduced to at most `MAX_POINTS` points."""
    return {(each.task, each.name): line(each) for each in views.series(run, task, name)}


def line(series: SeriesView) -> Line:
    """Return a curve reduced to at most `MAX_POINTS` points."""
    places = kept(series.values)
    return Line(
        steps=tuple(series.steps[place] for place in places), values=tuple(series.values[place] for place in places)
    )


MAX_POINTS = 800
Number = TypeVar("Number", int, float)


def kept(values: Sequence[float], limit: int = MAX_POINTS) -> Sequence[int]:
    """Return the indexes of at most `limit` values to draw.

    The values are divided into groups of neighbours. The indexes are those of the first and the last value, and of the
    least and the greatest value of each group, so that no spike is lost. NaN is left out of a group that has numbers.

    >>> kept([1.0, 2.0, 9.0, 2.0, 1.0, 0.0, 1.0, 1.0], 6)
    [0, 2, 4, 5, 7]
    """
    if len(values) <= limit:
        return range(len(values))
    groups = max(1, limit // 2 - 1)
    places = {0, len(values) - 1}
    for group in range(groups):
        span = range(group * len(values) // groups, (group + 1) * len(values) // groups)
        numbers = [place for place in span if not math.isnan(values[place])] or span[:1]
        places.add(min(numbers, key=values.__getitem__))
        places.add(max(numbers, key=values.__getitem__))
    return sorted(places)
