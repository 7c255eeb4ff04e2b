"""Runs sorted by a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from headrace.inspect.metrics.metrics import Reading, chosen, loader, readings
from headrace.inspect.views import RunView, Views
from headrace.project.project import Project
from headrace.project.state import reading_store

SEARCHED = 500
"""How many of the newest runs are searched for the metric."""


class Ranked(Struct, frozen=True, kw_only=True):
    """A run with its value of the metric, or None if the run lacks the metric. If several tasks have the metric, the
    best value counts, or the last value if it is unknown which direction is better."""

    run: RunView
    reading: Reading | None


class Ranking(Struct, frozen=True, kw_only=True):
    """Runs sorted by a metric. Runs that lack the metric are at the end. `more` is True if older runs were not
    searched."""

    metric: str
    runs: tuple[Ranked, ...]
    more: bool


def ranking(project: Project, views: Views, word: str, pipeline: str | None) -> Ranking:
    """Return the newest runs, sorted by the metric `word` (`NAME` or `TASK.NAME`), the least value first. If `word`
    begins with `-`, the greatest value is first.

    Raises:
        NotFoundError: none of the runs has such a metric.
    """
    name, descending = word.removeprefix("-"), word.startswith("-")
    newest = views.runs(limit=SEARCHED, pipeline=pipeline)
    load = loader(reading_store(project))
    read = [(run, readings(views, run.run, load)) for run in newest.runs]
    chosen([each for _, its in read for each in its], (name,))
    ranked = [Ranked(run=run, reading=_one([each for each in its if each.is_called(name)])) for run, its in read]
    known = [each for each in ranked if _value(each) is not None]
    known.sort(key=lambda each: _value(each) or 0.0, reverse=descending)
    rest = [each for each in ranked if _value(each) is None]
    return Ranking(metric=name, runs=(*known, *rest), more=newest.more is not None)


def _value(ranked: Ranked) -> float | None:
    value = None if ranked.reading is None else ranked.reading.value
    return None if value is None or math.isnan(value) else value


def _one(found: Sequence[Reading]) -> Reading | None:
    known = [each for each in found if each.value is not None and not math.isnan(each.value)]
    if not known:
        return found[-1] if found else None
    match known[-1].better:
        case "higher":
            return max(known, key=lambda each: each.value or 0.0)
        case "lower":
            return min(known, key=lambda each: each.value or 0.0)
        case _:
            return known[-1]
