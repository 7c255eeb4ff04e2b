"""The stage `evaluate.regression`: it judges a model that predicts numbers, on rows that the model hasn't seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.models.frames import check_column
from headrace.models.model import model_of
from headrace.models.scores import checked
from headrace.report.numbers import bracketed, number
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.evaluate import figures
from headrace.stages.evaluate._gate.promises import Promises, check_judged
from headrace.stages.evaluate.bias import left_out, too_small
from headrace.stages.evaluate.claims import Cases, with_target
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS, Findings
from headrace.stages.evaluate.judge import Judge, model_name
from headrace.stages.evaluate.metrics import numeric
from headrace.stages.evaluate.metrics.numeric import NumericPart
from headrace.stages.evaluate.metrics.part import Metric, Part
from headrace.stages.evaluate.metrics.part import found as measured
from headrace.stages.evaluate.options import RegressionCall
from headrace.stages.evaluate.robustness import robustness
from headrace.stages.evaluate.slices import Slice, group_key
from headrace.stages.evaluate.slices import groups as groups_of
from headrace.stages.options import refuse, takes
from headrace.watch.intervals import Spread, widest_pair

COMPARED = ("mean error", "MAE")
_METRICS = {each.name: each for each in numeric.METRICS}
PROMISES = Promises(
    numeric.METRICS, numeric.MAIN, people=[Metric(f"{each} difference", "lower", 0) for each in COMPARED]
)
SCHEMA = pa.schema(
    [
        ("by", pa.string()),
        ("group", pa.string()),
        ("rows", pa.int64()),
        *[(f"{name}{end}", pa.float64()) for name in ("mean_error", "mae") for end in ("", "_low", "_high")],
        ("note", pa.string()),
    ]
)


class Regression(NamedTuple):
    """The results of judging a model that predicts numbers.

    `passed` is True if the gates hold. `metrics` has the value of each metric that is defined. `slices` is a table with
    a row for each slice, `bias` one with a row for each group of people, and `predictions` one with a row for each
    judged row. `report` holds all results, and `page` shows them as HTML.
    """

    passed: bool
    metrics: dict[str, float]
    slices: pa.Table
    bias: pa.Table
    predictions: pa.Table
    report: Report
    page: File


def _check(given: Mapping[str, Any]) -> None:
    refuse(RegressionCall, given)
    PROMISES.check(given)
    check_judged(given.get("model", True), given.get("scores"))


@ready(
    "evaluate.regression",
    version=20,
    on=("numpy", "pandas"),
    kind="evaluate",
    name="regression",
    check=_check,
)
@takes(RegressionCall)
def regression(call: RegressionCall) -> Regression:
    """Judge a model that predicts numbers, on rows that it hasn't seen.

    Raises:
        UsageError: a column is missing, no row has a target, the model can't predict the rows, or a gate can't be read
            or asks for something that isn't measured.
    """
    judge = Judge(call, call.sensitive)
    rows = judge.cases(call.target, call.features, [call.scores])
    judge.take(rows)
    truth = _bounded(_numbers(rows.table, rows.target), f"the target `{rows.target}`")
    claims, mean_of = _claims(judge, call, rows, truth)
    people = groups_of(rows.table, judge.people)
    found, parts = _measured(judge, truth, claims, people)
    least, drawn_by = judge.least, judge.drawn.groups
    for by, own in people.items():
        keys = [group_key(by, place) for place in range(len(own))]
        told = [(parts[each], found.replicates[each]) for each in keys]
        absent = "" if call.min_group is not None else _not_judged(own, least, by)
        for metric in COMPARED:
            name = f"{metric} difference by {by}"
            judge.measure(name, partial(_difference, name, metric, told, least, by, absent, drawn_by))
    judge.count(model_of(judge.model))
    biased = _bias(people, parts, drawn_by, least, judge.level)
    is_robust = call.robust and judge.model is not None and call.scores is None
    measure = partial(_measure, judge.model, rows, truth)
    judged = judge.report(
        found,
        f"{model_name(judge.model, call.scores)}, which predicts {rows.target}",
        _about(rows, truth, mean_of),
        "MAE < baseline with 95% confidence",
        grids=[_groups_grid(biased, by) for by in people],
        more=[robustness(rows, measure, numeric.MAIN, predict=call.predict, features=call.features, seed=call.seed)]
        if is_robust
        else [],
        drawings=figures.residuals(truth, claims[MODEL], call.seed),
        limits=[*_limits(judge, call.groups, mean_of), *left_out(biased, told=call.min_group is not None)],
    )
    said = {"predicted": pa.array(claims[MODEL])}
    if PREVIOUS in claims:
        said["predicted by previous"] = pa.array(claims[PREVIOUS])
    return Regression(**judged._asdict(), bias=biased, predictions=judge.predictions(said))


def _measured(
    judge: Judge, truth: Any, claims: Mapping[str, Any], people: Mapping[str, Sequence[Slice]]
) -> tuple[Findings, dict[str, Part]]:
    """Return the findings, and a `Part` (rows with their metrics) for each group of people. Both are computed from one
    set of resamples."""

    def part(rows: Any) -> Part:
        return NumericPart(truth[rows], claims[MODEL][rows], rows=rows)

    parts = {group_key(by, place): part(each.rows) for by, own in people.items() for place, each in enumerate(own)}
    wholes = {name: NumericPart(truth, each, whole=True) for name, each in claims.items()}
    return judge.findings(numeric.METRICS, numeric.MAIN, wholes, part, parts), parts


def _numbers(table: pa.Table, name: str) -> Any:
    check_column(table, name)
    told = table[name]
    values = (told.cast(pa.float64()) if pa.types.is_decimal(told.type) else told).to_pandas().to_numpy()
    if values.dtype.kind not in "biuf":
        raise UsageError(
            f"column `{name}` holds `{values[0]}`, which is not a number",
            hint="for classes, use `evaluate.classification`",
        )
    return values.astype(np.float64)


def _bounded(values: Any, what: str) -> Any:
    """Return `values` unchanged. Refuse a number whose square is too large for a float. `what` describes the values in
    the error.

    Raises:
        UsageError: a number is too large. The error names it.
    """
    large = np.abs(values)
    if not (large <= numeric.LARGEST).all():
        worst = values[int(np.argmax(large))]
        raise UsageError(
            f"{what} has the value {worst:.3g}, whose square is too large to compute",
            hint=f"check whether it is right, and scale the values to between -{numeric.LARGEST:g} and"
            f" {numeric.LARGEST:g}",
        )
    return values


def _claims(judge: Judge, call: RegressionCall, rows: Cases, truth: Any) -> tuple[dict[str, Any], str]:
    """Return the predictions of the model, the baseline and the previous version by name. Also return the name of the
    rows whose mean target is the baseline's prediction.

    The name is empty if the user gave a baseline.
    """
    check_judged(judge.model, call.scores)
    mine = _said(call.scores if call.scores is not None else judge.model, rows, call.predict)
    claims, mean_of = {MODEL: mine}, ""
    if judge.baseline is None:
        mean, mean_of = float(truth.mean()), "the rows judged"
        for other, name in ((call.valid, "the validation rows"), (call.train, "the training rows")):
            has_target = other is not None and rows.target in other.column_names
            if has_target and len(places := with_target(other, rows.target)):
                told = _numbers(other, rows.target)[places]
                mean, mean_of = float(_bounded(told, f"the target `{rows.target}` in {name}").mean()), name
        claims[BASELINE] = np.full(rows.rows, mean)
    else:
        claims[BASELINE] = _said(judge.baseline, rows, None)
    if judge.previous is not None:
        claims[PREVIOUS] = _said(judge.previous, rows, None)
    return claims, mean_of


def _said(model: Any, rows: Cases, predict: Any) -> Any:
    if isinstance(model, str):
        return _bounded(checked(_numbers(rows.table, model), rows.rows), f"the column `{model}`")
    asked = model_of(model, predict)
    said = asked.numbers(rows.table, asked.takes(rows.table.column_names) or rows.features)
    return _bounded(said, f"what the `{type(model).__name__}` predicts")


def _measure(model: Any, rows: Cases, truth: Any, table: pa.Table, places: Any, predict: Any) -> float | None:
    said = model_of(model, predict).numbers(table, rows.features)
    return NumericPart(truth[places], said).point.get(numeric.MAIN)


def _difference(
    name: str,
    metric: str,
    told: Sequence[tuple[Part, Mapping[str, Any]]],
    least: int,
    by: str,
    absent: str,
    drawn_by: Any,
    level: float,
) -> Fact:
    """Return the widest difference of a metric between two groups that have at least `least` rows. `told` has each
    group's part and its replicates.

    `absent` says which groups are too small to be judged. If there are such groups, the difference's interval has no
    upper end, since these groups may increase the difference by any amount.
    """
    large = [(part, drawn) for part, drawn in told if part.size >= least]
    if len(large) < 2:
        why = f"fewer than two groups by `{by}` have {least} rows"
        return Fact(name=name, value=None, why=why, better="lower")
    point = np.array([part.point[metric] for part, _ in large])
    drawn = np.stack([replicates[metric] for _, replicates in large], axis=1)
    own = [measured(part, {}, _METRICS[metric], drawn_by).interval(level) for part, _ in large]
    if why := next((each.why for each in own if each.low is None or each.high is None), ""):
        return Fact(name=name, value=float(np.ptp(point)), why=why, better="lower")
    ends = (np.array([each[end] for each in own]) for end in (0, 1))
    value, (low, high, _) = widest_pair([Spread(point, drawn, np.zeros(len(large)), *ends)], level)
    return Fact(
        name=name, value=value, low=max(0.0, low or 0.0), high=None if absent else high, why=absent, better="lower"
    )


def _not_judged(groups: Sequence[Slice], least: int, by: str) -> str:
    """Return words that say which groups of a column are too small to be judged, and how many rows would be enough."""
    few = [f"`{each.name}` ({len(each.rows):,} rows)" for each in groups if len(each.rows) < least]
    return too_small(few, by, f"{least} rows")


def _bias(
    people: Mapping[str, Sequence[Slice]],
    parts: Mapping[str, Part],
    drawn_by: Any,
    least: int,
    level: float,
) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for by, own in people.items():
        for place, each in enumerate(own):
            name = group_key(by, place)
            part = parts[name]
            row: dict[str, Any] = {"by": by, "group": each.name, "rows": part.size, "note": ""}
            if part.size < least:
                row["note"] = f"too small (fewer than {least} rows)"
            else:
                for metric, short in zip(COMPARED, ("mean_error", "mae"), strict=True):
                    low, high, _ = measured(part, {}, _METRICS[metric], drawn_by).interval(level)
                    row |= {short: part.point[metric], f"{short}_low": low, f"{short}_high": high}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _groups_grid(table: pa.Table, by: str) -> Grid:
    def told(row: Mapping[str, Any], name: str) -> str | None:
        return None if row[name] is None else bracketed(row[name], row[f"{name}_low"], row[f"{name}_high"])

    rows = [each for each in table.to_pylist() if each["by"] == by]
    return Grid(
        title=f"Groups by {by}",
        columns=("group", "rows", "mean error", "MAE", ""),
        rows=tuple((e["group"], e["rows"], told(e, "mean_error"), told(e, "mae"), e["note"]) for e in rows),
        note="Mean error: predicted minus true. Above 0, the predictions for the group are too high.",
    )


def _about(rows: Cases, truth: Any, mean_of: str) -> str:
    words = f"Judged on {rows.rows:,} rows, with targets from {number(truth.min())} to {number(truth.max())}."
    return f"{words} The baseline is the mean of the target in {mean_of}." if mean_of else words


def _limits(judge: Judge, groups: str | None, mean_of: str) -> Iterator[str]:
    yield from judge.drawn.limits(groups)
    if mean_of == "the rows judged":
        yield "The baseline takes its mean from the rows judged, which flatters it a little."
