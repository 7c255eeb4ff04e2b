"""The predictions of a model for rows, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headrace.errors import UsageError


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
