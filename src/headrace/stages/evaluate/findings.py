"""Findings: the numbers of a model on all rows and on slices, compared with the numbers of other models.

All numbers come from one set of resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.report.numbers import bracketed, number
from headrace.spec.report import Drawing, Fact, Grid
from headrace.stages.evaluate import figures
from headrace.stages.evaluate.metrics.catalogue import Catalogue
from headrace.stages.evaluate.metrics.part import Metric, Part, found, resample
from headrace.stages.evaluate.slices import Slice
from headrace.watch.intervals import Ratio, percentile, share_error, standing_out, widest
from headrace.watch.resamples import Resamples

MODEL, BASELINE, PREVIOUS = "model", "baseline", "previous"
GAP = "worst-slice gap"
TINY = 1e-9
"""A number smaller than this share of the numbers beside it is shown as 0: it is a rounding error."""
SHOWN, FEW = 60, 20
"""The most slices of a column that are shown. If a column has more than `FEW` slices, only the slices that could be
compared with all rows are shown.
"""
SCHEMA = pa.schema(
    [
        ("by", pa.string()),
        ("slice", pa.string()),
        ("rows", pa.int64()),
        ("metric", pa.string()),
        *[(f"{name}{end}", pa.float64()) for name in ("value", "gap") for end in ("", "_low", "_high")],
        ("stands_out", pa.bool_()),
        ("note", pa.string()),
    ]
)


class Findings:
    """The measured numbers of an evaluation.

    `wholes` has a `Part` for each model: all rows with that model's predictions. The judged model comes first, under
    the name `model`, and then the models with which it is compared. `parts` has a `Part` for each of `slices`, in the
    same order. A slice is judged if it has at least `least` rows. `more` has further parts by name; `replicates` has
    the bootstrap replicates of the parts in `more`.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        main: str,
        wholes: Mapping[str, Part],
        slices: Sequence[Slice],
        parts: Sequence[Part],
        resamples: Resamples,
        *,
        level: float,
        least: int,
        more: Mapping[str, Part],
    ) -> None:
        self.metrics, self.main, self.level, self.least = metrics, main, level, least
        self.better = next(each.better for each in metrics if each.name == main)
        self.wholes, self.slices, self.parts = wholes, slices, parts
        large = {f"slice {place}": part for place, part in enumerate(parts) if part.size >= least}
        self.groups, self._resamples = resamples.groups, resamples
        asked = {f"whole {name}": [*_without_sums(part, metrics)] for name, part in wholes.items()}
        if large:
            asked[f"whole {MODEL}"].append(main)
        every = {f"whole {name}": part for name, part in wholes.items() if asked[f"whole {name}"]}
        drawn = resample({**every, **large, **more}, resamples, {**asked, **dict.fromkeys(large, (main,))})
        self.own = {name: drawn.get(f"whole {name}", {}) for name in wholes}
        self._sliced = [drawn.get(f"slice {place}", {}) for place in range(len(parts))]
        self.replicates = {name: drawn[name] for name in more}
        self.catalogue = Catalogue()
        for metric in metrics:
            self.know(metric)
        if slices:
            for metric in metrics:
                if metric.better:
                    self.catalogue.add(
                        f"{GAP} of {metric.name}", partial(self._gap, metric), partial(self._worst, metric)
                    )
            own = next(each for each in metrics if each.name == main)
            self.catalogue.add(GAP, partial(self._gap, own), partial(self._worst, own))

    def know(self, metric: Metric, name: str = "") -> None:
        """Add a metric, and its differences from the other models, to the numbers that gates may ask for.

        `name` replaces the name that the metric has in the parts.
        """
        shown = metric._replace(name=name or metric.name)
        mine, *others = (
            found(part, self.own[whole], metric, self.groups)._replace(metric=shown)
            for whole, part in self.wholes.items()
        )
        self.catalogue.add(shown.name, mine.fact)
        for whole, other in zip([each for each in self.wholes if each != MODEL], others, strict=True):
            less = mine.less(other, whole)
            self.catalogue.add(less.metric.name, less.fact)
        for absent in (BASELINE, PREVIOUS):
            if absent not in self.wholes:
                self.catalogue.add(f"{shown.name} less {absent}", partial(_absent, shown.name, absent))

    def facts(self) -> Iterator[Fact]:
        """Yield the model's numbers, the differences from other models in the main metric, and the widest gap of a
        slice."""
        for metric in self.metrics:
            yield self.catalogue.fact(metric.name, self.level)
        for other in self.wholes:
            less = None if other == MODEL else self.catalogue.fact(f"{self.main} less {other}", self.level)
            if less is not None and less.value is not None:  # a constant has no ranking: the grid beside says so
                yield less
        if self.slices:
            yield self.catalogue.fact(GAP, self.level)

    def beside(self) -> Grid:
        """Return a grid with the model's metrics beside those of the other models."""
        others = [name for name in self.wholes if name != MODEL]
        rows = []
        for metric in self.metrics:
            values = [self.wholes[name].point.get(metric.name) for name in (MODEL, *others)]
            least = TINY * max(abs(each or 0.0) for each in values)
            cells = [number(0.0 if each is not None and abs(each) < least else each) for each in values]
            rows.append((metric.name, *cells, *[self._less(metric, other) for other in others]))
        return Grid(
            title="Beside the baseline" if others == ["baseline"] else f"Beside {' and '.join(others)}",
            columns=("", MODEL, *others, *[f"less {other} [interval]" for other in others]),
            rows=tuple(rows),
            note="Differences are paired: both numbers are of the same rows.",
        )

    def _less(self, metric: Metric, other: str) -> str:
        fact = self.catalogue.fact(f"{metric.name} less {other}", self.level)
        if fact.value is None or fact.low is None or fact.high is None:
            return "undefined"
        return bracketed(fact.value, fact.low, fact.high)

    def _large(self, metric: str) -> list[int]:
        """Return the places in `slices` of those slices that are large enough for a metric."""
        return [
            place
            for place, part in enumerate(self.parts)
            if part.size >= self.least
            and metric in part.point
            and part.sizes.get(metric, part.size) >= LEAST_OF_A_CLASS
        ]

    def _has_sizes(self, metric: str) -> bool:
        return any(part.sizes.get(metric, part.size) != part.size for part in self.parts)

    def sliced(self, metric: str, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Return a mapping for each slice in `places`, and then one for all rows, all from the same resamples.

        Each mapping has the replicates of `metric` under its name; it may have those of other metrics too. The
        replicates of a metric are computed when they are first needed, and are then kept.
        """
        every = {each: (self.parts[each], self._sliced[each]) for each in places}
        every[WHOLE] = self.wholes[MODEL], self.own[MODEL]
        missing = {str(place): part for place, (part, drawn) in every.items() if metric not in drawn}
        if missing:
            drawn = resample(missing, self._resamples, dict.fromkeys(missing, (metric,)))
            for place in map(int, missing):
                every[place][1].update(drawn[str(place)])
        return [drawn for _, drawn in every.values()]

    def _gaps(self, metric: Metric, places: Sequence[int]) -> tuple[Any, Any, Any]:
        """Return how much worse a metric is on each slice than on all rows: the values, their replicates, and a minimum
        for the standard error of each value, since the replicates of a small slice may vary too little."""
        sign = -1.0 if metric.better == "lower" else 1.0
        whole = self.wholes[MODEL].point[metric.name]
        point = np.array([self.parts[place].point[metric.name] for place in places])
        *sliced, own = (each[metric.name] for each in self.sliced(metric.name, places))
        drawn = np.stack(sliced, axis=1)
        sizes = [self.parts[place].sizes.get(metric.name) for place in places]
        errors = np.array([share_error(share, of) if of else 0.0 for share, of in zip(point, sizes, strict=True)])
        return sign * (whole - point), sign * (own[:, None] - drawn), errors

    def _gap(self, metric: Metric, level: float) -> Fact:
        name = GAP if metric.name == self.main else f"{GAP} of {metric.name}"
        places = self._large(metric.name)
        if metric.name not in self.wholes[MODEL].point:
            return Fact(name=name, value=None, better="lower", why=self.wholes[MODEL].why(metric.name))
        if not places:
            needed = f", with {LEAST_OF_A_CLASS} of each kind that {metric.name} needs (such as positive rows)"
            of = needed if self._has_sizes(metric.name) else ""
            return Fact(name=name, value=None, better="lower", why=f"no slice has {self.least} rows{of}")
        values, drawn, errors = self._gaps(metric, places)
        highest, why = self._gap_ends(metric, places, values, level)
        if why:
            return Fact(name=name, value=float(np.max(values)), better="lower", why=why)
        worst = widest(values, drawn, errors, highest, level)
        gap = metric.difference(name, "lower")
        low, high, _ = worst.interval.within(gap.lowest, gap.highest)
        return Fact(name=name, value=worst.value, low=low, high=high, better="lower")

    def _gap_ends(self, metric: Metric, places: Sequence[int], values: Any, level: float) -> tuple[Any, str]:
        """Return the upper end of the interval of each slice's gap. If an interval has no upper end, return the
        reason."""
        *sliced, whole = self.sliced(metric.name, places)
        found_high = []
        for place, value, each in zip(places, values, sliced, strict=True):
            part = self.parts[place]
            low, high, why = found(part, each, metric, self.groups).interval(level)
            if low is None or high is None:
                return None, f"for {self.slices[place].by} = {self.slices[place].name}, {why}"
            worse = high - part.point[metric.name] if metric.better == "lower" else part.point[metric.name] - low
            found_high.append(value + self._margin(part, worse, whole[metric.name], level))
        return np.array(found_high), ""

    def _margin(self, part: Part, own: float, whole: Any, level: float) -> float:
        """Return the margin of error of a slice's gap. `own` is the distance from the slice's own value to the worse
        end of its interval. `whole` has the replicates of the metric on all rows.

        A gap says how much worse a slice is than all rows. All rows consist of the slice's rows and the other rows, and
        these two sets are independent. So the gap's margin of error is the root of the sum of the squares of the two
        sets' margins (Zou & Donner 2008).
        """
        rest = 1 - part.size / self.wholes[MODEL].size
        return math.hypot(rest * own, math.sqrt(rest) * _reach(level) * float(np.nanstd(whole)))

    def _worst(self, metric: Metric) -> str:
        places = self._large(metric.name)
        if not places or metric.name not in self.wholes[MODEL].point:
            return ""
        values, _, _ = self._gaps(metric, places)
        order = int(np.argmax(values))
        place, drawn = places[order], self.sliced(metric.name, places)[order]
        own, why = self.slices[place], found(self.parts[place], drawn, metric, self.groups).interval(self.level).why
        return (
            f"The worst of {len(places)} slices is {own.by} = {own.name}: its {metric.name} is"
            f" {number(self.parts[place].point[metric.name], 3)} on {self.parts[place].size:,} rows, against"
            f" {number(self.wholes[MODEL].point[metric.name], 3)} on all{f' (not compared: {why})' if why else ''}."
        )

    def table(self) -> pa.Table:
        """Return a table with a row for each slice.

        Each row has the main metric on the slice, how much worse the metric is there than on all rows, and whether the
        slice stands out, for the worse or the better. A slice whose metric has no interval isn't compared.

        Replicates of a small slice vary too little, since they only know the rows that were seen. So if the slice's own
        interval implies a larger error of the gap than the replicates do, the larger error decides whether the slice
        stands out.
        """
        metric = next(each for each in self.metrics if each.name == self.main)
        rows: list[dict[str, Any]] = [
            {"by": each.by, "slice": each.name, "rows": part.size, "metric": self.main, "note": self._note(part)}
            for each, part in zip(self.slices, self.parts, strict=True)
        ]
        places = self._large(self.main)
        if places and self.main in self.wholes[MODEL].point:
            values, drawn, _ = self._gaps(metric, places)
            spread = np.nanstd(drawn, axis=0)
            *sliced, whole = self.sliced(self.main, places)
            compared = []
            for order, (place, each) in enumerate(zip(places, sliced, strict=True)):
                low, high, why = found(self.parts[place], each, metric, self.groups).interval(self.level)
                point = self.parts[place].point[self.main]
                rows[place] |= {"value": point, "gap": float(values[order])}
                if low is None or high is None:
                    rows[place]["note"] = f"not compared: {why}"
                    continue
                compared.append(order)
                is_below = (values[order] > 0) == (metric.better == "higher")
                own = high - point if is_below else point - low
                margin = self._margin(self.parts[place], own, whole[self.main], self.level)
                spread[order] = max(spread[order], margin / _reach(self.level))
                gap_low, gap_high, _ = percentile(drawn[:, order], self.level)
                rows[place] |= {"value_low": low, "value_high": high, "gap_low": gap_low, "gap_high": gap_high}
            out = standing_out(values[compared], spread[compared], self.level)
            for order, each_out in zip(compared, out, strict=True):
                rows[places[order]]["stands_out"] = each_out
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _note(self, part: Part) -> str:
        if part.size < self.least:
            return f"too small (fewer than {self.least} rows)"
        if self.main not in part.point:
            return f"undefined: {part.why(self.main)}"
        few = part.sizes.get(self.main, part.size) < LEAST_OF_A_CLASS
        return f"too small (fewer than {LEAST_OF_A_CLASS} rows of a class)" if few else ""

    def grids(self, table: pa.Table) -> Iterator[Grid]:
        """Yield a grid of the slices for each column."""
        rows = table.to_pylist()
        count = sum(each["stands_out"] is not None for each in rows)
        chance = count * (1 - self.level)
        for by in dict.fromkeys(each["by"] for each in rows):
            own = [each for each in rows if each["by"] == by]
            own.sort(key=lambda each: (each["gap"] is None, -(each["gap"] or 0.0)))
            shown = own if len(own) <= FEW else [each for each in own if each["gap"] is not None][:SHOWN]
            left = len(own) - len(shown)
            notes = [
                f"{count} slices were compared; about {chance:.1f} of them would lie outside their interval by"
                " chance. A slice that `stands out`, for the worse or the better, does so even after correcting for"
                " this (Holm)."
                if count
                else "No slice could be compared.",
                f"Of {len(own)} slices, {left} are not shown: {_left(own, left)}." if left else "",
            ]
            yield Grid(
                title=f"Slices by {by}",
                columns=("slice", "rows", self.main, "worse by", ""),
                rows=tuple(
                    (each["slice"], each["rows"], _with_ends(each, "value"), _with_ends(each, "gap"), _remark(each))
                    for each in shown
                ),
                note=" ".join(each for each in notes if each),
            )

    def forest(self, table: pa.Table) -> Iterator[Drawing]:
        """Yield a drawing of the slices of single columns, if there are any."""
        rows = [each for each in table.to_pylist() if each["value"] is not None and " x " not in each["by"]][:SHOWN]
        if rows:
            yield figures.forest(
                [f"{each['by']} = {each['slice']}" for each in rows],
                np.array([each["value"] for each in rows]),
                np.array([_or(each["value_low"], each["value"]) for each in rows]),
                np.array([_or(each["value_high"], each["value"]) for each in rows]),
                self.wholes[MODEL].point[self.main],
                self.main,
            )


WHOLE = -1
"""A number that stands for all rows and is used in place of a slice's number."""
LEAST_OF_A_CLASS = 10
"""A metric that is a share, such as recall, is shown for a slice if its denominator has at least this many rows."""


def _without_sums(part: Part, metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield those metrics of a part that aren't computed from sums over rows. Their intervals need bootstrap
    replicates."""
    for metric in metrics:
        if metric.name in part.point and not isinstance(part.sums(metric.name), Ratio):
            yield metric.name


def _reach(level: float) -> float:
    """Return how many standard errors an interval reaches to each side."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _absent(metric: str, other: str, _level: float) -> Fact:
    """Return the fact `<metric> less <other>` without a value, for the case that there is no model `other`.

    For example, there is no `previous` model before a first version is registered.
    """
    return Fact(name=f"{metric} less {other}", value=None, why=f"there is no {other} model to compare with")


def _left(rows: Sequence[Mapping[str, Any]], left: int) -> str:
    """Return words that say why `left` slices of a column are not shown."""
    unknown = sum(each["gap"] is None for each in rows)
    why = f"{unknown} too small or undefined" if unknown else ""
    rest = f"{left - unknown} that do better" if left > unknown else ""
    return " and ".join(each for each in (why, rest) if each)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _with_ends(row: Mapping[str, Any], name: str) -> str | None:
    if row[name] is None:
        return None
    return bracketed(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _remark(row: Mapping[str, Any]) -> str:
    return row["note"] or ("stands out" if row["stands_out"] else "")
