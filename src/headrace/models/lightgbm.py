"""LightGBM's models: boosters, and its classes with the methods of scikit-learn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.models.estimator import Estimator
from headrace.models.frames import array_of, check_columns, lightgbm_name, with_missing_truths, without_decimals
from headrace.models.hints import asked, text_columns, to_applied
from headrace.models.scores import INTO, Scores, answers_of, checked, is_probable

BOOSTER = "lightgbm.basic.Booster"
CLASSIFIES = {"binary", "multiclass", "multiclassova"}
"""LightGBM's objectives whose scores are probabilities of classes."""


class LightgbmEstimator(Estimator):
    """A classifier, regressor or ranker of LightGBM. Columns of texts are categories."""

    def given(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return a frame, with categories for texts."""
        frame = _frame(table, columns)
        return frame.astype(dict.fromkeys(text_columns(frame), "category"))


class Booster:
    """A model that `lightgbm.train` or `train.lightgbm` trained. It knows its classes by number only."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def chosen_on(self) -> object:
        """A sketch (a small summary, as text) of the rows that were used to choose the number of rounds. A LightGBM
        model stores the sketch as the name of its validation data."""
        named = self._model.params.get("valid")
        return named[0] if isinstance(named, list) and named else named

    def takes(self, there: Sequence[str]) -> list[str]:
        """Return the names of the model's columns, spelled as in `there`, the columns of a table."""
        known = set(there)
        written = {lightgbm_name(each): each for each in there}
        return [each if each in known else written.get(each, each) for each in self._model.feature_name()]

    def scores(self, table: pa.Table, columns: Sequence[str]) -> Scores:
        """Return the model's scores. They are probabilities if all are from 0 to 1."""
        values = np.asarray(asked(self._model.predict, self._given(table, columns)), np.float64)
        return Scores(checked(values, table.num_rows), probable=is_probable(values), numbered=True)

    def decisions(self, table: pa.Table, columns: Sequence[str]) -> None:
        """Return None: a booster has only scores."""
        del table, columns

    def numbers(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return what the model predicts."""
        values = np.asarray(asked(self._model.predict, self._given(table, columns)), np.float64)
        return checked(values.reshape(len(values), -1)[:, 0] if values.size else values.ravel(), table.num_rows)

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return classes, by number, and their probabilities; or the numbers that the model predicts.

        Raises:
            UsageError: for the same reasons as for `scores`. Or the model gives several scores for each row but learned
                with an objective of the user, so the scores may not be those of classes.
        """
        if self._objective in CLASSIFIES:
            return answers_of(self.scores(table, columns), None, into)
        if self._model.num_model_per_iteration() > 1:
            return answers_of(self.scores(table, columns)._replace(numbered=False), None, into)
        return {into: self.numbers(table, columns)}

    @cached_property
    def _objective(self) -> str:
        found = re.search(r"^objective=(\w+)", self._model.model_to_string(num_iteration=1), re.MULTILINE)
        return "" if found is None else found[1]

    def _given(self, table: pa.Table, columns: Sequence[str]) -> Any:
        check_columns(table, columns)
        if not self._model.pandas_categorical and (array := array_of(table, columns)) is not None:
            return array.astype(np.result_type(array.dtype, np.float32), copy=False)  # as it makes of a frame
        frame = _frame(table, columns)
        return frame.astype(dict.fromkeys(_categories(self._model, frame), "category"))


def _frame(table: pa.Table, columns: Sequence[str]) -> Any:
    shown = without_decimals(table.select(list(columns)))
    return with_missing_truths(shown).to_pandas(ignore_metadata=True)


def _categories(model: Any, frame: Any) -> list[str]:
    """Return the columns that were categories when the model was trained.

    These are all columns of texts, and the columns of numbers that the model lists as categories.

    Raises:
        UsageError: a column holds texts, but held numbers when the model was trained, or the other way round.
    """
    texts = text_columns(frame)
    told = re.search(r"^feature_infos=(.*)$", model.model_to_string(num_iteration=1), re.MULTILINE)
    ranges = told[1].split(" ") if told is not None else []
    if len(ranges) != len(frame.columns):  # LightGBM's own error says which columns are too many, or missing
        return texts
    # For a column of numbers, LightGBM keeps the range, such as `[0:5]`. For a column with only one value, it keeps
    # `none`.
    numeric = [name for name, each in zip(frame.columns, ranges, strict=True) if each.startswith("[")]
    strange = [name for name in texts if name in numeric]
    if strange:
        raise UsageError(
            f"column `{strange[0]}` holds texts, such as `{_first(frame[strange[0]])}`, and the model learned from "
            "numbers there",
            hint=to_applied(strange[0], frame[strange[0]]),
        )
    learned = model.pandas_categorical or []
    coded = [name for name, each in zip(frame.columns, ranges, strict=True) if not each.startswith("[")]
    if len(learned) == len(coded):
        for name, values in zip(coded, learned, strict=True):
            if frame[name].dtype.kind in "iufb" and values and all(isinstance(each, str) for each in values):
                raise UsageError(
                    f"column `{name}` holds numbers, and the model learned from texts there, such as `{values[0]}`",
                    hint=f"`prepare.clean(table, [prepare.Cast(columns={name!r}, type='string')])` makes texts of them",
                )
    return texts if len(texts) >= len(learned) else list(dict.fromkeys([*texts, *coded]))


def _first(column: Any) -> Any:
    known = column.dropna()
    return known.iloc[0] if len(known) else None
