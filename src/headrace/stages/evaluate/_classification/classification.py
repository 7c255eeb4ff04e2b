"""The stage `evaluate.classification`: it judges a classifier on rows that the model hasn't seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.models.model import model_of
from headrace.report.numbers import number
from headrace.spec.report import Drawing, Grid, Report
from headrace.stages.evaluate import figures
from headrace.stages.evaluate._classification.answers import Answers, answers_of
from headrace.stages.evaluate._gate.promises import Promises, check_judged
from headrace.stages.evaluate.bias import MEASURED, Bias, Group, bias_grid, left_out
from headrace.stages.evaluate.claims import claim, own_decisions
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS, Findings
from headrace.stages.evaluate.judge import Judge, model_name
from headrace.stages.evaluate.metrics import binary, multiclass
from headrace.stages.evaluate.options import ClassificationCall
from headrace.stages.evaluate.robustness import robustness
from headrace.stages.evaluate.slices import Slice, group_key
from headrace.stages.evaluate.slices import groups as groups_of
from headrace.stages.options import refuse, takes
from headrace.stages.tables.columns import rows_at
from headrace.watch.thresholds import Rule, no_rows, read


class Classification(NamedTuple):
    """The results of judging a classifier.

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


PROMISES = Promises(
    (*binary.METRICS, *multiclass.METRICS), binary.MAIN, people=MEASURED, overall=True, classes=multiclass.OF_CLASS
)
OF_TWO = PROMISES._replace(metrics=binary.METRICS, classes=())
OF_MANY = Promises(multiclass.METRICS, multiclass.MAIN, classes=multiclass.OF_CLASS)


def _promises(given: Mapping[str, Any]) -> Promises:
    """Return what an evaluation with these arguments will measure.

    If the arguments don't tell how many classes there are, the result has the metrics for two classes and those for
    three or more.
    """
    scores = given.get("scores")
    if given.get("positive") is not None or isinstance(scores, str):
        return OF_TWO
    return OF_MANY if isinstance(scores, Mapping) and len(scores) > 2 and "positive" in given else PROMISES


def _check(given: Mapping[str, Any]) -> None:
    refuse(ClassificationCall, given)
    _promises(given).check(given)
    check_judged(given.get("model", True), given.get("scores"))
    threshold = given.get("threshold")
    if isinstance(read(threshold), Rule) and given.get("valid", True) is None:
        raise no_rows(threshold)


@ready(
    "evaluate.classification",
    version=21,
    on=("fairlearn", "numpy", "pandas", "sklearn"),
    kind="evaluate",
    name="classification",
    check=_check,
)
@takes(ClassificationCall)
def classification(call: ClassificationCall) -> Classification:
    """Judge a classifier of two or more classes on rows that it hasn't seen.

    Raises:
        UsageError: a column is missing, no row has a target, the model can't predict the rows, a gate can't be read or
            asks for something that isn't measured, or the threshold would be chosen on the judged rows.
    """
    judge = Judge(call, call.sensitive)
    scores = [call.scores] if isinstance(call.scores, str) else list((call.scores or {}).values())
    answers = answers_of(judge, call, judge.cases(call.target, call.features, [*scores, call.decisions]))
    rows = answers.cases
    judge.take(rows)
    found, bias = _measured(judge, answers)
    bias = bias._replace(told=call.min_group is not None)
    for name in bias.names():
        judge.measure(name, partial(bias.fact, name), partial(bias.words, name))
    for name in bias.overall():
        judge.offer(name, partial(bias.fact, name), partial(bias.words, name))
    if not answers.is_binary:
        for place, name in enumerate(answers.names):
            for each in multiclass.OF_CLASS:
                found.know(each._replace(name=f"{each.name} {place}"), f"{each.name} of {name}")
    judge.count(model_of(judge.model))
    biased = bias.table(judge.level)
    is_robust = call.robust and judge.model is not None and call.scores is None
    judged = judge.report(
        found,
        f"{model_name(judge.model, call.scores)}, which predicts {rows.target}",
        _about(answers, len(found.slices)),
        _default(answers),
        grids=[*_classes(answers, found), *[bias_grid(biased, by) for by in bias.groups]],
        more=[_robustness(answers, judge.model, call, found.main)] if is_robust else [],
        drawings=_drawings(answers, found),
        limits=[*_limits(answers, found, judge, call.groups), *left_out(biased, told=bias.told)],
    )
    return Classification(**judged._asdict(), bias=biased, predictions=_predictions(judge, answers))


