"""A part: some of the judged rows, scored. The metrics of classes, of numbers and of texts share this code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from headrace.spec.report import Fact
from headrace.watch.intervals import Interval, Middle, Ratio, of_distance, percentile
from headrace.watch.resamples import CHUNK, Resamples

NOISE = "noise of "
"""A prefix before the name of a metric that is a sum of distances, such as ECE. The replicates under such a name are
the values that chance alone would give."""


BINS = 10
"""The number of bins that compare predicted probabilities with observed shares."""


class Metric(NamedTuple):
    """A metric: its name, its direction, and its least and greatest value.

    `better` is the direction that is an improvement: `higher`, `lower`, or empty if neither is. `is_relative` is
    whether the metric is measured relative to something, such as the target, so that 0.05 may be called 5%.
    """

    name: str
    better: str
    lowest: float = -math.inf
    highest: float = math.inf
    is_relative: bool = False

    @property
    def is_share(self) -> bool:
        """Whether a gate may compare this metric with a percentage."""
        return self.is_relative or self.highest <= 2  # the Brier score of many classes goes up to 2

    def difference(self, name: str, better: str) -> Metric:
        """Return a metric called `name`: the difference between two values of this metric."""
        width = self.highest - self.lowest
        return Metric(name, better, -width, width, self.is_relative)


class Part(Protocol):
    """Some rows with their predictions, scored.

    `rows` are the numbers of these rows among all rows, or None if the part has all rows. `point` has the value of each
    metric that is defined. `why` returns the reason why a metric is undefined. `sizes` has, for each
    metric that is a share, the number of rows of which it is a share: for recall, the number of positive rows.
    """

    rows: Any
    size: int
    point: Mapping[str, float]

    @property
    def sizes(self) -> Mapping[str, float]: ...

    def sums(self, name: str) -> Ratio | Middle | None:
        """Return a metric as a ratio of sums over rows, or as a median. Return None if the metric has no such form."""
        ...

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:
        """Return each metric for each resample, NaN where it is undefined.

        If `only` is empty, all metrics are returned. Otherwise, slow metrics that aren't in `only` may be left out.
        """
        ...

    def why(self, name: str) -> str:
        """Return the reason why a metric is undefined."""
        ...


class Found(NamedTuple):
    """A metric's value with its replicates, one per resample.

    `value` is None where the metric is undefined, and `why` is the reason. The interval comes from `sums`, or from
    `replicates` if `sums` is None. It is cut at the metric's least and greatest possible value. For a metric that is a
    sum of distances, such as ECE, `noise` has replicates of the value that chance alone would give. For any other
    metric, `noise` is None. `groups` has the number of each row's group, or is None.
    """

    metric: Metric
    value: float | None
    replicates: Any
    why: str = ""
    sums: Ratio | Middle | None = None
    noise: Any = None
    groups: Any = None

    def fact(self, level: float) -> Fact:
        """Return the value as a fact, with its interval."""
        name, better = self.metric.name, self.metric.better
        if self.value is None:
            return Fact(name=name, value=None, why=self.why, better=better)
        low, high, why = self.interval(level)
        return Fact(name=name, value=self.value, low=low, high=high, better=better, why=why)

    def interval(self, level: float) -> Interval:
        """Return the interval of a value that is defined."""
        return self._interval(level).within(self.metric.lowest, self.metric.highest)

    def _interval(self, level: float) -> Interval:
        assert self.value is not None
        if self.sums is not None:
            return self.sums.interval(level, self.groups)
        if self.noise is not None:
            return of_distance(self.value, self.replicates, self.noise, level)
        return percentile(self.replicates, level)

    def less(self, other: Found, what: str) -> Found:
        """Return this value minus the value of another model, on the same resamples. `what` names the other model."""
        metric = self.metric.difference(f"{self.metric.name} less {what}", self.metric.better)
        if self.value is None or other.value is None:
            return Found(metric, None, None, self.why or f"for the {what} model, {other.why}")
        value, drawn = self.value - other.value, None
        if self.replicates is not None and other.replicates is not None:
            drawn = self.replicates - other.replicates
        if self.noise is not None and drawn is not None:  # resampling raises one model's distance more than the other's
            drawn = drawn + (value - np.mean(drawn))
        sums = None if self.sums is None or other.sums is None else self.sums.less(other.sums)
        return Found(metric, value, drawn, sums=sums, groups=self.groups)


@runtime_checkable
class Placeable(Protocol):
    """A part that can take a resample as counts of units, such as days, instead of counts of rows. It sums the rows
    that share a unit."""

    def placed(self, units: Any, *, shared: bool) -> Part:
        """Return this part for resamples of units: row n counts as often in a resample as the unit `units[n]`."""
        ...


def resample(
    parts: Mapping[str, Part], resamples: Resamples, only: Mapping[str, Collection[str]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the replicates of each part's metrics, all from the same resamples.

    If only some metrics of a part are needed, `only` has their names under the name of the part.
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
    """Return a function that computes a part's replicates from counts of rows.

    The function takes counts of groups instead if rows were drawn by groups.
    """
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
    """Return replicates from the counts of units: each row gets the count of its unit. `width` resamples are computed
    at a time."""
    pieces = [part.replicates(counts[at : at + width, units], only) for at in range(0, len(counts), width)]
    return {metric: np.concatenate([each[metric] for each in pieces]) for metric in pieces[0]}


def found(part: Part, replicates: Mapping[str, Any], metric: Metric, groups: Any) -> Found:
    """Return the value of a metric of a part.

    `groups` has the number of each row's group, for all rows. It is None if rows are drawn one by one.
    """
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
    """Return the quotients, NaN where the divisor is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def bins_of(score: Any) -> list[slice]:
    """Return slices that cut the ordered rows into bins of about equal count. Rows of the same score stay together."""
    ordered = np.sort(score)
    cuts = {0, len(ordered)}
    for each in np.array_split(np.arange(len(ordered)), BINS)[1:]:
        if len(each):
            cuts.add(int(np.searchsorted(ordered, ordered[each[0]])))
    return [slice(start, end) for start, end in itertools.pairwise(sorted(cuts))]
