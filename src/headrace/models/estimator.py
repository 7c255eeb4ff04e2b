"""Models with the methods of scikit-learn: its own estimators, and classes of a project that have these methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.models.frames import check_columns, without_decimals
from headrace.models.hints import asked
from headrace.models.scores import INTO, Scores, answers_of, as_numbers, checked


class Estimator:
    """A model that has `predict`, and perhaps `predict_proba` or `decision_function`.

    It gets a pandas frame, or an array if it learned from an array.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def chosen_on(self) -> object:
        """Empty: these models don't store which rows chose how long they were trained."""
        return ""

    def takes(self, there: Sequence[str]) -> list[str] | None:
        """Return the names of the columns that the model learned from. Return None if it learned from an array."""
        del there
        names = getattr(self._model, "feature_names_in_", None)
        return None if names is None else [str(each) for each in names]

    def scores(self, table: pa.Table, columns: Sequence[str]) -> Scores:
        """Return probabilities if the model has them, else scores of its classes, else decisions."""
        model, frame = self._model, self._given(table, columns)
        classes = [_plain(each) for each in getattr(model, "classes_", [])] or None
        if hasattr(model, "predict_proba"):
            values = checked(as_numbers(asked(model.predict_proba, frame)), table.num_rows)
            return Scores(values, classes=classes)
        if hasattr(model, "decision_function"):
            values = checked(as_numbers(asked(model.decision_function, frame)), table.num_rows)
            if values.ndim == 1 or classes is None or values.shape[1] == len(classes):
                return Scores(values, classes=classes, probable=False)
        return Scores(None, classes=classes, probable=False, decided=self.decisions(table, columns))

    def decisions(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the model's `predict` returns for rows. A column vector becomes an array of n values."""
        if not hasattr(self._model, "predict"):
            raise _strange(self._model)
        values = asked(lambda frame: np.asarray(self._model.predict(frame)), self._given(table, columns))
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def numbers(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the model predicts. If it predicts several numbers for a row, return the first of them."""
        values = as_numbers(self.decisions(table, columns))
        return checked(values.reshape(len(values), -1)[:, 0] if values.size else values.ravel(), table.num_rows)

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return the model's own decisions and the scores of classes, or the numbers that the model predicts."""
        scores = self.scores(table, columns)
        own = self.decisions(table, columns) if scores.decided is None else scores.decided
        return answers_of(scores, own, into)

    def _given(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return the rows in the form in which the model was trained: a frame with names, or an array."""
        check_columns(table, columns)
        frame = without_decimals(table.select(list(columns))).to_pandas(ignore_metadata=True)
        expected = getattr(self._model, "n_features_in_", None)
        if expected is None or getattr(self._model, "feature_names_in_", None) is not None:
            return frame
        if expected != len(frame.columns):
            raise UsageError(
                f"the model takes {expected} columns, and {len(frame.columns)} are given: {', '.join(columns)}",
                hint="name them, in the model's order: `features=[...]`",
            )
        return frame.to_numpy()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _strange(model: Any) -> UsageError:
    return UsageError(
        f"a `{type(model).__name__}` has no `predict`",
        hint="give `predict=`, a function of the model and a table that returns an array; or `scores=`, a column",
    )
