"""A part of the rows, scored: what classification and regression share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from headrace.spec.report import Fact
from headrace.stages.evaluate.intervals import Interval, Middle, Ratio, of_distance, percentile
from headrace.stages.evaluate.resampling import CHUNK, Resamples

NOISE = "noise of "
"""Under this and its name stand the replicates of what chance alone makes of a distance."""


BINS = 10
"""So many bins compare what was predicted with what came."""


class Metric(NamedTuple):
    """A metric's name, the direction that is an improvement (`higher`, `lower`, or neither), and the least and the
    greatest that it can be."""

    name: str
    better: str
    lowest: float = -math.inf
    highest: float = math.inf

    def difference(self, name: str, better: str) -> Metric:
        """Return the difference of two of its numbers as a metric."""
        width = self.highest - self.lowest
        return Metric(name, better, -width, width)


class Part(Protocol):
    """Some rows with their predictions.

    `rows` are their places among all, None for all of them. `point` holds the metrics, without those that are
    undefined; `why` says of a name why it is. `sizes` holds what stands below the line of each share, by its name.
    """

    rows: Any
    size: int
    point: Mapping[str, float]

    @property
    def sizes(self) -> Mapping[str, float]: ...

    def sums(self, name: str) -> Ratio | Middle | None:
        """Return a metric that is defined by what each row adds to it; None where that isn't known."""
        ...

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:
        """Return each metric for each resample, NaN where it is undefined. Of what isn't among these `only`, a part may
        leave out what costs; without them it has all."""
        ...

    def why(self, name: str) -> str:
        """Say why a metric is undefined."""
        ...


class Found(NamedTuple):
    """A metric's number with its replicates, one a resample; `value` is None where it is undefined, and `why` says why.

    Its interval is that of its `sums`, or else of the replicates; it ends where the metric does. `noise` are replicates
    of what chance alone makes of a distance. `groups` numbers the group of each row, if there are any.
    """

    metric: Metric
    value: float | None
    replicates: Any
    why: str = ""
    sums: Ratio | Middle | None = None
    noise: Any = None
    groups: Any = None

    def fact(self, level: float) -> Fact:
        """Return it as a fact, with its interval."""
        name, better = self.metric.name, self.metric.better
        if self.value is None:
            return Fact(name=name, value=None, why=self.why, better=better)
        low, high, why = self.interval(level)
        return Fact(name=name, value=self.value, low=low, high=high, better=better, why=why)

    def interval(self, level: float) -> Interval:
        """Return the interval of what is defined."""
        return self._interval(level).within(self.metric.lowest, self.metric.highest)

    def _interval(self, level: float) -> Interval:
        assert self.value is not None
        if self.sums is not None:
            return self.sums.interval(level, self.groups)
        if self.noise is not None:
            return of_distance(self.value, self.replicates, self.noise, level)
        return percentile(self.replicates, level)

    def less(self, other: Found, what: str) -> Found:
        """Return the difference to another's number, on the same resamples."""
        metric = self.metric.difference(f"{self.metric.name} less {what}", self.metric.better)
        if self.value is None or other.value is None:
            return Found(metric, None, None, self.why or f"of {what} {other.why}")
        value, drawn = self.value - other.value, None
        if self.replicates is not None and other.replicates is not None:
            drawn = self.replicates - other.replicates
        if self.noise is not None and drawn is not None:  # resampling adds to distances, of one more than of the other
            drawn = drawn + (value - np.mean(drawn))
        sums = None if self.sums is None or other.sums is None else self.sums.less(other.sums)
        return Found(metric, value, drawn, sums=sums, groups=self.groups)


@runtime_checkable
class Placeable(Protocol):
    """A part that finds its rows' counts by itself, and sums rows that share one."""

    def placed(self, units: Any, *, shared: bool) -> Part:
        """Return the part, of which row n counts as often as place `units[n]` of a resample says."""
        ...


def resample(
    parts: Mapping[str, Part], resamples: Resamples, only: Mapping[str, Collection[str]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the replicates of each part's metrics, all from the same resamples.

    `only` names the parts of which some metrics are asked for, and these.
    """
    asked = only or {}
    replicates = {name: _over(part, resamples) for name, part in parts.items() if part.size}
    found: dict[str, dict[str, list[Any]]] = {name: {} for name in parts}
    for counts in resamples:
        for name, each in replicates.items():
            for metric, values in each(counts, asked.get(name, ())).items():
                found[name].setdefault(metric, []).append(values)
    return {name: {metric: np.concatenate(values) for metric, values in each.items()} for name, each in found.items()}


def _over(part: Part, resamples: Resamples) -> Callable[[Any, Collection[str]], Mapping[str, Any]]:
    """Return what makes replicates of the counts of rows, or of the groups that these were drawn by."""
    groups = resamples.groups
    if groups is None and part.rows is None:
        return part.replicates
    units = part.rows if groups is None else groups if part.rows is None else groups[part.rows]
    if not isinstance(part, Placeable):
        return partial(_row_by_row, part, units, max(1, CHUNK // resamples.rows))
    if groups is None:
        return part.placed(units, shared=False).replicates
    there, own = np.unique(units, return_inverse=True)
    placed = part.placed(own, shared=True)
    return lambda counts, only: placed.replicates(counts[:, there], only)


def _row_by_row(part: Part, units: Any, width: int, counts: Any, only: Collection[str]) -> Mapping[str, Any]:
    """Return replicates of the counts of rows, each its unit's, `width` resamples at a time."""
    pieces = [part.replicates(counts[at : at + width, units], only) for at in range(0, len(counts), width)]
    return {metric: np.concatenate([each[metric] for each in pieces]) for metric in pieces[0]}


def found(part: Part, replicates: Mapping[str, Any], metric: Metric, groups: Any) -> Found:
    """Return a metric of a part. `groups` numbers the group of each of all rows, None if rows are drawn one by one."""
    name = metric.name
    if name not in part.point:
        return Found(metric, None, None, part.why(name))
    return Found(
        metric,
        part.point[name],
        replicates.get(name),
        sums=part.sums(name),
        noise=replicates.get(f"{NOISE}{name}"),
        groups=groups if groups is None or part.rows is None else groups[part.rows],
    )


def divided(above: Any, below: Any) -> Any:
    """Divide, NaN where there is nothing to divide by."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def bins_of(score: Any) -> list[slice]:
    """Cut the ordered rows into bins of about equal count; rows of one score stay together."""
    ordered = np.sort(score)
    cuts = {0, len(ordered)}
    for each in np.array_split(np.arange(len(ordered)), BINS)[1:]:
        if len(each):
            cuts.add(int(np.searchsorted(ordered, ordered[each[0]])))
    return [slice(start, end) for start, end in itertools.pairwise(sorted(cuts))]