def _measured(judge: Judge, answers: Answers) -> tuple[Findings, Bias]:
    """Return the findings, and the bias between groups of people. Both are computed from one set of resamples."""
    people = _people(answers, judge.people)
    parts = {
        group_key(by, place): answers.two_sided(each.rows)
        for by, own in people.items()
        for place, each in enumerate(own)
    }
    ranked = answers.is_binary and answers.mine.chances is not None
    found = judge.findings(
        binary.METRICS if answers.is_binary else multiclass.METRICS,
        binary.MAIN if ranked else multiclass.MAIN,
        {name: answers.whole(each) for name, each in answers.claims.items()},
        partial(answers.part, ranked=True),
        parts,
    )
    groups = {
        by: [
            Group(each, parts[group_key(by, place)], found.replicates[group_key(by, place)])
            for place, each in enumerate(own)
        ]
        for by, own in people.items()
    }
    of = f"{answers.cases.target} = {answers.names[-1]}"
    return found, Bias(groups, judge.people if groups else (), judge.least, of, judge.drawn.groups, told=True)


def _people(answers: Answers, sensitive: Sequence[str]) -> dict[str, list[Slice]]:
    """Return the groups of people by column. The result is empty if the model doesn't decide between two classes."""
    comparable = answers.is_binary and answers.mine.decided is not None
    return groups_of(answers.cases.table, sensitive) if comparable else {}


def _default(answers: Answers) -> str:
    """Return the gate that applies when none is given: the model is better than the baseline with 95% confidence."""
    if answers.mine.chances is not None and answers.mine.probable:
        return "log loss < baseline with 95% confidence"
    return (
        "AUC > 0.5 with 95% confidence"
        if answers.is_binary and answers.mine.chances is not None
        else ("balanced accuracy > baseline with 95% confidence")
    )


def _robustness(answers: Answers, model: Any, call: ClassificationCall, metric: str) -> Any:
    """Return a grid that shows how a metric changes when one feature at a time is disturbed."""
    cases, cutting = answers.cases, answers.threshold
    positive = answers.classes[1] if answers.is_binary else None

    def measure(table: pa.Table, rows: Any, predict: Any) -> float | None:
        said = model_of(model, predict).scores(table, cases.features)
        own = claim(MODEL, said, answers.known, positive)
        if answers.is_binary and own.chances is not None and cutting is not None:
            own = own._replace(decided=(own.chances[:, 1] >= cutting.value).astype(int))
        elif MODEL in answers.own:
            decided = own_decisions(model, cases._replace(table=table), answers.known, positive)
            own = own._replace(decided=own.decided if decided is None else decided)
        some = answers._replace(truth=answers.truth[rows], claims={MODEL: own})
        return some.whole(own).point.get(metric)

    return robustness(cases, measure, metric, predict=call.predict, features=call.features, seed=call.seed)


def _classes(answers: Answers, found: Findings) -> Iterator[Grid]:
    """Yield a grid with the metrics of each class, if there are more than two classes."""
    part = found.wholes[MODEL]
    if isinstance(part, multiclass.ManyPart):
        yield multiclass.class_grid(part, answers.names, found.level, found.groups)


def _drawings(answers: Answers, found: Findings) -> Iterator[Drawing]:
    mine, positive = answers.mine, answers.truth == 1
    if answers.is_binary and mine.chances is not None and positive.any() and not positive.all():
        curves = {name: each.chances[:, 1] for name, each in answers.claims.items() if each.chances is not None}
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
            yield figures.calibration(predicted, came, low, high, mine.chances[:, 1], f"is {answers.names[1]}")
    if not answers.is_binary and mine.decided is not None:
        yield figures.confusion(answers.truth, mine.decided, answers.names)


