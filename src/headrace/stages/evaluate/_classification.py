"""`evaluate.classification`: a classifier judged on rows that it hasn't seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.report.numbers import number
from headrace.spec.report import Drawing, Grid, Report
from headrace.stages.evaluate import figures
from headrace.stages.evaluate._gate.promises import Promises, check_judged, check_numbers
from headrace.stages.evaluate.bias import MEASURED, Bias, Group, bias_grid, left_out
from headrace.stages.evaluate.claims import cases, claim
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS, Findings
from headrace.stages.evaluate.hearing import Asked, Hearing, codes, hear
from headrace.stages.evaluate.judgement import Closing, model_name, unwrapped
from headrace.stages.evaluate.leaks import leaks, overlap
from headrace.stages.evaluate.metrics import binary, multiclass
from headrace.stages.evaluate.metrics.resamples import Resamples
from headrace.stages.evaluate.predictions import classes_of
from headrace.stages.evaluate.robustness import robustness
from headrace.stages.evaluate.slices import Slice, group_key
from headrace.stages.evaluate.slices import groups as groups_of
from headrace.stages.evaluate.slices import slices as slices_of
from headrace.stages.evaluate.thresholds import Rule, no_rows, read
from headrace.stages.tables.columns import listed, rows_at


class Classification(NamedTuple):
    """What was found of a classifier.

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


PROMISES = Promises((*binary.METRICS, *multiclass.METRICS), binary.MAIN, people=MEASURED, overall=True)


def _check(given: Mapping[str, Any]) -> None:
    PROMISES.check(given)
    check_judged(given.get("model", True), given.get("scores"))
    threshold = given.get("threshold")
    if isinstance(read(threshold), Rule) and given.get("valid", True) is None:
        raise no_rows(threshold)


@ready(
    "evaluate.classification",
    version=14,
    on=("fairlearn", "numpy", "pandas", "sklearn"),
    kind="evaluate",
    name="classification",
    check=_check,
)
def classification(
    model: Any,
    table: pa.Table,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    positive: Any = None,
    scores: str | Mapping[Any, str] | None = None,
    decisions: str | None = None,
    predict: Any = None,
    probabilities: bool = True,
    threshold: str | float | None = None,
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
) -> Classification:
    """Judge a classifier of two classes or more.

    Args:
        model: a fitted estimator, a LightGBM booster, or what `predict` takes; None where `scores` are given.
        table: the rows to judge by. Those without a target are left out, and counted.
        target: the column with the true class. Not told, it is the column called `target`, `label` or `y`, or the only
            one that the model doesn't take.
        features: the columns that the model is shown; its own where it tells, else all that have no other use here.
        positive: the class that is looked for; the last of two in their order. Of more classes, it against the rest.
        scores: a column with the score of the positive class, or a column for each class (`{"cat": "p_cat", ...}`).
        decisions: a column with the class that was decided for, where no threshold does that.
        predict: a function of the model and a table that gives an array of scores: n of the positive class, or n by
            classes.
        probabilities: whether scores from 0 to 1 are probabilities; if not, log loss and calibration are not looked at.
        threshold: from which score on a row is predicted positive: a number, or a rule such as `valid:f1`, which is
            applied to `valid` rows only; 0.5 if not told.
        valid: rows to choose the threshold on.
        train: the rows that the model learned from: those judged that stand among them are counted and named, and the
            constant baseline takes its rates from them.
        key: the columns that tell a row for that; all columns that both tables have.
        baseline: a model, or a column with its scores; the rates of the classes if not told.
        previous: the model's previous version, as it is or as `registry.find` gave it (nothing is compared where that
            found none); or a column with its scores.
        slices: columns to look at the model by, each and in pairs.
        sensitive: columns of groups of people, each and together, whose rates are compared.
        groups: a column of what is drawn as one in a resample, such as a day or a customer.
        gates: what must hold, such as `"AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence"`. Not told, the
            model must be surely better than the baseline. `""` asks nothing.
        confidence: that of all intervals.
        resamples: how many bootstrap resamples.
        min_group: how many rows a group or slice needs to be judged, and each rate of those that it is a share of; 30
            if not told. Told, smaller groups of people are left out of rules on bias; if not, such a rule is undecided
            while one wasn't judged.
        robust: whether to disturb each feature and see what becomes of the main metric.
        seed: what resamples and disturbances are drawn by.

    Raises:
        UsageError: a column isn't there, no row has a target, the model can't predict the rows, the gate can't be read
            or asks for what isn't measured, a threshold would be chosen on the rows judged.
    """
    closing = Closing(gates, confidence)
    slices, sensitive, key = listed(slices), listed(sensitive), listed(key) or None
    least = check_numbers(confidence, resamples, min_group, seed)
    columns = [*([scores] if isinstance(scores, str) else (scores or {}).values())]
    columns += [each for each in (decisions, groups, baseline, previous) if isinstance(each, str)]
    model, baseline, previous = unwrapped(model), unwrapped(baseline), unwrapped(previous)
    rows = cases(model, table, target, features, [*columns, *slices, *sensitive, *(key or ())])
    asked = Asked(positive, scores, decisions, predict, threshold, probabilities)
    heard = hear(model, rows, asked, valid=valid, train=train, baseline=baseline, previous=previous)
    rows = heard.cases
    drawn = Resamples(rows.rows, count=resamples, seed=seed, groups=None if groups is None else codes(rows, groups))
    found, bias = _measured(heard, drawn, slices, sensitive, confidence, least)
    bias = bias._replace(told=min_group is not None)
    for name in bias.names():
        closing.measure(found.known, name, partial(bias.fact, name), partial(bias.words, name))
    for name in bias.overall():
        closing.offer(found.known, name, partial(bias.fact, name), partial(bias.words, name))
    closing.count(
        found.known,
        rows,
        None if train is None else leaks(rows.table, train, key),
        overlap(model, rows.table, rows.features),
    )
    sliced, biased = found.table(), bias.table(confidence)
    closing.grids = [
        found.beside(),
        *_classes(heard, found),
        *[bias_grid(biased, by) for by in bias.groups],
        *found.grids(sliced),
    ]
    if robust and model is not None and scores is None:
        closing.grids.append(_robustness(heard, model, asked, found.main, seed))
    closing.drawings = list(_drawings(heard, found, sliced))
    closing.limits = [*_limits(heard, found, drawn, groups, sensitive), *left_out(biased)]
    made = closing.report(
        found, f"{model_name(model, scores)}, which predicts {rows.target}", _about(heard, sliced), _default(heard)
    )
    extra = dict.fromkeys([*slices, *sensitive, *([groups] if groups else [])])
    return Classification(made.passed, made.metrics, sliced, biased, _predictions(heard, extra), made.report, made.page)


