"""Bias: how the rates of a model's decisions differ between groups of people.

The rates, their differences and their ratios are computed by fairlearn (`MetricFrame`). The intervals are our own,
since fairlearn's bootstrap builds a pandas frame for each resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.report.numbers import bracketed
from headrace.spec.report import Cell, Fact, Grid
from headrace.stages.evaluate.metrics.binary import METRICS, BinaryPart
from headrace.stages.evaluate.metrics.part import Metric, found
from headrace.stages.evaluate.slices import Slice
from headrace.watch.intervals import Interval, Spread, share_error, widest_pair

RATES = ("selection rate", "recall", "FPR")
COLUMNS = {"selection rate": "selection_rate", "recall": "tpr", "FPR": "fpr"}
WORDS = {
    "selection rate": "Of all, predicted {of}",
    "recall": "Of those with {of}, predicted {of}",
    "FPR": "Of those without {of}, predicted {of}",
}
OF = {"selection rate": "rows", "recall": "positive rows", "FPR": "negative rows"}
ODDS = "equalized odds"
_METRICS = {each.name: each for each in METRICS}
SHOWN = 60
MEASURED = (
    *(Metric(f"{rate} {kind}", "", 0, 1) for rate in RATES for kind in ("difference", "ratio")),
    Metric(f"{ODDS} difference", "", 0, 1),
)
"""The metrics that compare groups of people. Each is measured for each column."""


class Group(NamedTuple):
    """A group of people: its slice of rows, its metrics, and their bootstrap replicates."""

    slice: Slice
    part: BinaryPart
    replicates: Mapping[str, Any]


class Bias(NamedTuple):
    """The groups of people by column, and the differences and ratios between them.

    In `groups`, an intersection of columns counts as a column. `columns` has only the single columns. `least` is the
    number of rows that a group needs to be judged. If `told` is True, the user gave `least`, and smaller groups are
    left out. If `told` is False, the rate of a smaller group counts as unknown, so a difference may be as large as 1
    and a ratio as small as 0. `of` says in words what a positive prediction means. `drawn` is None if rows are
    resampled one by one. If resamples draw whole blocks of rows instead, such as days, `drawn` has the number of each
    row's block.
    """

    groups: Mapping[str, Sequence[Group]]
    columns: Sequence[str]
    least: int
    of: str
    drawn: Any
    told: bool

    def fact(self, name: str, level: float) -> Fact:
        """Return a difference or ratio by its name, such as `recall difference by sex`.

        A name without `by` stands for the widest difference, or the smallest ratio, over the single columns.
        """
        measured, _, by = name.partition(" by ")
        ratio = measured.endswith(" ratio")
        rate = measured.removesuffix(" ratio" if ratio else " difference")
        better = "higher" if ratio else "lower"
        if by:
            return _renamed(self._one(rate, by, level, ratio=ratio), name, better)
        return _renamed(self._widest(rate, level, ratio=ratio), name, better)

    def _widest(self, rate: str, level: float, *, ratio: bool) -> Fact:
        """Return the widest difference, or the smallest ratio, over the single columns.

        For a difference, each end of the interval is the greatest of the columns' ends. For a ratio, each end is the
        smallest of them. The columns' ends have a confidence at which they all hold at once (Bonferroni). A column with
        small groups has a wide interval. So this column may set an end of the result, even if another column has the
        widest difference.
        """
        sure = 1 - (1 - level) / len(self.columns)
        alone = [self._one(rate, by, sure, ratio=ratio) for by in self.columns]
        known = [each for each in alone if each.value is not None]
        if not known:
            return alone[0]
        # The difference in a column whose interval has no ends may truly be the widest. So this column counts, unless
        # the groups that are too small are left out.
        absent = ". ".join(dict.fromkeys(each.why for each in (known if self.told else alone) if each.why))
        widest_of = min if ratio else max
        value = widest_of(each.value for each in known if each.value is not None)
        ends = [(each.low, each.high) for each in known if each.low is not None and each.high is not None]
        if not ends:
            return Fact(name=rate, value=value, why=absent)
        low, high = (widest_of(end) for end in zip(*ends, strict=True))
        if absent:
            low, high = (0.0, high) if ratio else (low, 1.0)
        return Fact(name=rate, value=value, low=low, high=high, why=absent)

    def names(self) -> Iterator[str]:
        """Yield the names of the facts on each column, such as `recall difference by sex`."""
        for by in self.groups:
            for rate in RATES:
                yield f"{rate} difference by {by}"
                yield f"{rate} ratio by {by}"
            yield f"{ODDS} difference by {by}"

    def overall(self) -> Iterator[str]:
        """Yield the names of the facts on the widest differences and smallest ratios over all columns."""
        for rate in RATES if self.groups else ():
            yield f"{rate} difference"
            yield f"{rate} ratio"
        if self.groups:
            yield f"{ODDS} difference"

    def _one(self, rate: str, by: str, level: float, *, ratio: bool) -> Fact:
        rates = ("recall", "FPR") if rate == ODDS else (rate,)
        told = {each: self._large(each, by) for each in rates}
        for each, groups in told.items():
            if len(groups) < 2:
                return Fact(name=rate, value=None, why=self._too_few(each, by))
        if ratio and not any(each.part.point[rate] for each in told[rate]):
            return Fact(name=rate, value=None, why=f"the {rate} of all groups by `{by}` is 0")
        spreads = {each: self._spread(each, groups, level) for each, groups in told.items()}
        absent = "" if self.told else self._not_judged(rates, by)
        if unsure := next((each for each in spreads.values() if isinstance(each, str)), ""):
            value = max(self._fairlearn(each, told[each], ratio=ratio) for each in rates)
            return Fact(name=rate, value=value, why=f"{absent}. {unsure}" if absent else unsure)
        own = {each: spread for each, spread in spreads.items() if isinstance(spread, Spread)}
        found = _ratio(told[rate], rate, own[rate], level) if ratio else _difference(own, level)
        value = max(self._fairlearn(each, told[each], ratio=ratio) for each in rates)
        if not absent:
            return Fact(name=rate, value=value, low=found.low, high=found.high)
        return Fact(
            name=rate, value=value, low=0.0 if ratio else found.low, high=found.high if ratio else 1.0, why=absent
        )

    def _not_judged(self, rates: Sequence[str], by: str) -> str:
        """Return words that name the groups of a column that are too small for one of the rates.

        The words give the size of each such group, and the size needed.
        """
        few: dict[str, str] = {}
        for rate in rates:
            large = self._large(rate, by)
            for group in self.groups[by]:
                if not any(group is each for each in large):
                    few.setdefault(group.slice.name, f"`{group.slice.name}` ({group.part.sizes[rate]:,.0f} {OF[rate]})")
        return too_small([*few.values()], by, " and ".join(f"{self.least} {OF[rate]}" for rate in rates))

    def words(self, name: str) -> str:
        """Return sentences on the two groups that the difference or ratio called `name` compares: the groups' names and
        rates."""
        measured, _, by = name.partition(" by ")
        rate = measured.removesuffix(" difference").removesuffix(" ratio")
        rates = ("recall", "FPR") if rate == ODDS else (rate,)
        said = []
        for column in [by] if by else self.columns:
            for each in rates:
                groups = sorted(self._large(each, column), key=lambda group: group.part.point[each])
                if len(groups) > 1:
                    said.append(self._sentence(each, column, groups[0], groups[-1]))
        return " ".join(said)

    def _sentence(self, rate: str, by: str, low: Group, high: Group) -> str:
        def told(group: Group) -> str:
            return (
                f"{group.part.point[rate] * 100:.1f}% of {by} = {group.slice.name} ({group.part.sizes[rate]:,.0f} rows)"
            )

        return f"{WORDS[rate].format(of=self.of)}: {told(low)}, {told(high)}."

    def _large(self, rate: str, by: str) -> list[Group]:
        """Return the groups of a column that have enough rows, and enough rows in the denominator of the rate."""
        return [
            each
            for each in self.groups[by]
            if each.part.size >= self.least and each.part.sizes[rate] >= self.least and rate in each.part.point
        ]

    def _too_few(self, rate: str, by: str) -> str:
        return f"fewer than two groups by `{by}` have {self.least} {OF[rate]}"

    def _spread(self, rate: str, groups: Sequence[Group], level: float) -> Spread | str:
        """Return a rate's values by group, with their replicates and the ends of their intervals. If a group's
        interval lacks an end, return the reason."""
        point = np.array([each.part.point[rate] for each in groups])
        drawn = np.stack([each.replicates[rate] for each in groups], axis=1)
        errors = share_error(point, np.array([each.part.sizes[rate] for each in groups]))
        ends = [found(each.part, {}, _METRICS[rate], self.drawn).interval(level) for each in groups]
        why = next((each.why for each in ends if each.low is None or each.high is None), "")
        return why or Spread(point, drawn, errors, *(np.array([each[end] for each in ends]) for end in (0, 1)))

    def _fairlearn(self, rate: str, groups: Sequence[Group], *, ratio: bool) -> float:
        cells = tuple(tuple(each.part.cells.tolist()) for each in groups)
        frame = _frame(rate, tuple(each.slice.name for each in groups), cells)
        return float(frame.ratio(method="between_groups") if ratio else frame.difference(method="between_groups"))

    def table(self, level: float) -> pa.Table:
        """Return a table with a row for each group: size, rates with intervals, and a `note` if the group is too
        small."""
        rows = [self._row(by, each, level) for by, groups in self.groups.items() for each in groups]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _row(self, by: str, group: Group, level: float) -> dict[str, Any]:
        row: dict[str, Any] = {"by": by, "group": group.slice.name, "rows": group.part.size, "note": ""}
        if group.part.size < self.least:
            return {**row, "note": f"too small (fewer than {self.least} rows)"}
        row["positive"] = round(group.part.sizes["recall"])
        few = []
        for rate, column in COLUMNS.items():
            of = group.part.sizes[rate]
            if of < self.least or rate not in group.part.point:
                few.append({"recall": "TPR", "FPR": "FPR"}.get(rate, rate))
                continue
            value = group.part.point[rate]
            low, high, _ = found(group.part, {}, _METRICS[rate], self.drawn).interval(level)
            row |= {column: value, f"{column}_low": low, f"{column}_high": high}
        return {**row, "note": f"too small for {' and '.join(few)}" if few else ""}


@lru_cache(maxsize=64)
def _frame(rate: str, names: tuple[str, ...], cells: tuple[tuple[float, ...], ...]) -> Any:
    """Return fairlearn's frame of a rate by group.

    The frame is cached, since making a frame takes 30 ms, and the same frame is used for a difference, for a ratio, and
    for the widest difference of several columns.
    """
    from fairlearn import metrics  # noqa: PLC0415  the import takes a second, which the tracer saves

    own = {
        "selection rate": metrics.selection_rate,
        "recall": metrics.true_positive_rate,
        "FPR": metrics.false_positive_rate,
    }
    # Fairlearn goes over rows one by one. So each group has only four rows here (true or not, predicted or not). Each
    # row is weighted by the number of people that it stands for.
    return metrics.MetricFrame(
        metrics=own[rate],
        y_true=np.tile([True, True, False, False], len(names)),
        y_pred=np.tile([True, False, True, False], len(names)),
        sensitive_features=np.repeat(names, 4),
        sample_params={"sample_weight": np.array(cells).ravel()},
    )


SCHEMA = pa.schema(
    [
        ("by", pa.string()),
        ("group", pa.string()),
        ("rows", pa.int64()),
        ("positive", pa.int64()),
        *[(f"{name}{end}", pa.float64()) for name in COLUMNS.values() for end in ("", "_low", "_high")],
        ("note", pa.string()),
    ]
)


def _difference(spreads: Mapping[str, Spread], level: float) -> Interval:
    """Return the interval of the widest difference between two groups in any of the rates."""
    low, high, why = widest_pair([*spreads.values()], level)[1]
    return Interval(max(0.0, low or 0.0), min(1.0, high or 0.0), why)


def _ratio(groups: Sequence[Group], rate: str, spread: Spread, level: float) -> Interval:
    """Return the interval of the smallest ratio between the rates of two groups.

    The interval is computed from logarithms. For the logarithm, a rate of 0 counts as half a row. If a rate is 0, both
    the ratio and its lower end are 0.
    """
    point, drawn, error, lows, highs = spread
    least = 0.5 / np.array([each.part.sizes[rate] for each in groups])
    kept = np.maximum(point, least)
    with np.errstate(divide="ignore"):
        ends = [np.log(np.maximum(lows, 0.0)), np.log(np.maximum(highs, kept))]
    logs = Spread(np.log(kept), np.log(np.maximum(drawn, least)), error / kept, *ends)
    low, high, why = widest_pair([logs], level)[1]
    lowest = float(np.exp(-(high or 0.0))) if point.all() else 0.0
    return Interval(lowest, min(1.0, float(np.exp(-(low or 0.0)))), why)


def _renamed(fact: Fact, name: str, better: str) -> Fact:
    return Fact(name=name, value=fact.value, low=fact.low, high=fact.high, why=fact.why, better=better)


def too_small(groups: Sequence[str], by: str, needed: str) -> str:
    """Return words that say which groups of a column were not judged, and which size is needed. The result is empty if
    there are no such groups."""
    if not groups:
        return ""
    were = "was" if len(groups) == 1 else "were"
    return (
        f"By {by}, {_some(groups, ticked=False)} {were} not judged: that takes {needed}. `min_group=` sets another"
        " number and leaves smaller groups out"
    )


def left_out(table: pa.Table, *, told: bool) -> Iterator[str]:
    """Yield a sentence for each column that has groups too small for a difference or ratio. The sentence names these
    groups.

    `told` says whether the user gave the size that a group needs (`min_group`). If so, rules leave smaller groups out.
    """
    rows = table.to_pylist()
    for by in dict.fromkeys(each["by"] for each in rows):
        own = [each for each in rows if each["by"] == by]
        small = [each["group"] for each in own if each["note"]]
        if small:
            yield (
                f"Of {len(own):,} groups by {by}, {len(small):,} {'is' if len(small) == 1 else 'are'} too small for all"
                f" or some of the numbers: {_some(small)}. Differences and ratios leave"
                f" {'it' if len(small) == 1 else 'them'} out."
                + ("" if told else " So a rule on a difference or ratio may be undecided, unless `min_group` is given.")
            )


def _some(names: Sequence[str], most: int = 5, *, ticked: bool = True) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"`{each}`" if ticked else each for each in names[:most]) + more


def bias_grid(table: pa.Table, by: str) -> Grid:
    """Return a grid with the groups of a column and their rates."""
    every = [each for each in table.to_pylist() if each["by"] == by]
    rows = every if len(every) <= SHOWN else sorted(every, key=lambda each: -each["rows"])[:SHOWN]
    left = f" The {SHOWN} largest of {len(every):,} groups are shown." if len(rows) < len(every) else ""
    shown: list[tuple[Cell, ...]] = [
        (
            each["group"],
            each["rows"],
            *[_share(each, name) for name in COLUMNS.values()],
            each["note"],
        )
        for each in rows
    ]
    return Grid(
        title=f"Groups by {by}",
        columns=("group", "rows", "selection rate", "true positive rate", "false positive rate", ""),
        rows=tuple(shown),
        note="Selection rate: the share that is predicted positive. True positive rate: of those who are positive, the"
        f" share that is predicted positive. False positive rate: of those who are negative, the share that is"
        f" predicted positive.{left}",
    )


def _share(row: Mapping[str, Any], name: str) -> str | None:
    if row[name] is None:
        return None
    return bracketed(row[name], row[f"{name}_low"], row[f"{name}_high"])