def _about(answers: Answers, slices: int) -> str:
    cases = answers.cases
    words = [f"Judged on {cases.rows:,} rows"]
    if answers.is_binary:
        words[0] += f", of which {answers.truth.mean() * 100:.1f}% are `{answers.names[1]}`"
        if answers.threshold is not None:
            words.append(
                f"The threshold is {number(answers.threshold.value)} ({answers.threshold.how}): rows with this score or"
                f" a higher one are predicted as `{answers.names[1]}`"
            )
    else:
        words[0] += f", of {len(answers.classes)} classes"
    if MODEL in answers.own:
        other = "a threshold of 0.5" if answers.is_binary else "the class with the highest score"
        words.append(
            f"The decisions are those of the model's own `predict`: in {answers.own[MODEL]:,} rows, they differ from"
            f" {other}"
        )
    if answers.rates_of:
        words.append(f"The baseline knows how frequent each class is in {answers.rates_of}, and nothing else")
    if slices:
        words.append(f"{slices} slices were looked at")
    return ". ".join(words) + "."


def _limits(answers: Answers, found: Findings, judge: Judge, groups: str | None) -> Iterator[str]:
    yield from judge.drawn.limits(groups)
    if answers.rates_of == "the rows judged":
        yield "The baseline takes its rates from the rows judged, which flatters it a little."
    if answers.is_binary and "ECE" in found.wholes[MODEL].point:
        yield "ECE is above 0 by chance even for perfect probabilities, the more so the fewer rows there are."
    if answers.threshold is not None and answers.threshold.value != 0.5:
        yield (
            f"The model itself doesn't know the threshold of {number(answers.threshold.value)}: `headrace predict` and"
            " its own `predict` decide as without it, mostly at 0.5. For the decisions that were judged here, compare"
            " its scores with the threshold."
        )
    if PREVIOUS in answers.claims and answers.threshold is not None and PREVIOUS not in answers.own:
        yield (
            f"The previous model was judged at the threshold of this one, {number(answers.threshold.value)}: at a"
            " threshold of its own, its accuracy, F1, precision and recall may be better."
        )
    shown = [each for each in judge.people if each in answers.cases.features]
    if shown:
        yield f"People are compared by {' and '.join(f'`{each}`' for each in shown)}, which the model gets as features."
    if judge.people and found.replicates:
        yield (
            "Rates differ between groups for many reasons, and the true classes may themselves result from unequal"
            " treatment. The numbers say how decisions differ, not why, and not whether that is lawful."
        )
    elif judge.people:
        yield "Groups of people were not compared: that needs decisions between two classes (`positive=`)."


def _decided(answers: Answers, decided: Any, kind: pa.DataType) -> pa.Array:
    """Return the predicted class of each row, in the type of the target if possible, so that both columns can be
    compared.

    There are two exceptions. (1) If one class X is judged against all others, `not X` stands for all other classes. So
    the column holds texts. (2) If the target's classes are whole numbers that are stored as floats, the column holds
    integers, because `evaluate.paired` takes predicted floats for predictions of a regression.
    """
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = [each for each in answers.classes if isinstance(each, int | float) and each % 1 == 0]
    is_whole = pa.types.is_floating(plain) and len(numbers) == len(answers.classes)
    try:
        classes = pa.array(list(answers.classes)).cast(pa.int64() if is_whole else plain)
    except (pa.ArrowException, TypeError):
        classes = pa.array(answers.names)
    made = classes.to_pylist()
    return pa.array([made[each] for each in decided], classes.type)


def _predictions(judge: Judge, answers: Answers) -> pa.Table:
    """Return a table with a row for each judged row, in the order in which the rows were given."""
    cases, mine, said = answers.cases, answers.mine, dict[str, Any]()
    if mine.chances is not None:
        names = ["score"] if answers.is_binary else [f"score of {each}" for each in answers.names]
        values = mine.chances[:, 1:] if answers.is_binary else mine.chances
        said |= {name: pa.array(np.ascontiguousarray(values[:, place])) for place, name in enumerate(names)}
    for name, each in answers.claims.items():
        if name not in (MODEL, BASELINE) and answers.is_binary and each.chances is not None:
            said[f"score of {name}"] = pa.array(np.ascontiguousarray(each.chances[:, 1]))
    if mine.decided is not None:
        said["predicted"] = _decided(answers, mine.decided, cases.table[cases.target].type)
    return rows_at(judge.predictions(said), np.argsort(cases.places))
