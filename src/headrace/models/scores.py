"""The predictions of a model for rows, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headrace.errors import UsageError, sentence

INTO = "predicted"
"""The column for the class or number that a model predicts, as `train.predict` names it too."""


class Scores(NamedTuple):
    """The predictions of a classifier for n rows.

    `values` is an array of n scores, or of n by k scores. It is None if the model returns only decisions. If each row
    has one score, this is the score of the second of two classes. With `of_sought`, it is the score of the positive
    class instead. `classes` has the class of each column, or is None if the model doesn't name its classes. `probable`
    is True if the scores are probabilities. `decided` has the decisions of a model that returns no scores, or None. If
    `numbered`, the model knows its classes only by their numbers, from 0.
    """

    values: Any
    classes: list[Any] | None = None
    probable: bool = True
    decided: Any = None
    of_sought: bool = False
    numbered: bool = False


def as_numbers(values: Any) -> Any:
    """Convert what a model returned to an array of floats, and return this array.

    Raises:
        UsageError: the model returned something that isn't an array of numbers.
    """
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:  # such as a list with an array of another shape for each target
        raise UsageError(
            f"the model's answers aren't an array of numbers: {sentence(error)}",
            hint="the model must give one number per row, or one per row and class; if you predict several targets,"
            " train several models",
        ) from error


def checked(values: Any, rows: int) -> Any:
    """Return the predictions unchanged. Refuse them unless there is a finite number for each row.

    Raises:
        UsageError: the shape is wrong, or a number is missing or infinite.
    """
    if values.ndim not in (1, 2) or len(values) != rows:
        raise UsageError(
            f"the model gives {'x'.join(map(str, values.shape)) or 'one'} values for {rows:,} rows",
            hint="the model must give one number per row, or one per row and class",
        )
    strange = ~np.isfinite(values if values.ndim == 1 else values.sum(axis=1))
    if strange.any():
        first = int(np.flatnonzero(strange)[0])
        raise UsageError(
            f"the model gives no number for {int(strange.sum()):,} of {rows:,} rows; the first is row {first:,}",
            hint="check that row for missing values",
        )
    return values


def is_probable(values: Any) -> bool:
    """Return whether all scores are from 0 to 1."""
    return bool(((values >= 0) & (values <= 1)).all())


def answers_of(scores: Scores, decisions: Any | None, into: str) -> dict[str, Any]:
    """Return predictions as columns by name. The column with the name in `into` has the decision for each row. If the
    scores are of classes, each class has a column of scores: if `into` is `predicted`, the column for the class `late`
    is `predicted_late`.

    `decisions` has the model's own decisions. If `decisions` is None, the decision is the class with the highest score.
    Of two classes, this is the second one if its probability is at least 0.5, or if its score is above 0. For a model
    that only ranks rows, the result is one column of scores.

    Raises:
        UsageError: the model predicts several values for each row. Or it makes no decisions, and gives several scores
            for each row that aren't the scores of its classes.
    """
    if decisions is not None and decisions.ndim != 1:
        wide = "x".join(map(str, decisions.shape[1:])) or "no"
        raise UsageError(
            f"the model predicts {wide} values for each row", hint="let the model predict one value for each row"
        )
    chosen, columns = _of_classes(scores, into)
    if decisions is None and chosen is None:
        wide = scores.values.shape[1]
        told = "names none of its classes" if scores.classes is None else f"names {len(scores.classes)} classes"
        raise UsageError(
            f"the model gives {wide} scores for each row, and {told}",
            hint="wrap the model in a class of your own that has `predict`",
        )
    return {into: chosen if decisions is None else decisions, **columns}


def _of_classes(scores: Scores, into: str) -> tuple[Any | None, dict[str, Any]]:
    """Return a pair: the decisions that follow from the scores (None if none follow), and the columns with the scores
    of classes."""
    values, classes = scores.values, scores.classes
    if values is None:
        return None, {}
    if scores.numbered and classes is None:
        classes = list(range(values.shape[1] if values.ndim == 2 else 2)) if scores.probable else None
    if values.ndim == 1 and scores.probable and classes is not None:
        values = np.stack([1 - values, values], 1)
    if values.ndim == 1:
        if classes is None or len(classes) != 2:
            return values, {}
        return np.asarray(classes)[(values > 0).astype(int)], {f"{into}_{classes[1]}": values}
    if classes is None or len(classes) != values.shape[1]:
        return None, {}
    best = values.argmax(1) if len(classes) != 2 else (values[:, 1] >= values[:, 0]).astype(int)
    columns = {f"{into}_{name}": values[:, place] for place, name in enumerate(classes)}
    return np.asarray(classes)[best], columns
