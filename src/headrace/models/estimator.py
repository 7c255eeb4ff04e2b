"""Models with the methods of scikit-learn: its own estimators, and classes of a project that have these methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.codec.classes import describe
from headrace.errors import UsageError
from headrace.models.frames import array_of, check_columns, without_decimals
from headrace.models.hints import asked
from headrace.models.scores import INTO, Scores, answers_of, as_numbers, checked

_BY_PLACE = (
    "sklearn.discriminant_analysis.",
    "sklearn.ensemble._forest.",
    "sklearn.linear_model.",
    "sklearn.naive_bayes.",
    "sklearn.neighbors.",
    "sklearn.neural_network.",
    "sklearn.svm.",
    "sklearn.tree.",
)
"""The parts of scikit-learn whose models use columns by their position. Such a model uses the columns' names only to
check them."""
_COMPOSED = "RANSACRegressor"
"""A model in these parts that passes its rows on to another model, which may be of any kind."""
_BY_PROBABILITY = {
    "lightgbm.sklearn.LGBMClassifier": 0.0,
    "sklearn.ensemble._forest.ExtraTreesClassifier": 0.0,
    "sklearn.ensemble._forest.RandomForestClassifier": 0.0,
    "sklearn.linear_model._logistic.LogisticRegression": 1e-9,
}
"""Classifiers whose decision is the class with the highest probability, so that `predict` need not be called too -> by
how much this probability must be higher than all others. Logistic regression doesn't compare probabilities, but the
numbers from which it computes them, and two different numbers may give equal probabilities."""


class Rows:
    """Rows for a model, in each form that the model may take. A form is made when it is first needed."""

    def __init__(self, model: Estimator, table: pa.Table, columns: Sequence[str]) -> None:
        check_columns(table, columns)
        self.count = table.num_rows
        self.table = table
        self.columns = columns
        self._model = model

    @cached_property
    def given(self) -> Any:
        """The rows in the form in which the model was trained."""
        return self._model.given(self.table, self.columns)

    @cached_property
    def array(self) -> Any | None:
        """The rows as an array, if all columns hold numbers; or None."""
        return array_of(self.table, self.columns)


class Estimator:
    """A model that has `predict`, and perhaps `predict_proba` or `decision_function`.

    The model gets rows in the form that it learned from: a pandas frame or an array. There is one exception: a model
    that learned from a frame, but uses columns by their position, gets an array if the columns are those that it
    learned from. For a few rows, making a frame would take longer than predicting.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._nameless = _without_names(model)
        self._lead = _BY_PROBABILITY.get(describe(type(model)))
        if self._lead is not None and callable(getattr(model, "_objective", None)):
            self._lead = None  # with an objective of the user, LightGBM's classifier has only scores

    @property
    def chosen_on(self) -> object:
        """An empty text: these models don't store which rows were used to choose how long they were trained."""
        return ""

    def takes(self, there: Sequence[str]) -> list[str] | None:
        """Return the names of the columns that the model learned from. Return None if it learned from an array."""
        del there
        names = getattr(self._model, "feature_names_in_", None)
        return None if names is None else [str(each) for each in names]

    def scores(self, table: pa.Table, columns: Sequence[str]) -> Scores:
        """Return probabilities if the model has them, else scores of its classes, else decisions."""
        return self._scores(Rows(self, table, columns))

    def decisions(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the model's `predict` returns for rows. A column vector becomes an array of n values."""
        return self._decisions(Rows(self, table, columns))

    def numbers(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the model predicts. If it predicts several numbers for a row, return the first of them."""
        values = as_numbers(self.decisions(table, columns))
        return checked(values.reshape(len(values), -1)[:, 0] if values.size else values.ravel(), table.num_rows)

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return the model's own decisions and the scores of classes, or the numbers that the model predicts."""
        rows = Rows(self, table, columns)
        scores = self._scores(rows)
        own = scores.decided
        if own is None and self._lead is not None:
            own = self._most_probable(scores)
        return answers_of(scores, self._decisions(rows) if own is None else own, into)

    def given(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return rows in the form in which the model was trained: a frame with names, or an array."""
        frame = without_decimals(table.select(list(columns))).to_pandas(ignore_metadata=True)
        expected = getattr(self._model, "n_features_in_", None)
        if expected is None or getattr(self._model, "feature_names_in_", None) is not None:
            return frame
        if expected != len(frame.columns):
            raise UsageError(
                f"the model takes {expected} columns, and {len(frame.columns)} are given: {', '.join(columns)}",
                hint="name the columns that the model takes, in the model's order: `features=[...]`",
            )
        return frame.to_numpy()

    def _scores(self, rows: Rows) -> Scores:
        model = self._model
        classes = [_plain(each) for each in getattr(model, "classes_", [])] or None
        if hasattr(model, "predict_proba"):
            return Scores(checked(as_numbers(self._asked("predict_proba", rows)), rows.count), classes=classes)
        if hasattr(model, "decision_function"):
            values = checked(as_numbers(self._asked("decision_function", rows)), rows.count)
            if values.ndim == 1 or classes is None or values.shape[1] == len(classes):
                return Scores(values, classes=classes, probable=False)
        return Scores(None, classes=classes, probable=False, decided=self._decisions(rows))

    def _most_probable(self, scores: Scores) -> Any | None:
        """Return the class with the highest probability for each row. Return None if the model's own decision may be
        another class."""
        values = scores.values
        if values is None or values.ndim != 2 or values.shape[1] < 2:
            return None
        highest = np.partition(values, -2, axis=1)[:, -2:]
        is_sure = (highest[:, 1] - highest[:, 0] >= self._lead).all()
        return self._model.classes_[values.argmax(axis=1)] if is_sure else None

    def _decisions(self, rows: Rows) -> Any:
        if not hasattr(self._model, "predict"):
            raise _strange(self._model)
        values = self._asked("predict", rows, np.asarray)
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def _asked(self, method: str, rows: Rows, made: Callable[[Any], Any] = lambda values: values) -> Any:
        """Call a method of the model with rows, and return its result after converting it by `made`."""
        nameless = self._nameless
        if nameless is not None and [*nameless[1]] == [*rows.columns] and rows.array is not None:
            with suppress(Exception):  # what is wrong is told by the model itself, which knows the columns' names
                return made(getattr(nameless[0], method)(rows.array))
        return asked(lambda given: made(getattr(self._model, method)(given)), rows.given)


def _without_names(model: Any) -> tuple[Any, list[str]] | None:
    """Return a copy of a model that takes arrays instead of frames, and the names of the arrays' columns in order.
    Return None if the model may use columns by their names, or if it has no names."""
    kind = type(model)
    names = vars(model).get("feature_names_in_") if hasattr(model, "__dict__") else None
    if names is None or not describe(kind).startswith(_BY_PLACE) or kind.__name__ == _COMPOSED:
        return None
    nameless = copy.copy(model)
    del nameless.feature_names_in_  # or it would warn that an array has none
    return nameless, [str(name) for name in names]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _strange(model: Any) -> UsageError:
    return UsageError(
        f"a `{type(model).__name__}` has no `predict`",
        hint="give `predict=`, a function that takes the model and a table and returns an array; or, if a column of the"
        " table has the scores, `scores=` with the name of this column",
    )
