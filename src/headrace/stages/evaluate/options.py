"""The options of the evaluations, which share most of them."""

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
"""How many rows a group or slice needs to be judged, where that isn't told."""


class DrawnOptions(Options, frozen=True, kw_only=True):
    """How sure numbers are: by resamples of the rows."""

    groups: Annotated[
        str | None,
        Option("a column of what is drawn as one in a resample, such as a day, a customer or a document."),
    ] = None
    confidence: Annotated[
        float,
        Option("that of all intervals.", _within(0.5, "makes no sense", "give a share, such as 0.95", below=1)),
    ] = 0.95
    resamples: Annotated[
        int,
        Option("how many bootstrap resamples.", _within(100, "are too few for an interval", "give 100 or more")),
    ] = 1000
    seed: Annotated[
        int,
        Option("what is drawn by chance is drawn by this.", _within(0, "makes no sense", "give a whole number from 0")),
    ] = 0


class EvaluationCall(DrawnOptions, frozen=True):
    """What each evaluation is called with."""

    model: Annotated[
        Any,
        Option(
            "a fitted estimator, a LightGBM booster, or what a function of yours takes (`predict=`, `generate=`); None"
            " where a column has what it says (`scores=`, `texts=`)."
        ),
    ]
    table: Annotated[
        pa.Table,
        Option("the rows to judge by. Those without a target, or without a reference, are left out, and counted."),
    ]


class EvaluationOptions(EvaluationCall, frozen=True, kw_only=True):
    """The options of each evaluation."""

    train: Annotated[
        pa.Table | None,
        Option("the rows that the model learned from: those judged that stand among them are counted and named."),
    ] = None
    key: Annotated[
        str | Sequence[str] | None,
        Option("the columns that tell a row for that; all columns that both tables have."),
    ] = None
    baseline: Annotated[
        Any,
        Option(
            "a model, or a column with its scores or numbers; the rates of the classes, or the mean of the target, if"
            " not told."
        ),
    ] = None
    previous: Annotated[
        Any,
        Option(
            "the model's previous version, as it is or as `registry.find` gave it (nothing is compared where that found"
            " none); or a column with its scores or numbers."
        ),
    ] = None
    slices: Annotated[str | Sequence[str], Option("columns to look at the model by, each and in pairs.")] = ()
    gates: Annotated[
        str | None,
        Option(
            'what must hold, such as `"AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence"`. Not told, the model'
            ' must be surely better than the baseline. `""` asks nothing.',
            before="confidence",
        ),
    ] = None
    min_group: Annotated[
        int | None,
        Option(
            "how many rows a group or slice needs to be judged, and each rate of those that it is a share of; 30 if"
            " not told. Told, smaller groups of people are left out of rules on bias; if not, such a rule is undecided"
            " while one wasn't judged.",
            _within(2, "is so small that it would judge single people", "give 2 or more; 30 is usual"),
            before="seed",
        ),
    ] = None

    @property
    def least(self) -> int:
        """How many rows a group or slice needs to be judged."""
        return LEAST if self.min_group is None else self.min_group


class PredictionOptions(EvaluationOptions, frozen=True, kw_only=True):
    """The options of `evaluate.regression`, and most of `evaluate.classification`."""

    target: Annotated[
        str | None,
        Option(
            "the column with what is true. Not told, it is the column called `target`, `label` or `y`, or the only one"
            " that the model doesn't take."
        ),
    ] = None
    features: Annotated[
        Sequence[str] | None,
        Option("the columns that the model is shown; its own where it tells, else all that have no other use here."),
    ] = None
    scores: Annotated[Any, Option("a column with the numbers predicted.")] = None
    predict: Annotated[
        Any,
        Option(
            "a function of the model and a table that returns an array: n numbers; of classes n scores of the positive"
            " one, or n by classes."
        ),
    ] = None
    valid: Annotated[
        pa.Table | None,
        Option(
            "rows to choose the threshold on, and to take the baseline's rates or mean from where there is no `train`."
        ),
    ] = None
    train: Annotated[
        pa.Table | None,
        Option(
            "the rows that the model learned from: those judged that stand among them are counted and named, and the"
            " baseline takes its rates or mean from them."
        ),
    ] = None
    sensitive: Annotated[
        str | Sequence[str],
        Option("columns of groups of people, each and together, whose rates or errors are compared.", before="groups"),
    ] = ()
    robust: Annotated[
        bool,
        Option("whether to disturb each feature and see what becomes of the main metric.", before="seed"),
    ] = True


