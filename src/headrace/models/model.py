"""The interface of a model of any kind, and the choice of the kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyarrow as pa

from headrace.codec.classes import is_a
from headrace.models.estimator import Estimator
from headrace.models.lightgbm import BOOSTER, Booster, LightgbmEstimator
from headrace.models.network import NETWORK, Network
from headrace.models.scores import INTO, Scores, as_numbers, checked, is_probable


class Model(Protocol):
    """A trained model, which answers for rows of a table."""

    @property
    def chosen_on(self) -> object:
        """A sketch (a small summary, as text) of the rows that were used to choose how long the model was trained.
        Empty or None if the model has no sketch."""
        ...

    def takes(self, there: Sequence[str]) -> list[str] | None:
        """Return the names of the columns that the model takes, spelled as in `there`, the columns of a table. Return
        None if the model doesn't name its columns."""
        ...

    def scores(self, table: pa.Table, columns: Sequence[str]) -> Scores:
        """Return the predictions of a classifier for rows, made from these columns.

        Raises:
            UsageError: a column is missing, the model can't predict the rows, or it returns something that isn't a
                number.
        """
        ...

    def decisions(self, table: pa.Table, columns: Sequence[str]) -> Any | None:
        """Return the model's own decisions for rows, such as the class of each row. Return None if the model has only
        scores.

        Raises:
            UsageError: a column is missing, or the model can't predict the rows.
        """
        ...

    def numbers(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return the predictions of a regressor for rows, made from these columns: an array of n numbers.

        Raises:
            UsageError: for the same reasons as for `scores`.
        """
        ...

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return the predictions for rows as columns by name, whatever the model predicts. The column with the name in
        `into` has the class or number of each row. For each class, a column has its scores: if `into` is `predicted`,
        the column for the class `late` is `predicted_late`.

        Raises:
            UsageError: for the same reasons as for `scores`.
        """
        ...


def model_of(model: Any, predict: Callable[..., Any] | None = None) -> Model:
    """Return a trained model as a `Model`. If `predict` is given, the predictions are those of this function, which is
    called with the model and a table."""
    if predict is not None:
        return Called(model, predict)
    if is_a(model, BOOSTER):
        return Booster(model)
    if is_a(model, NETWORK):
        return Network(model)
    if type(model).__module__.startswith("lightgbm."):
        return LightgbmEstimator(model)
    return Estimator(model)


class Called:
    """A model with the user's own function to predict. For each row, the function returns a number or the score of the
    positive class."""

    def __init__(self, model: Any, predict: Callable[..., Any]) -> None:
        self._own = model_of(model)
        self._model = model
        self._predict = predict

    @property
    def chosen_on(self) -> object:
        """The model's own sketch."""
        return self._own.chosen_on

    def takes(self, there: Sequence[str]) -> list[str] | None:
        """Return which of the columns `there` the wrapped model takes, or None if it doesn't say so."""
        return self._own.takes(there)

    def scores(self, table: pa.Table, columns: Sequence[str]) -> Scores:
        """Return what the function returns for the table, checked."""
        del columns
        values = as_numbers(self._predict(self._model, table))
        return Scores(checked(values, table.num_rows), probable=is_probable(values), of_sought=True)

    def decisions(self, table: pa.Table, columns: Sequence[str]) -> None:
        """Return None: the function returns scores."""
        del table, columns

    def numbers(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the function returns for the table, checked."""
        del columns
        return checked(as_numbers(self._predict(self._model, table)), table.num_rows)

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return one column, `into`, with what the function returns for the table."""
        return {into: self.numbers(table, columns)}
