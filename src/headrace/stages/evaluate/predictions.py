"""The predictions of a model of any library: scores of classes, or numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.classes import is_a
from headrace.errors import UsageError, listed, sentence
from headrace.stages.tables.columns import (
    APPLIED,
    TWICE,
    lightgbm_name,
    to_applied,
    to_whole,
    with_missing_truths,
    without_decimals,
)

BOOSTER = "lightgbm.basic.Booster"
NETWORK = "headrace.stages.train._torch.network.Network"
"""The class of the models of `train.torch`. They take tables, and have the methods of scikit-learn's estimators."""


class Scores(NamedTuple):
    """The predictions of a classifier for n rows.

    `values` is an array of n scores, or of n by k scores. It is None if the model returns only decisions. If each row
    has one score, this is the score of the second of two classes. With `of_sought`, it is the score of the positive
    class instead. `classes` has the class of each column, or is None if the model doesn't name its classes. `probable`
    is True if the scores are probabilities. `decided` has the model's own decisions, or None.
    """

    values: Any
    classes: list[Any] | None = None
    probable: bool = True
    decided: Any = None
    of_sought: bool = False


def features_of(model: Any, table: pa.Table) -> list[str] | None:
    """Return the names of those columns of a table that a model takes, or None if the model doesn't name its
    columns."""
    if is_a(model, BOOSTER):
        written = {lightgbm_name(each): each for each in table.column_names}
        there = set(table.column_names)
        return [each if each in there else written.get(each, each) for each in model.feature_name()]
    if is_a(model, NETWORK):
        return list(model.lesson.shown)
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(each) for each in names]


def classes_of(
    model: Any, table: pa.Table, features: Sequence[str], predict: Callable[..., Any] | None = None
) -> Scores:
    """Return the predictions of a classifier for rows.

    Raises:
        UsageError: the model can't predict the rows, or returns something that isn't a number.
    """
    if predict is not None:
        values = np.asarray(predict(model, table), np.float64)
        return Scores(checked(values, table.num_rows), probable=is_probable(values), of_sought=True)
    frame = frame_of(model, table, features)
    if is_a(model, BOOSTER):
        values = np.asarray(_call(model.predict, frame), np.float64)
        return Scores(checked(values, table.num_rows), probable=is_probable(values))
    classes = [_plain(each) for each in getattr(model, "classes_", [])] or None
    if hasattr(model, "predict_proba"):
        values = checked(np.asarray(_call(model.predict_proba, frame), np.float64), table.num_rows)
        return Scores(values, classes=classes)
    if hasattr(model, "decision_function"):
        values = checked(np.asarray(_call(model.decision_function, frame), np.float64), table.num_rows)
        if values.ndim == 1:
            return Scores(values, classes=classes, probable=False, decided=values > 0)
        return Scores(values, classes=classes, probable=False)
    if hasattr(model, "predict"):
        return Scores(None, classes=classes, probable=False, decided=np.asarray(_call(model.predict, frame)))
    raise _strange(model)


def numbers_of(model: Any, table: pa.Table, features: Sequence[str], predict: Callable[..., Any] | None = None) -> Any:
    """Return the predictions of a regressor for rows: an array of n numbers.

    Raises:
        UsageError: the model can't predict the rows, or returns something that isn't a number.
    """
    if predict is not None:
        return checked(np.asarray(predict(model, table), np.float64), table.num_rows)
    if not hasattr(model, "predict"):
        raise _strange(model)
    values = np.asarray(_call(model.predict, frame_of(model, table, features)), np.float64)
    return checked(values.reshape(len(values), -1)[:, 0] if values.size else values.ravel(), table.num_rows)


def frame_of(model: Any, table: pa.Table, features: Sequence[str]) -> Any:
    """Return the rows in the form in which the model was trained: a frame with names, an array, or a table."""
    for name in features:
        check_column(table, name)
    if is_a(model, NETWORK):
        return table
    shown = without_decimals(table.select(list(features)))
    is_lightgbm = is_a(model, BOOSTER) or type(model).__module__.startswith("lightgbm.")
    frame = (with_missing_truths(shown) if is_lightgbm else shown).to_pandas(ignore_metadata=True)
    if is_lightgbm:
        return frame.astype(dict.fromkeys(_categories(model, frame), "category"))
    expected = getattr(model, "n_features_in_", None)
    if expected is not None and getattr(model, "feature_names_in_", None) is None:
        if expected != len(frame.columns):
            raise UsageError(
                f"the model takes {expected} columns, and {len(frame.columns)} are given: {', '.join(features)}",
                hint="name them, in the model's order: `features=[...]`",
            )
        return frame.to_numpy()
    return frame


