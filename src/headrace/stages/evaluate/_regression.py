"""`evaluate.regression`: predictions of numbers, judged on rows that the model hasn't seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.report.numbers import bracketed, number
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.evaluate import figures
from headrace.stages.evaluate._gate.promises import Promises, check_judged, check_numbers
from headrace.stages.evaluate.bias import left_out, too_small
from headrace.stages.evaluate.claims import Cases, cases, with_target
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS, Findings
from headrace.stages.evaluate.hearing import codes
from headrace.stages.evaluate.judgement import Closing, model_name, unwrapped
from headrace.stages.evaluate.leaks import leaks, overlap
from headrace.stages.evaluate.metrics import numeric
from headrace.stages.evaluate.metrics.intervals import Spread, widest_pair
from headrace.stages.evaluate.metrics.numeric import NumericPart
from headrace.stages.evaluate.metrics.part import Metric, Part
from headrace.stages.evaluate.metrics.part import found as measured
from headrace.stages.evaluate.metrics.resamples import Resamples
from headrace.stages.evaluate.predictions import check_column, checked, features_of, numbers_of
from headrace.stages.evaluate.robustness import robustness
from headrace.stages.evaluate.slices import Slice, group_key
from headrace.stages.evaluate.slices import groups as groups_of
from headrace.stages.evaluate.slices import slices as slices_of
from headrace.stages.tables.columns import listed

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
    """What was found of a model that predicts numbers.

    `passed` says whether the gates hold. `metrics` has the value of each metric that is defined. `slices`, `bias` and
    `predictions` have a row for each slice, group, and row judged. `report` has it all, `page` shows it.
    """

    passed: bool
    metrics: dict[str, float]
    slices: pa.Table
    bias: pa.Table
    predictions: pa.Table
    report: Report
    page: File


def _check(given: Mapping[str, Any]) -> None:
    PROMISES.check(given)
    check_judged(given.get("model", True), given.get("scores"))


@ready(
    "evaluate.regression",
    version=14,
    on=("numpy", "pandas"),
    kind="evaluate",
    name="regression",
    check=_check,
)
def regression(
    model: Any,
    table: pa.Table,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    scores: str | None = None,
    predict: Any = None,
    valid: pa.Table | None = None,
    train: pa.Table | None = None,
    key: str | Sequence[str] | None = None,
    baseline: Any = None,
    previous: Any = None,
    slices: str | Sequence[str] = (),
    sensitive: str | Sequence[str] = (),
    groups: str | None = None,
    gates: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    min_group: int | None = None,
    robust: bool = True,
    seed: int = 0,
) -> Regression:
    """Judge a model that predicts numbers.

    Args:
        model: a fitted estimator, a LightGBM booster, or what `predict` takes; None where `scores` are given.
        table: the rows to judge by. Those without a target are left out, and counted.
        target: the column with the true number. Not told, it is the column called `target`, `label` or `y`, or the only
            one that the model doesn't take.
        features: the columns that the model is shown; its own where it tells, else all that have no other use here.
        scores: a column with the numbers predicted.
        predict: a function of the model and a table that gives an array of n numbers.
        valid: rows whose mean is the baseline, where there is no `train`.
        train: the rows that the model learned from: those judged that stand among them are counted and named, and their
            mean is the baseline.
        key: the columns that tell a row for that; all columns that both tables have.
        baseline: a model, or a column with its numbers; the mean of the target if not told.
        previous: the model's previous version, as it is or as `registry.find` gave it (nothing is compared where that
            found none); or a column with its numbers.
        slices: columns to look at the model by, each and in pairs.
        sensitive: columns of groups of people, each and together, whose errors are compared.
        groups: a column of what is drawn as one in a resample, such as a day or a customer.
        gates: what must hold, such as `"MAE <= 3 and R2 >= 0.5 with 95% confidence"`. Not told, the MAE must be surely
            below the baseline's. `""` asks nothing.
        confidence: that of all intervals.
        resamples: how many bootstrap resamples.
        min_group: how many rows a group or slice needs to be judged; 30 if not told. Told, smaller groups of people are
            left out of rules on bias; if not, such a rule is undecided while one wasn't judged.
        robust: whether to disturb each feature and see what becomes of the MAE.
        seed: what resamples and disturbances are drawn by.

    Raises:
        UsageError: a column isn't there, no row has a target, the model can't predict the rows, the gate can't be read
            or asks for what isn't measured.
    """
    closing = Closing(gates, confidence)
    slices, sensitive, key = listed(slices), listed(sensitive), listed(key) or None
    least = check_numbers(confidence, resamples, min_group, seed)
    columns = [each for each in (scores, groups, baseline, previous) if isinstance(each, str)]
    model, baseline, previous = unwrapped(model), unwrapped(baseline), unwrapped(previous)
    rows = cases(model, table, target, features, [*columns, *slices, *sensitive, *(key or ())])
    truth = _bounded(_numbers(rows.table, rows.target), f"the target `{rows.target}`")
    claims, mean_of = _claims(rows, truth, model, scores, predict, baseline, previous, train, valid)
    drawn = Resamples(rows.rows, count=resamples, seed=seed, groups=None if groups is None else codes(rows, groups))
    cuts = slices_of(rows.table, slices)
    people = groups_of(rows.table, sensitive)
    found, parts = _measured(truth, claims, drawn, cuts, people, confidence, least)
    for by, own in people.items():
        keys = [group_key(by, place) for place in range(len(own))]
        told = [(parts[each], found.replicates[each]) for each in keys]
        absent = "" if min_group is not None else _not_judged(own, least, by)
        for metric in COMPARED:
            name = f"{metric} difference by {by}"
            closing.measure(
                found.known, name, partial(_difference, name, metric, told, least, by, absent, drawn.groups)
            )
    closing.count(
        found.known,
        rows,
        None if train is None else leaks(rows.table, train, key),
        overlap(model, rows.table, rows.features),
    )
    sliced, biased = found.table(), _bias(people, parts, drawn.groups, least, confidence)
    closing.grids = [found.beside(), *[_groups_grid(biased, by) for by in people], *found.grids(sliced)]
    if robust and model is not None and scores is None:
        measure = partial(_measure, model, rows, predict, truth)
        closing.grids.append(robustness(rows.table, rows.features, measure, numeric.MAIN, seed))
    closing.drawings = [*figures.residuals(truth, claims[MODEL], seed), *found.forest(sliced)]
    closing.limits = [*_limits(drawn, groups, mean_of), *left_out(biased)]
    title = f"{model_name(model, scores)}, which predicts {rows.target}"
    made = closing.report(found, title, _about(rows, truth, mean_of), "MAE < baseline with 95% confidence")
    predictions = _predictions(rows, claims, [*slices, *sensitive, *([groups] if groups else [])])
    return Regression(made.passed, made.metrics, sliced, biased, predictions, made.report, made.page)


def _measured(
    truth: Any,
    claims: Mapping[str, Any],
    drawn: Resamples,
    cuts: Sequence[Slice],
    people: Mapping[str, Sequence[Slice]],
    level: float,
    least: int,
) -> tuple[Findings, dict[str, Part]]:
    """Take all numbers from one set of resamples: the whole, the slices, the groups of people; those it gives too."""
    mine = claims[MODEL]
    parts: dict[str, Part] = {
        group_key(by, place): NumericPart(truth[each.rows], mine[each.rows], rows=each.rows)
        for by, own in people.items()
        for place, each in enumerate(own)
    }
    found = Findings(
        numeric.METRICS,
        numeric.MAIN,
        {name: NumericPart(truth, each, whole=True) for name, each in claims.items()},
        cuts,
        [NumericPart(truth[each.rows], mine[each.rows], rows=each.rows) for each in cuts],
        drawn,
        level=level,
        least=least,
        more=parts,
    )
    return found, parts


def _numbers(table: pa.Table, name: str) -> Any:
    check_column(table, name)
    told = table[name]
    values = (told.cast(pa.float64()) if pa.types.is_decimal(told.type) else told).to_pandas().to_numpy()
    if values.dtype.kind not in "biuf":
        raise UsageError(f"column `{name}` holds `{values[0]}`, which is no number", hint="classes: `classification`")
    return values.astype(np.float64)


def _bounded(values: Any, what: str) -> Any:
    """Refuse numbers whose squares are no numbers any more: nothing that is made of them would mean anything.

    Raises:
        UsageError: it names one.
    """
    large = np.abs(values)
    if not (large <= numeric.LARGEST).all():
        worst = values[int(np.argmax(large))]
        raise UsageError(
            f"{what} has values as large as {worst:.3g}, whose squares no number can hold",
            hint=f"look whether they are meant, and scale them to below {numeric.LARGEST:g}",
        )
    return values


def _claims(
    rows: Cases,
    truth: Any,
    model: Any,
    scores: str | None,
    predict: Any,
    baseline: Any,
    previous: Any,
    train: pa.Table | None,
    valid: pa.Table | None,
) -> tuple[dict[str, Any], str]:
    """Give what the model and those beside it predict, and in which rows the mean was taken that is the baseline."""
    check_judged(model, scores)
    mine = _said(scores if scores is not None else model, rows, predict)
    claims, mean_of = {MODEL: mine}, ""
    if baseline is None:
        mean, mean_of = float(truth.mean()), "the rows judged"
        for other, name in ((valid, "the validation rows"), (train, "the training rows")):
            has_target = other is not None and rows.target in other.column_names
            if has_target and len(with_target(other, rows.target)):
                mean, mean_of = float(np.nanmean(_numbers(other, rows.target))), name
        claims[BASELINE] = np.full(rows.rows, mean)
    else:
        claims[BASELINE] = _said(baseline, rows, None)
    if previous is not None:
        claims[PREVIOUS] = _said(previous, rows, None)
    return claims, mean_of


def _said(model: Any, rows: Cases, predict: Any) -> Any:
    if isinstance(model, str):
        return _bounded(checked(_numbers(rows.table, model), rows.rows), f"the column `{model}`")
    said = numbers_of(model, rows.table, features_of(model, rows.table) or rows.features, predict)
    return _bounded(said, f"what the `{type(model).__name__}` predicts")


def _measure(model: Any, rows: Cases, predict: Any, truth: Any, table: pa.Table, places: Any) -> float | None:
    said = numbers_of(model, table, rows.features, predict)
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
    """Return the widest difference of a metric between two groups that are large enough. Those that are `absent`, too
    small to be judged, may make it any greater."""
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
    """Say which groups of a column are too small, and what would do."""
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
        note="Mean error: predicted less true; above 0, the group is rated too high.",
    )


def _about(rows: Cases, truth: Any, mean_of: str) -> str:
    words = f"Judged on {rows.rows:,} rows, with targets from {number(truth.min())} to {number(truth.max())}."
    return f"{words} The baseline is the mean of the target in {mean_of}." if mean_of else words


def _limits(drawn: Resamples, groups: str | None, mean_of: str) -> Iterator[str]:
    yield from drawn.limits(groups)
    if mean_of == "the rows judged":
        yield "The baseline takes its mean from the rows judged, which flatters it a little."


def _predictions(rows: Cases, claims: Mapping[str, Any], extra: Sequence[str]) -> pa.Table:
    columns: dict[str, Any] = {"row": pa.array(rows.places, pa.int64()), rows.target: rows.table[rows.target]}
    columns |= {name: rows.table[name] for name in extra if name not in columns}
    columns["predicted"] = pa.array(claims[MODEL])
    if PREVIOUS in claims:
        columns["predicted by previous"] = pa.array(claims[PREVIOUS])
    return pa.table(columns)
