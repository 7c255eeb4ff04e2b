"""The options of the evaluation stages, which share most of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pyarrow as pa

from headrace.errors import UsageError
from headrace.stages.options import Check, Option, Options


def _within(least: float, says: str, hint: str, *, below: float = math.inf) -> Check:
    def check(name: str, value: Any) -> None:
        if not least <= value < below:
            raise UsageError(f"`{name}={value!r}` {says}", hint=hint)

    return check


LEAST = 30
"""The number of rows that a group or slice needs to be judged, if `min_group` isn't given."""


class DrawnOptions(Options, frozen=True, kw_only=True):
    """Options of the bootstrap. They decide how wide intervals are."""

    groups: Annotated[
        str | None,
        Option(
            "a column whose values group dependent rows, such as a day, a customer or a document: resamples draw"
            " whole groups. None draws single rows."
        ),
    ] = None
    confidence: Annotated[
        float,
        Option(
            "the confidence of all intervals, from 0.5 up to 1.",
            _within(0.5, "makes no sense", "give a share, such as 0.95", below=1),
        ),
    ] = 0.95
    resamples: Annotated[
        int,
        Option(
            "the number of bootstrap resamples, at least 100.",
            _within(100, "are too few for an interval", "give 100 or more"),
        ),
    ] = 1000
    seed: Annotated[
        int,
        Option("the seed of all random draws.", _within(0, "makes no sense", "give a whole number from 0")),
    ] = 0


class EvaluationCall(DrawnOptions, frozen=True):
    """The arguments that every evaluation takes: the model and the table."""

    model: Annotated[
        Any,
        Option(
            "a fitted estimator, a LightGBM booster, or any object that your function takes (`predict=`, `generate=`)."
            " None if a column holds the model's output (`scores=`, `texts=`)."
        ),
    ]
    table: Annotated[
        pa.Table,
        Option("the rows to judge the model on. Rows without a target or a reference are left out and counted."),
    ]


class EvaluationOptions(EvaluationCall, frozen=True, kw_only=True):
    """The options that several evaluations share."""

    train: Annotated[
        pa.Table | None,
        Option("the rows that the model was trained on: judged rows that are among them are counted and named."),
    ] = None
    key: Annotated[
        str | Sequence[str] | None,
        Option(
            "the columns that identify a row in `train`. If not given, rows are compared by all columns that both"
            " tables have."
        ),
    ] = None
    baseline: Annotated[
        Any,
        Option(
            "a model to compare with, or a column with its scores or numbers. If not given, the baseline predicts how"
            " frequent each class is, or the mean of the target."
        ),
    ] = None
    previous: Annotated[
        Any,
        Option(
            "the model's previous version, or the result of `registry.find` (if it found none, nothing is compared), or"
            " a column with the previous version's scores or numbers."
        ),
    ] = None
    slices: Annotated[
        str | Sequence[str],
        Option(
            "columns whose values make slices: the model is judged on the rows of each value, and of each pair of"
            " values of two columns."
        ),
    ] = ()
    gates: Annotated[
        str | None,
        Option(
            'the rule that must hold, such as `"AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence"`. If not'
            " given, the model must be better than the baseline with 95% confidence."
            ' `""` means no rule.',
            before="confidence",
        ),
    ] = None
    min_group: Annotated[
        int | None,
        Option(
            "the number of rows that a group or slice needs to be judged, also in the denominator of each rate; 30 if"
            " not given. If given, rules on bias leave smaller groups of people out. If not given, a rule on bias is"
            " undecided where a group was too small to be judged.",
            _within(2, "is so small that it would judge single people", "give 2 or more; 30 is usual"),
            before="seed",
        ),
    ] = None

    @property
    def least(self) -> int:
        """The number of rows that a group or slice needs to be judged."""
        return LEAST if self.min_group is None else self.min_group