class RegressionCall(PredictionOptions, frozen=True, kw_only=True):
    """What `evaluate.regression` is called with."""

    scores: str | None = None
    gates: Annotated[
        str | None,
        Option(
            'what must hold, such as `"MAE <= 3 and R2 >= 0.5 with 95% confidence"`. Not told, the MAE must be surely'
            ' below the baseline\'s. `""` asks nothing.'
        ),
    ] = None


class ClassificationCall(PredictionOptions, frozen=True, kw_only=True):
    """What `evaluate.classification` is called with."""

    positive: Annotated[
        Any,
        Option(
            "the class to look for; the last of two in their order. Of more classes, it against the rest.",
            before="scores",
        ),
    ] = None
    scores: Annotated[
        str | Mapping[Any, str] | None,
        Option('a column with the score of the positive class, or a column for each class (`{"cat": "p_cat", ...}`).'),
    ] = None
    decisions: Annotated[
        str | None,
        Option("a column with the class that was decided for, where no threshold does that.", before="predict"),
    ] = None
    probabilities: Annotated[
        bool,
        Option(
            "whether scores from 0 to 1 are probabilities; if not, log loss and calibration are not looked at.",
            before="valid",
        ),
    ] = True
    threshold: Annotated[
        str | float | None,
        Option(
            "from which score on a row is predicted positive: a number, or a rule such as `valid:f1`, which is applied"
            " to `valid` rows only; 0.5 if not told.",
            before="valid",
        ),
    ] = None


class GenerationCall(EvaluationOptions, frozen=True, kw_only=True):
    """What `evaluate.generation` is called with."""

    references: Annotated[
        str, Option("the column with what was expected: a text, or a list of texts of which the best counts.")
    ]
    texts: Annotated[str | None, Option("the column with what the model wrote.")] = None
    prompt: Annotated[str | None, Option("the column that `generate` is given.")] = None
    generate: Annotated[Any, Option("a function of the model and a list of prompts that gives a list of texts.")] = None
    baseline: Annotated[
        str | None,
        Option("a column with texts to stand beside, such as the base model's. Without it there is none."),
    ] = None
    previous: Annotated[str | None, Option("a column with the texts of the model's previous version.")] = None
    gates: Annotated[
        str | None,
        Option(
            'what must hold, such as `"token F1 >= 0.5 and chrF > baseline with 95% confidence"`. Not told, token F1'
            ' must be surely above the baseline\'s, if there is one. `""` asks nothing.'
        ),
    ] = None
    min_group: Annotated[
        int,
        Option(
            "how many rows a slice needs to be told of.",
            _within(2, "is so small that it would judge single people", "give 2 or more; 30 is usual"),
        ),
    ] = 30


class PairedOptions(DrawnOptions, frozen=True, kw_only=True):
    """The options of `evaluate.paired`."""

    target: Annotated[str, Option("the column with the true class or number.")]
    positive: Annotated[Any, Option("the class to look for, the last of two in their order if not told.")] = None
    probabilities: Annotated[
        bool,
        Option(
            "whether scores from 0 to 1 are probabilities, of both; if not, log loss and calibration are not looked at."
        ),
    ] = True


class PairedCall(PairedOptions, frozen=True):
    """What `evaluate.paired` is called with."""

    first: Annotated[pa.Table, Option("predictions of the one model.")]
    second: Annotated[pa.Table, Option("predictions of the other.")]