def _measured(
    heard: Hearing,
    drawn: Resamples,
    slices: Sequence[str],
    sensitive: Sequence[str],
    level: float,
    least: int,
) -> tuple[Findings, Bias]:
    """Take all numbers from one set of resamples: the whole, the slices, the groups of people."""
    cuts = slices_of(heard.cases.table, slices)
    people = _people(heard, sensitive)
    parts = {
        group_key(by, place): heard.two_sided(each.rows) for by, own in people.items() for place, each in enumerate(own)
    }
    ranked = heard.is_binary and heard.mine.chances is not None
    found = Findings(
        binary.METRICS if heard.is_binary else multiclass.METRICS,
        binary.MAIN if ranked else multiclass.MAIN,
        {name: heard.whole(each) for name, each in heard.claims.items()},
        cuts,
        [heard.part(each.rows, ranked=True) for each in cuts],
        drawn,
        level=level,
        least=least,
        more=parts,
    )
    groups = {
        by: [
            Group(each, parts[group_key(by, place)], found.replicates[group_key(by, place)])
            for place, each in enumerate(own)
        ]
        for by, own in people.items()
    }
    of = f"{heard.cases.target} = {heard.names[-1]}"
    return found, Bias(groups, sensitive if groups else (), least, of, drawn.groups, told=True)


def _people(heard: Hearing, sensitive: Sequence[str]) -> dict[str, list[Slice]]:
    """Give the groups of people, where there are decisions to compare them by."""
    comparable = heard.is_binary and heard.mine.decided is not None
    return groups_of(heard.cases.table, sensitive) if comparable else {}


def _default(heard: Hearing) -> str:
    """Give the gate that holds where none is told: surely better than the baseline."""
    if heard.mine.chances is not None and heard.mine.probable:
        return "log loss < baseline with 95% confidence"
    return (
        "AUC > 0.5 with 95% confidence"
        if heard.is_binary and heard.mine.chances is not None
        else ("balanced accuracy > baseline with 95% confidence")
    )


def _robustness(heard: Hearing, model: Any, asked: Asked, metric: str, seed: int) -> Any:
    """Disturb one feature after the other."""
    cases, cutting = heard.cases, heard.threshold

    def measure(table: pa.Table, rows: Any) -> float | None:
        said = classes_of(model, table, cases.features, asked.predict)
        own = claim(MODEL, said, heard.known, heard.classes[1] if heard.is_binary else None)
        if heard.is_binary and own.chances is not None and cutting is not None:
            own = own._replace(decided=(own.chances[:, 1] >= cutting.value).astype(int))
        some = heard._replace(truth=heard.truth[rows], claims={MODEL: own})
        return some.whole(own).point.get(metric)

    return robustness(cases.table, cases.features, measure, metric, seed)


def _classes(heard: Hearing, found: Findings) -> Iterator[Grid]:
    """Show more than two classes one by one."""
    part = found.wholes[MODEL]
    if isinstance(part, multiclass.ManyPart):
        yield multiclass.class_grid(part, heard.names, found.level, found.groups)