def _categories(model: Any, frame: Any) -> list[str]:
    """Return the columns that were categories when a LightGBM model was trained.

    These are all columns of texts, and the columns of numbers that the model lists as categories.

    Raises:
        UsageError: a column holds texts where the model learned from numbers, or numbers where the model learned from
            texts.
    """
    texts = _texts(frame)
    if not is_a(model, BOOSTER):
        return texts
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


def _texts(frame: Any) -> list[str]:
    return [name for name in frame.columns if str(frame[name].dtype) in ("object", "str", "string")]


def _first(column: Any) -> Any:
    known = column.dropna()
    return known.iloc[0] if len(known) else None


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


def column(table: pa.Table, name: str) -> Any:
    """Return a column as a NumPy array.

    Raises:
        UsageError: the table has no such column.
    """
    check_column(table, name)
    return table[name].to_pandas().to_numpy()


def check_column(table: pa.Table, name: str) -> None:
    """Refuse the name of a column that a table doesn't have.

    Raises:
        UsageError: the table has no such column, or has two of this name. The error says which columns the table has.
    """
    there = len(table.schema.get_all_field_indices(name))
    if there == 1:
        return
    if there > 1:
        raise UsageError(f"the table has two columns `{name}`", hint=TWICE)
    near = difflib.get_close_matches(name, table.column_names, 1)
    names = listed(table.column_names, 20)
    raise UsageError(
        f"the table has no column `{name}`", hint=f"did you mean `{near[0]}`?" if near else f"it has {names}"
    )


def check_values(table: pa.Table, name: str) -> None:
    """Refuse a column whose values can't group rows.

    Raises:
        UsageError: there is no such column, or it holds lists or other nested values.
    """
    check_column(table, name)
    kind = table.schema.field(name).type
    if pa.types.is_nested(kind):
        raise UsageError(
            f"column `{name}` is `{kind}`, so rows can't be grouped by it",
            hint="name a column of texts, numbers or dates",
        )


def _call(method: Callable[..., Any], frame: Any) -> Any:
    try:
        return method(frame)
    except Exception as error:  # the model is the user's
        raise UsageError(f"the model can't predict these rows: {sentence(error)}", hint=_mend(error, frame)) from error


def _mend(error: Exception, frame: Any) -> str:
    """Return a hint on what to do about an error that a model raised when it predicted the rows in `frame`."""
    if any(each.__name__ == "NotFittedError" for each in type(error).__mro__):  # scikit-learn's, LightGBM's
        return "give the model that was trained, such as `model` of what `train.sklearn` returned"
    if hasattr(frame, "columns"):
        times = [name for name in frame.columns if str(frame[name].dtype).startswith(("datetime", "timedelta"))]
        if times:
            return f"`{times[0]}` holds times: give it as the model learned it, as numbers"
        gaps = [name for name in frame.columns if frame[name].isna().any()]
        if gaps and "NaN" in str(error):
            return f"values are missing in {listed(gaps, 5)}: {APPLIED}; if not, {to_whole(frame, gaps[:5])}"
        texts = _texts(frame)
        if texts and "string" in str(error):
            return f"`{texts[0]}` holds texts: {to_applied(texts[0], frame[texts[0]])}"
    return "are the columns those that it learned from, with their types? `features=[...]` names them"


def is_probable(values: Any) -> bool:
    """Return whether all scores are from 0 to 1."""
    return bool(((values >= 0) & (values <= 1)).all())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _strange(model: Any) -> UsageError:
    return UsageError(
        f"a `{type(model).__name__}` has no `predict`",
        hint="give `predict=`, a function of the model and a table that returns an array; or `scores=`, a column",
    )
