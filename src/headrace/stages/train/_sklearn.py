"""`train.sklearn`: a scikit-learn estimator, fitted to a table."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from headrace.define.log import log
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError, sentence
from headrace.models.hints import APPLIED, UNITS, are_numbers, to_numbers, to_whole
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.tables.columns import listed
from headrace.stages.train.examples import Examples, check_classes, examples, in_valid
from headrace.stages.train.signed import sign

MOST_NAMED = 5
"""The most columns to name in a hint."""
CURVES = {
    "loss_curve_": "train/loss",
    "train_score_": "train/score",
    "validation_score_": "valid/score",
    "validation_scores_": "valid/score",
}
"""The attributes in which scikit-learn's iterative estimators keep their curves, and the names under which the curves
are logged."""


class Fitted(NamedTuple):
    """The output of `train.sklearn`.

    `model` is the fitted estimator. `report` says to which rows and columns the model was fitted, and which scores the
    model has on these rows.
    """

    model: Any
    report: Report


def _check(given: Mapping[str, Any]) -> None:
    estimator = given.get("estimator")
    if estimator is not None and not callable(estimator) and not hasattr(estimator, "fit"):
        raise _no_estimator(estimator)


@ready("train.sklearn", version=3, on=("sklearn",), kind="train", name="sklearn", check=_check)
def sklearn(
    estimator: Any,
    table: pa.Table,
    *,
    target: str,
    features: str | Sequence[str] | None = None,
    sample_weight: str | None = None,
    valid: pa.Table | None = None,
    scoring: str | Sequence[str] | None = None,
) -> Fitted:
    """Fit an estimator to a table. Return the fitted estimator and a report.

    Args:
        estimator: an estimator that isn't fitted, such as `LogisticRegression(C=0.5)` or a `Pipeline`; or a function or
            class that returns one when called without arguments. The estimator gets the features as a pandas
            `DataFrame`.
        table: the rows to learn from.
        target: the column to predict, in which no value may be missing.
        features: the columns to predict from; by default all other columns.
        sample_weight: a column with the weight of each row (0 or more).
        valid: more rows to score the model on.
        scoring: names of scikit-learn's scorers, such as `["roc_auc", "neg_log_loss"]`; by default the estimator's own
            score (accuracy, or R²). Scores are logged as `train/NAME` and `valid/NAME`.

    Raises:
        DataError: a column is missing; the table is empty; targets are missing, infinite, or all of one class; weights
            are missing, infinite, negative, or all 0; the estimator can't use the columns; or a scorer can't use the
            rows.
        UsageError: `estimator` is not an estimator, or there is no such scorer.
    """
    from sklearn.base import clone, is_classifier, is_regressor  # noqa: PLC0415  0.5 s, which the tracer saves

    found = examples(table, target, features, sample_weight)
    model = clone(_estimator(estimator))
    if is_classifier(model):
        check_classes(found, target)
    elif is_regressor(model) and found.target.dtype.kind in "OUST":
        raise DataError(
            f"the target `{target}` holds `{found.target[0]}`, and `{type(model).__name__}` learns numbers",
            hint=f"{to_numbers([target]) if are_numbers(found.target) else UNITS}; or take a classifier",
        )
    try:
        model.fit(found.features, found.target, **_weights(model, found))
    except (TypeError, ValueError) as error:  # estimators raise these for unusable columns or parameters
        raise DataError(
            f"`{type(model).__name__}` can't be fitted: {sentence(error)}",
            hint=f"{_mend(str(error), found.features)}; a step of a scikit-learn `Pipeline` can do so too, or name "
            "other columns by `features=`",
        ) from error
    for name, step, value in _curves(model):
        log(name, value, step)
    scores = dict(_scores(model, found, "train", scoring))
    if valid is not None:
        with in_valid(valid):
            held = examples(valid, target, list(found.features))
        scores |= dict(_scores(model, held, "valid", scoring))
    for name, value in scores.items():
        log(name, value)
    sign(model, table, list(found.features))
    return Fitted(model, _report(model, found, target, scores))


def _estimator(given: Any) -> Any:
    made = given if hasattr(given, "fit") and not isinstance(given, type) else given() if callable(given) else given
    if not hasattr(made, "fit"):
        raise _no_estimator(made)
    return made


def _no_estimator(given: Any) -> UsageError:
    return UsageError(
        f"`estimator` is a `{type(given).__name__}`, which has no `fit`",
        hint="give an estimator of scikit-learn, or a function that makes one",
    )


def _mend(problem: str, features: Any) -> str:
    """Return a hint on what to do about an error of scikit-learn. The error itself doesn't name the columns that caused
    it."""
    times = [name for name in features if features[name].dtype.kind in "mM"][:MOST_NAMED]
    if times:
        return f"{_ticked(times)} holds times: make numbers of them, such as days since a date, in `prepare.transform`"
    if "NaN" in problem:
        empty = [name for name in features if features[name].isna().all()][:MOST_NAMED]
        if empty:
            return f"{_ticked(empty)} holds no value at all, so it can't be filled: check the earlier stages"
        gaps = [name for name in features if features[name].isna().any()][:MOST_NAMED]
        if gaps:
            return f"values are missing in {_ticked(gaps)}: {to_whole(features, gaps)}"
    if "string" in problem:
        texts = [name for name in features if features[name].dtype.kind == "O"][:MOST_NAMED]
        if texts:
            numeric = [name for name in texts if are_numbers(features[name])]
            encoder = f"an encoder, such as `OneHotEncoder`, takes categories, and {UNITS}"
            helps = to_numbers(numeric) if numeric else encoder
            return f"there are no numbers in {_ticked(texts)}: {helps}"
    return "correct the columns in an earlier stage"


def _ticked(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _weights(model: Any, found: Examples) -> dict[str, Any]:
    """Return the weights as an argument of the estimator's `fit`. For a pipeline, the argument's name begins with the
    name of the last step."""
    if found.weight is None:
        return {}
    steps = getattr(model, "steps", None)
    return {f"{steps[-1][0]}__sample_weight" if steps else "sample_weight": found.weight}


def _curves(model: Any) -> Iterator[tuple[str, int, float]]:
    steps = getattr(model, "steps", None)
    learner = steps[-1][1] if steps else model
    losses = hasattr(learner, "n_estimators_")  # `GradientBoosting...` keep a loss in `train_score_`, others a score
    for attribute, name in CURVES.items():
        values = getattr(learner, attribute, None)
        if values is not None:
            told = "train/loss" if losses and attribute == "train_score_" else name
            yield from ((told, step, float(value)) for step, value in enumerate(values))


def _scores(model: Any, found: Examples, part: str, scoring: str | Sequence[str] | None) -> Iterator[tuple[str, float]]:
    from sklearn.base import is_classifier  # noqa: PLC0415  see above
    from sklearn.metrics import get_scorer  # noqa: PLC0415

    if scoring is None:
        if hasattr(model, "score"):
            own = "accuracy" if is_classifier(model) else "score"
            yield f"{part}/{own}", _scored(model.score, model, found, f"{part}/{own}")
        return
    for name in listed(scoring):
        try:
            scorer = get_scorer(name)
        except ValueError as error:
            raise UsageError(
                f"scikit-learn has no scorer `{name}`", hint="`sklearn.metrics.get_scorer_names()` lists them"
            ) from error
        yield f"{part}/{name}", _scored(functools.partial(scorer, model), model, found, f"{part}/{name}")


def _scored(score: Callable[[Any, Any], Any], model: Any, found: Examples, name: str) -> float:
    from sklearn.exceptions import UndefinedMetricWarning  # noqa: PLC0415  see above

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)  # the report says that it is undefined
            return float(score(found.features, found.target))
    except (AttributeError, TypeError, ValueError) as error:  # raised for unusable rows
        alike = f"; {APPLIED}" if name.startswith("valid/") else ""
        raise DataError(
            f"`{name}` of `{type(model).__name__}` can't be computed: {sentence(error)}",
            hint=f"look at `scoring=`, and at the rows that are scored: {_mend(str(error), found.features)}{alike}",
        ) from error


def _report(model: Any, found: Examples, target: str, scores: dict[str, float]) -> Report:
    rows, columns = found.features.shape
    parameters = {name: repr(value) for name, value in model.get_params(deep=False).items()}
    return Report(
        title=type(model).__name__,
        about=f"Fitted to {rows:,} rows of {columns} features, to predict `{target}`.",
        facts=(
            Fact(name="rows", value=rows),
            Fact(name="features", value=columns),
            *[_fact(name, value) for name, value in scores.items()],
        ),
        grids=(Grid(title="Parameters", columns=("parameter", "value"), rows=tuple(parameters.items())),),
        limits=("The scores are too good on rows that the model learned from: `evaluate` judges on others.",),
    )


def _fact(name: str, value: float) -> Fact:
    if math.isfinite(value):
        return Fact(name=name, value=value, better="higher")
    return Fact(name=name, value=None, better="higher", why="scikit-learn gives no number for these rows")