def _drawings(heard: Hearing, found: Findings, sliced: pa.Table) -> Iterator[Drawing]:
    mine, positive = heard.mine, heard.truth == 1
    if heard.is_binary and mine.chances is not None and positive.any() and not positive.all():
        curves = {name: each.chances[:, 1] for name, each in heard.claims.items() if each.chances is not None}
        yield from figures.ranking(positive, curves)
        if mine.probable:
            part: Any = found.wholes[MODEL]
            came = part.binned[:, 1] / part.binned[:, 0]
            ends = [
                part.sums(f"bin {place}").interval(found.level, found.groups).within(0, 1) for place in range(len(came))
            ]
            low, high = (
                np.array([share if each[end] is None else each[end] for each, share in zip(ends, came, strict=True)])
                for end in (0, 1)
            )
            predicted = part.binned[:, 6] / part.binned[:, 0]
            yield figures.calibration(predicted, came, low, high, mine.chances[:, 1], f"is {heard.names[1]}")
    if not heard.is_binary and mine.decided is not None:
        yield figures.confusion(heard.truth, mine.decided, heard.names)
    yield from found.forest(sliced)


def _about(heard: Hearing, sliced: pa.Table) -> str:
    cases = heard.cases
    words = [f"Judged on {cases.rows:,} rows"]
    if heard.is_binary:
        words[0] += f", of which {heard.truth.mean() * 100:.1f}% are `{heard.names[1]}`"
        if heard.threshold is not None:
            words.append(
                f"Predicted `{heard.names[1]}` from a score of {number(heard.threshold.value)} on"
                f" ({heard.threshold.how})"
            )
    else:
        words[0] += f", of {len(heard.classes)} classes"
    if heard.rates_of:
        words.append(f"The baseline knows how frequent each class is in {heard.rates_of}, and nothing else")
    if sliced.num_rows:
        words.append(f"{sliced.num_rows} slices were looked at")
    return ". ".join(words) + "."


def _limits(
    heard: Hearing, found: Findings, drawn: Resamples, groups: str | None, sensitive: Sequence[str]
) -> Iterator[str]:
    yield from drawn.limits(groups)
    if heard.rates_of == "the rows judged":
        yield "The baseline takes its rates from the rows judged, which flatters it a little."
    if heard.is_binary and "ECE" in found.wholes[MODEL].point:
        yield "ECE is above 0 by chance even for perfect probabilities, the more so the fewer rows there are."
    if PREVIOUS in heard.claims and heard.threshold is not None:
        yield (
            f"The previous model decides from a score of {number(heard.threshold.value)} on, as this one does: at a"
            " threshold of its own its accuracy, F1, precision and recall may be better."
        )
    shown = [each for each in sensitive if each in heard.cases.features]
    if shown:
        yield f"The model is shown {' and '.join(f'`{each}`' for each in shown)}, by which people are compared."
    if sensitive and found.replicates:
        yield (
            "Rates differ between groups for many reasons, and the true classes may themselves come of unequal"
            " treatment: the numbers say how decisions differ, not why, and not whether that is lawful."
        )
    elif sensitive:
        yield "Groups of people were not compared: that takes decisions between two classes (`positive=`)."


def _decided(heard: Hearing, decided: Any, kind: pa.DataType) -> pa.Array:
    """Return the class that was decided for, in each row: in the type of the target's values, if its values are those.

    So it can be compared with the target. `not X`, of one class against the rest, is a text beside texts. Whole numbers
    that the target holds as floats are integers: only `regression` predicts such floats.
    """
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = [each for each in heard.classes if isinstance(each, int | float) and each % 1 == 0]
    is_whole = pa.types.is_floating(plain) and len(numbers) == len(heard.classes)
    try:
        classes = pa.array(list(heard.classes)).cast(pa.int64() if is_whole else plain)
    except (pa.ArrowException, TypeError):
        classes = pa.array(heard.names)
    made = classes.to_pylist()
    return pa.array([made[each] for each in decided], classes.type)


def _predictions(heard: Hearing, extra: Sequence[str] | Mapping[str, None]) -> pa.Table:
    """Give a row for each row judged, in the order in which they were given."""
    cases, mine = heard.cases, heard.mine
    columns: dict[str, Any] = {"row": pa.array(cases.places, pa.int64()), cases.target: cases.table[cases.target]}
    columns |= {name: cases.table[name] for name in extra if name not in columns}
    if mine.chances is not None:
        names = ["score"] if heard.is_binary else [f"score of {each}" for each in heard.names]
        values = mine.chances[:, 1:] if heard.is_binary else mine.chances
        columns |= {name: pa.array(np.ascontiguousarray(values[:, place])) for place, name in enumerate(names)}
    for name, each in heard.claims.items():
        if name not in (MODEL, BASELINE) and heard.is_binary and each.chances is not None:
            columns[f"score of {name}"] = pa.array(np.ascontiguousarray(each.chances[:, 1]))
    if mine.decided is not None:
        columns["predicted"] = _decided(heard, mine.decided, cases.table[cases.target].type)
    return rows_at(pa.table(columns), np.argsort(cases.places))
