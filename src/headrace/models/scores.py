"""The predictions of a model for rows, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headrace.errors import UsageError

INTO = "predicted"
"""The column for the class or number that a model predicts, as `train.predict` names it too."""


class Scores(NamedTuple):
    """The predictions of a classifier for n rows.

    `values` is an array of n scores, or of n by k scores. It is None if the model returns only decisions. If each row
    has one score, this is the score of the second of two classes. With `of_sought`, it is the score of the positive
    class instead. `classes` has the class of each column, or is None if the model doesn't name its classes. `probable`
    is True if the scores are probabilities. `decided` has the model's own decisions, or None. If `numbered`, the model
    knows its classes only by their numbers, from 0.
    """

    values: Any
    classes: list[Any] | None = None
    probable: bool = True
    decided: Any = None
    of_sought: bool = False
    numbered: bool = False


def checked(values: Any, rows: int) -> Any:
    """Return the predictions unchanged. Refuse them unless there is a finite number for each row.

    Raises:
        UsageError: the shape is wrong, or a number is missing or infinite.
    """
    if values.ndim not in (1, 2) or len(values) != rows:
        raise UsageError(
            f"the model gives {'x'.join(map(str, values.shape)) or 'one'} values for {rows:,} rows",
            hint="it must give one number per row, or one per row and class",
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


def answers_of(scores: Scores, into: str) -> dict[str, Any]:
    """Return scores as columns: `into` with the decision for each row, and `into_CLASS` with the score of each class.

    Of two classes, the second is decided for if its probability is at least a half, or its score is above 0. A model
    that only ranks rows gives one column of scores.

    Raises:
        UsageError: the model gives several values for each row, and doesn't say of which classes.
    """
    values, classes = scores.values, scores.classes
    if values is None:
        decided = scores.decided
        if decided.ndim != 1:
            raise UsageError(f"the model predicts {decided.shape[1]} values for each row", hint="predict one at a time")
        return {into: decided}
    if scores.numbered and classes is None:
        classes = list(range(values.shape[1] if values.ndim == 2 else 2)) if scores.probable else None
    if values.ndim == 1 and scores.probable and classes is not None:
        values = np.stack([1 - values, values], 1)
    if values.ndim == 1:
        if classes is None or len(classes) != 2:
            return {into: values}
        return {into: np.asarray(classes)[(values > 0).astype(int)], f"{into}_{classes[1]}": values}
    if classes is None or len(classes) != values.shape[1]:
        raise UsageError(f"the model gives {values.shape[1]} scores for each row, and doesn't name its classes")
    best = values.argmax(1) if len(classes) != 2 else (values[:, 1] >= values[:, 0]).astype(int)
    columns = {f"{into}_{name}": values[:, place] for place, name in enumerate(classes)}
    return {into: np.asarray(classes)[best], **columns}
