"""Checks of an evaluation's gates before anything has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headrace.errors import UsageError
from headrace.stages.evaluate.findings import BASELINE, GAP, PREVIOUS
from headrace.stages.evaluate.metrics import binary, multiclass, numeric, textual
from headrace.stages.evaluate.metrics.catalogue import plain, unmeasured
from headrace.stages.evaluate.metrics.part import Metric
from headrace.stages.tables.columns import listed
from headrace.watch.rules import Comparison, Rule, comparisons, parse

SEEN, CHOSE, LOST = "rows seen in training", "rows seen in validation", "rows without a target"
COUNTS = ("rows", LOST, SEEN, CHOSE)
COUNTED = (*COUNTS, "empty texts")
_PROBABLE = ("log loss", "brier score", "ece")
_OURS = {
    plain(each.name): each
    for each in (
        *binary.METRICS,
        *multiclass.METRICS,
        *numeric.METRICS,
        *textual.METRICS,
        *(Metric(name, "", 0) for name in COUNTED),
    )
}
"""The numbers that evaluations measure, by name."""


class Promises(NamedTuple):
    """The numbers that an evaluation will measure, as far as they are known before there are data.

    `main` is the name of the main metric. `people` are differences and ratios between groups of people: each of them is
    measured for each column. If `overall`, the widest difference and the smallest ratio over all columns are measured
    too. `counts` are the names of row counts. If `own_baseline` is False, there is a baseline only if the user gives
    one. `classes` are metrics of one class, such as `recall of red`.
    """

    metrics: Sequence[Metric]
    main: str
    people: Sequence[Metric] = ()
    overall: bool = False
    counts: Sequence[str] = COUNTS
    own_baseline: bool = True
    classes: Sequence[Metric] = ()

    def check(self, given: Mapping[str, Any]) -> None:
        """Refuse gates that can't be right.

        Raises:
            UsageError: the gates can't be read, ask for a number that won't be measured, or have the same result
                whatever is measured.
        """
        gates = given.get("gates")
        if isinstance(gates, str) and gates:
            for each in comparisons(parse(gates)):
                self._check(each, given)

    def _check(self, asked: Comparison, given: Mapping[str, Any]) -> None:
        name, against = plain(asked.metric), asked.against
        for other in (BASELINE, PREVIOUS):
            if name.endswith(f" less {other}"):
                name, against = name.removesuffix(f" less {other}"), other
        if against == BASELINE and not self.own_baseline and given.get(BASELINE, "") is None:
            raise UsageError(
                f"the gate `{asked}` compares with a baseline, and there is none", hint="name a column: `baseline=...`"
            )
        if against == PREVIOUS and given.get(PREVIOUS, "") is None:
            raise UsageError(
                f"the gate `{asked}` compares with a previous model, and none is given",
                hint="give the result of `registry.find`, even if no version is registered yet: `previous=...`",
            )
        metric = self._metric(name, asked, given)
        if name in _PROBABLE and given.get("probabilities") is False:
            raise UsageError(
                f"the gate `{asked}` needs probabilities, but `probabilities=False` says that the scores aren't"
                " probabilities",
                hint="leave `probabilities=False` out, or ask for AUC, or for a metric of decisions",
            )
        if not asked.against:
            _check_percentage(asked, metric)
            _check_bound(asked, metric.difference(asked.metric, "") if against else metric)

    def _metric(self, name: str, asked: Comparison, given: Mapping[str, Any]) -> Metric:
        """Return the metric of a name.

        Raises:
            UsageError: there is no such metric, or it needs an option that isn't given.
        """
        known: dict[str, Metric] = {}
        for each in [*self.metrics, *(Metric(each, "", 0) for each in self.counts)]:
            known.setdefault(plain(each.name), each)
            if each.highest > known[plain(each.name)].highest:  # the Brier score of many classes goes up to 2
                known[plain(each.name)] = each
        gaps = {plain(f"{GAP} of {each.name}"): each.difference(GAP, "") for each in known.values() if each.better}
        gaps[plain(GAP)] = known[plain(self.main)].difference(GAP, "")
        if name in gaps and not listed(given.get("slices", "unknown")):
            raise UsageError(
                f"the gate `{asked}` compares slices, and none are given", hint=_columns("slices", "region")
            )
        if plain(SEEN) == name and given.get("train", "unknown") is None:
            raise UsageError(
                f"the gate `{asked}` needs the rows that the model was trained on, and these aren't given",
                hint="give the training rows as `train=`",
            )
        people = self._people(name, asked, given)
        found = {**known, **gaps, **people}
        start, _, of = name.partition(" of ")
        own = {plain(each.name): each for each in self.classes}.get(start) if of else None
        if own is None and name not in found:
            names = [each.name for each in (*known.values(), *people.values())]
            raise unmeasured(asked.metric, [*names, GAP, *[f"{each.name} of CLASS" for each in self.classes]])
        return found[name] if own is None else own

    def _people(self, name: str, asked: Comparison, given: Mapping[str, Any]) -> dict[str, Metric]:
        """Return the metrics of groups of people, by name.

        If the columns aren't known yet, only the metric that the gate asks for is returned.
        """
        measured = {plain(each.name): each for each in self.people}
        start, _, by = name.partition(" by ")
        columns = listed(given.get("sensitive", "unknown"))
        told = start in measured and (bool(by) or self.overall)
        if told and not columns:
            meant = asked.metric.partition(" by ")[2] or "sex"
            raise UsageError(
                f"the gate `{asked}` compares groups of people, and none are given", hint=_columns("sensitive", meant)
            )
        if told and "sensitive" not in given:
            return {name: measured[start]}
        named = [*columns, *([" x ".join(columns)] if len(columns) > 1 else [])]
        if told and by and by not in map(plain, named):
            raise UsageError(
                f"the gate `{asked}` is about a column that `sensitive` doesn't name",
                hint=f"it names {', '.join(f'`{each}`' for each in named)}",
            )
        every = [each._replace(name=f"{each.name} by {column}") for each in self.people for column in named]
        every += self.people if self.overall and columns else ()
        return {plain(each.name): each for each in every}


def _columns(option: str, such: str) -> str:
    return f'name their columns, such as `{option}=["{such}"]`'


def check_percentages(rule: Rule) -> None:
    """Refuse a percentage as the bound of a metric that isn't a share, such as `MAE <= 5%`. Metrics that no evaluation
    measures aren't checked: they may come from reports of other stages.

    Raises:
        UsageError: a metric isn't a share, but its bound is a percentage.
    """
    for each in comparisons(rule):
        name = plain(each.metric).partition(" less ")[0].partition(" by ")[0]
        metric = _OURS.get(name.removeprefix(f"{plain(GAP)} of ").removesuffix(" difference"))
        if metric is not None:
            _check_percentage(each, metric)


def _check_percentage(asked: Comparison, metric: Metric) -> None:
    """Refuse a percentage as the bound of a metric that isn't a share, such as `MAE <= 5%`.

    Raises:
        UsageError: the metric isn't a share.
    """
    if asked.is_percentage and not metric.is_share:
        raise UsageError(
            f"the gate `{asked}` was written with a percentage, and `{metric.name}` isn't a share",
            hint="write the number itself, in the unit of the metric",
        )


def _check_bound(asked: Comparison, metric: Metric) -> None:
    """Refuse a bound outside a metric's range, such as `accuracy >= 90`.

    Raises:
        UsageError: the rule has the same result, whatever is measured.
    """
    if metric.lowest <= asked.bound <= metric.highest:
        return
    holds = (asked.bound < metric.lowest) == asked.operator.startswith(">")
    ends = f"between {metric.lowest:g} and {metric.highest:g}"
    ends = f"no less than {metric.lowest:g}" if metric.highest == float("inf") else ends
    ends = f"no more than {metric.highest:g}" if metric.lowest == -float("inf") else ends
    raise UsageError(
        f"the gate `{asked}` {'always holds' if holds else 'can never hold'}: `{metric.name}` is {ends}",
        hint="a share is written as 0.9, or 90%" if metric.highest == 1 else "correct the number",
    )


def check_judged(model: Any, scores: Any) -> None:
    """Refuse a call that has neither a model nor scores.

    Raises:
        UsageError: both are None.
    """
    if model is None and scores is None:
        raise UsageError("there is nothing to judge", hint="give a model, or `scores=`, a column of the table")