class PredictionOptions(EvaluationOptions, frozen=True, kw_only=True):
    """The options of `evaluate.regression`, and most options of `evaluate.classification`."""

    target: Annotated[
        str | None,
        Option(
            "the column with the true values. If not given, it is the column called `target`, `label` or `y`, or the"
            " only column that the model doesn't take."
        ),
    ] = None
    features: Annotated[
        Sequence[str] | None,
        Option(
            "the columns that the model gets. If not given, they are the columns that the model names. If the model"
            " names none, they are all columns that no other option uses."
        ),
    ] = None
    scores: Annotated[Any, Option("a column with the predicted numbers, instead of a model.")] = None
    predict: Annotated[
        Any,
        Option(
            "a function that takes the model and a table of n rows, and returns an array of n numbers. For classes, it"
            " returns n scores of the positive class, or n rows by k classes. None uses the model's own methods."
        ),
    ] = None
    valid: Annotated[
        pa.Table | None,
        Option(
            "validation rows: a threshold is chosen on them. If there is no `train`, the baseline's rates or mean come"
            " from them."
        ),
    ] = None
    train: Annotated[
        pa.Table | None,
        Option(
            "the rows that the model was trained on: judged rows that are among them are counted and named. The"
            " baseline's rates or mean come from them."
        ),
    ] = None
    sensitive: Annotated[
        str | Sequence[str],
        Option(
            "columns that make groups of people, such as sex: rates or errors are compared between the groups of"
            " each column, and of all columns together.",
            before="groups",
        ),
    ] = ()
    robust: Annotated[
        bool,
        Option("whether to disturb each feature in turn and report the change of the main metric.", before="seed"),
    ] = True


class RegressionCall(PredictionOptions, frozen=True, kw_only=True):
    """All options of `evaluate.regression`."""

    scores: str | None = None
    gates: Annotated[
        str | None,
        Option(
            'the rule that must hold, such as `"MAE <= 3 and R2 >= 0.5 with 95% confidence"`. If not given, the MAE'
            ' must be below the baseline\'s with 95% confidence. `""` means no rule.'
        ),
    ] = None


class ClassificationCall(PredictionOptions, frozen=True, kw_only=True):
    """All options of `evaluate.classification`."""

    positive: Annotated[
        Any,
        Option(
            "the positive class. If not given, it is the last of two classes in sorted order. Among more classes, the"
            " positive one is judged against the rest.",
            before="scores",
        ),
    ] = None
    scores: Annotated[
        str | Mapping[Any, str] | None,
        Option(
            'a column with the score of the positive class, or a column for each class (`{"cat": "p_cat", ...}`),'
            " instead of a model."
        ),
    ] = None
    decisions: Annotated[
        str | None,
        Option(
            "a column with the predicted class. If not given, the threshold or the model decides.", before="predict"
        ),
    ] = None
    probabilities: Annotated[
        bool,
        Option(
            "whether scores from 0 to 1 are probabilities. If False, log loss, Brier score and ECE are not measured.",
            before="valid",
        ),
    ] = True
    threshold: Annotated[
        str | float | None,
        Option(
            "the lowest score that is predicted positive: a number, or a rule such as `valid:f1`, which chooses the"
            " number on the `valid` rows. If not given, the model's own `predict` decides; if the model has none, the"
            " threshold is 0.5.",
            before="valid",
        ),
    ] = None


class GenerationCall(EvaluationOptions, frozen=True, kw_only=True):
    """All options of `evaluate.generation`."""

    references: Annotated[
        str, Option("the column with the expected text, or with a list of expected texts, of which the best counts.")
    ]
    texts: Annotated[
        str | None, Option("the column with the texts that the model wrote. If not given, `generate` writes them.")
    ] = None
    prompt: Annotated[str | None, Option("the column with the prompts for `generate`.")] = None
    generate: Annotated[
        Any, Option("a function that takes the model and a list of prompts, and returns a list of texts.")
    ] = None
    baseline: Annotated[
        str | None,
        Option("a column with texts to compare with, such as the base model's. If not given, there is no baseline."),
    ] = None
    previous: Annotated[str | None, Option("a column with the texts of the model's previous version.")] = None
    gates: Annotated[
        str | None,
        Option(
            'the rule that must hold, such as `"token F1 >= 0.5 and chrF > baseline with 95% confidence"`. If not'
            " given, token F1 must be above the baseline's with 95% confidence, if there is a baseline."
            ' `""` means no rule.'
        ),
    ] = None
    min_group: Annotated[
        int,
        Option(
            "the number of rows that a slice needs to be judged.",
            _within(2, "is so small that it would judge single people", "give 2 or more; 30 is usual"),
        ),
    ] = 30


class PairedOptions(DrawnOptions, frozen=True, kw_only=True):
    """The options of `evaluate.paired`."""

    target: Annotated[str, Option("the column with the true class or number.")]
    positive: Annotated[
        Any, Option("the positive class. If not given, it is the last of two classes in sorted order.")
    ] = None
    probabilities: Annotated[
        bool,
        Option(
            "whether both models' scores from 0 to 1 are probabilities. If False, log loss, Brier score and ECE are"
            " not measured."
        ),
    ] = True


class PairedCall(PairedOptions, frozen=True):
    """All arguments of `evaluate.paired`: the predictions of both models, and the options."""

    first: Annotated[pa.Table, Option("the predictions of the first model.")]
    second: Annotated[pa.Table, Option("the predictions of the second model.")]
