"""Claims: the predictions of a model, a baseline or a column for the judged rows, all in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from headrace.errors import UsageError, listed
from headrace.models.frames import check_column
from headrace.models.model import model_of
from headrace.models.scores import Scores, checked, is_probable
from headrace.stages.evaluate._gate.promises import check_judged
from headrace.stages.evaluate.columns import column
from headrace.stages.tables.columns import rows_at

LIKELY_TARGETS = ("target", "label", "y")
EXACT = 2**53
"""Up to this size, floats can represent all whole numbers exactly."""
ROUNDED = 0.00501
"""The largest rounding error of a probability that is rounded to two digits."""


class Cases(NamedTuple):
    """The judged rows: those that have a target.

    `places` are the rows' numbers in the given table, and `given` is the number of all rows of that table. `features`
    are the columns that the model gets. `spare` are the columns that are neither the target nor named by another
    option, such as `groups=`. The model gets the `spare` columns if nothing says what its features are.
    """

    table: pa.Table
    places: Any
    target: str
    features: list[str]
    given: int
    spare: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """The number of judged rows."""
        return int(self.table.num_rows)


class Claim(NamedTuple):
    """The predictions of one model, baseline or column.

    `chances` is an array of n rows by k classes with the score of each class, or None if there are only decisions.
    `probable` is True if the scores are probabilities. `decided` holds n class numbers. If one of two classes is
    positive, `chances[:, 1]` is the score that ranks the rows.
    """

    name: str
    chances: Any | None
    probable: bool
    decided: Any | None


def cases(
    model: Any, table: pa.Table, target: str | None, features: Sequence[str] | None, apart: Sequence[str]
) -> Cases:
    """Return the rows that have a target.

    The columns in `apart` are features only if the model itself names them as features.

    Raises:
        UsageError: a column is missing, no row has a target, or the target column is unknown.
    """
    own = model_of(model).takes(table.column_names)
    name = _target(table, own, apart) if target is None else target
    check_column(table, name)
    spare = [each for each in table.column_names if each != name and each not in apart]
    if features is None:
        features = own or spare
    if name in features:
        raise UsageError(f"the target `{name}` is among the features", hint="leave it out: the model would read it")
    kept = with_target(table, name)
    if not len(kept):
        rows = f"none of the {table.num_rows:,} rows has a target" if table.num_rows else "there are no rows"
        raise UsageError(f"{rows} (`{name}`)", hint="check the outputs of the stages before this one")
    some = table if len(kept) == table.num_rows else rows_at(table, kept)
    return Cases(some, kept, name, list(features), table.num_rows, spare)


def with_target(table: pa.Table, target: str) -> Any:
    """Return the row numbers of the rows whose target is neither null nor NaN.

    Raises:
        UsageError: the table has no such column.
    """
    check_column(table, target)
    return np.flatnonzero(table[target].to_pandas().notna().to_numpy())


def _target(table: pa.Table, features: Sequence[str] | None, apart: Sequence[str]) -> str:
    """Return the name of the target: the column with a name that is usual for targets, or the only column that the
    model doesn't take."""
    usual = [each for each in table.column_names if each.lower() in LIKELY_TARGETS]
    taken = {*(features or table.column_names), *apart}
    rest = [each for each in table.column_names if each not in taken]
    if len(usual) == 1:
        return str(usual[0])
    if len(rest) == 1:
        return str(rest[0])
    names = listed(rest or table.column_names, 20)
    raise UsageError("the target column isn't given", hint=f"give `target=`; it may be one of {names}")


def labels(cases: Cases) -> Any:
    """Return the targets as a NumPy array of Python objects. Floats become integers if all are whole numbers."""
    values = column(cases.table, cases.target)
    if values.dtype.kind == "f" and (values == np.floor(values)).all() and (np.abs(values) <= EXACT).all():
        values = values.astype(np.int64)  # pandas turns a column of whole numbers with missing values into floats
    return np.array([each.item() if isinstance(each, np.generic) else each for each in values], dtype=object)


def classes_told(scores: Scores, values: Any, known: Sequence[Any] = ()) -> list[Any]:
    """Return the classes that the model names, in the order of its score columns. If it names none, return those that
    the target's `values`, `known` and the number of score columns imply.

    Raises:
        UsageError: the target holds a class that the model doesn't know, or values that can't be classes.
    """
    try:
        seen = in_order({*values.tolist(), *known})
    except TypeError as error:  # lists, dictionaries
        raise UsageError(f"the target holds no classes: {error}", hint="give a column of texts or numbers") from error
    if scores.classes is not None:
        found = list(scores.classes)
    else:
        wide = scores.values.shape[1] if scores.values is not None and scores.values.ndim == 2 else 2
        numbered = all(isinstance(each, int | bool) and 0 <= each < wide for each in seen)
        found = list(range(wide)) if numbered and (wide > 2 or len(seen) <= 2) else seen
        if numbered and seen and all(isinstance(each, bool) for each in seen):
            found = [False, True]
    strange = [each for each in seen if each not in found]
    if strange:
        count = int(sum(each == strange[0] for each in values.tolist()))
        raise UsageError(
            f"{count:,} rows are of class `{strange[0]}`, which the model doesn't know",
            hint=f"it knows {', '.join(f'`{each}`' for each in found[:20])}: look at the target's type and values",
        )
    return found


def in_order(classes: Iterable[Any]) -> list[Any]:
    """Return the classes in order: numbers by size, texts by letters, `False` before `True`.

    Raises:
        TypeError: the classes can't be ordered.
    """
    return sorted(classes, key=lambda each: (str(type(each)), each))


def scores_of(
    model: Any,
    cases: Cases,
    scores: str | Mapping[Any, str] | None,
    predict: Callable[..., Any] | None,
) -> Scores:
    """Return a model's predictions. If `scores` names a column, or a column for each class, return the scores in these
    columns instead."""
    if isinstance(scores, str):
        values = checked(_numbers(cases.table, scores), cases.rows)
        return Scores(values, probable=is_probable(values), of_sought=True)
    if scores is not None:
        values = np.stack([_numbers(cases.table, each) for each in scores.values()], axis=1)
        checked(values, cases.rows)
        return Scores(values, classes=list(scores), probable=is_probable(values))
    check_judged(model, scores)
    return model_of(model, predict).scores(cases.table, cases.features)


def _numbers(table: pa.Table, name: str) -> Any:
    values = column(table, name)
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"column `{name}` is `{table.schema.field(name).type}`, and scores are numbers",
            hint="name the column of the scores; `decisions=` takes classes",
        ) from error


def claim(name: str, scores: Scores, classes: Sequence[Any], positive: Any | None) -> Claim:
    """Return scores as a claim, with one column per class.

    If `positive` is given, there are two columns: one for all other classes, and one for the positive class.
    """
    decided = None
    if scores.values is None:
        decided = _places(scores.decided, classes)
        if (decided < 0).any():
            strange = scores.decided[int(np.argmax(decided < 0))]
            raise UsageError(
                f"the model predicts the class `{strange}`, which is none of the classes {listed(classes, 20)}",
                hint="give `predict=` or `scores=`",
            )
        chances = None
    elif scores.values.ndim == 1:
        chances = two_sided(scores.values, probable=scores.probable)
        if scores.of_sought and positive is not None:
            return Claim(name, chances, scores.probable, None)
        if len(classes) != 2:
            raise UsageError(
                f"one score per row is given, but there are {len(classes)} classes",
                hint="give `positive=`, the class of the score, or a score for each class",
            )
        if not (scores.probable or scores.numbered or scores.of_sought):
            decided = (scores.values > 0).astype(int)
    else:
        chances = scores.values
        if chances.shape[1] != len(classes):
            raise UsageError(
                f"the model gives {chances.shape[1]} scores per row, but there are {len(classes)} classes",
                hint="name the columns: `scores={class: column}`",
            )
        decided = chances.argmax(axis=1) if len(classes) > 2 else None
    if positive is None:
        return Claim(name, chances, scores.probable and chances is not None and sums_to_one(chances), decided)
    place = list(classes).index(positive)
    if chances is not None:
        chances = two_sided(chances[:, place], probable=scores.probable)
    if decided is not None:
        decided = (decided == place).astype(int)
    return Claim(name, chances, scores.probable, decided)


def own_decisions(model: Any, cases: Cases, classes: Sequence[Any], positive: Any | None) -> Any | None:
    """Return the model's own decision for each row, as the number of a class. If `positive` is given, the number is 1
    for this class and 0 for all others. Return None if the model has only scores, or predicts something that isn't a
    class."""
    decided = model_of(model).decisions(cases.table, cases.features)
    if decided is None or decided.ndim != 1:
        return None
    places = _places(decided, classes)
    if (places < 0).any():
        return None
    return places if positive is None else (places == list(classes).index(positive)).astype(int)


def _places(decided: Any, classes: Sequence[Any]) -> Any:
    """Return the index of each decision in `classes`, or -1 for a decision that isn't one of the classes."""
    numbers = {each: place for place, each in enumerate(classes)}
    codes, seen = pd.factorize(np.asarray(decided))
    places = [numbers.get(each.item() if isinstance(each, np.generic) else each, -1) for each in seen]
    return np.array([*places, -1])[codes]  # the code of NaN is -1


def sums_to_one(chances: Any) -> bool:
    """Return whether n by k scores can be probabilities of k classes: each row sums to 1, up to rounding."""
    return bool((np.abs(chances.sum(axis=1) - 1) <= ROUNDED * chances.shape[1]).all())


def two_sided(score: Any, *, probable: bool) -> Any:
    """Return n scores of one of two classes as an array of n by 2. The second column has these scores. The first column
    has the other class's scores: 1 minus the score if `probable` is True, otherwise the score with its sign changed."""
    return np.stack([1 - score if probable else -score, score], axis=1)


def aligned(name: str, scores: Scores, classes: Sequence[Any]) -> Scores:
    """Return the scores of a model that is compared with the judged one, with a column for each of the judged model's
    classes.

    A class that the compared model doesn't know gets the lowest score. If the compared model names no classes or has no
    scores, its predictions are returned unchanged. `name` is the name of the compared model in errors.

    Raises:
        UsageError: the compared model knows a class that isn't in `classes`.
    """
    if scores.classes is None or scores.values is None or scores.classes == list(classes):
        return scores
    strange = [each for each in scores.classes if each not in classes]
    if strange:
        raise UsageError(
            f"`{name}` knows a class `{strange[0]}`, which the model that is judged doesn't know",
            hint=f"compare models of the same classes: the judged model knows {listed(classes, 20)}",
        )
    own = scores.values if scores.values.ndim == 2 else two_sided(scores.values, probable=scores.probable)
    values = np.full((len(own), len(classes)), 0.0 if scores.probable else own.min(initial=0.0) - 1)
    values[:, [list(classes).index(each) for each in scores.classes]] = own
    return scores._replace(values=values, classes=list(classes), decided=None)


def constant(rates: Any, rows: int, name: str) -> Claim:
    """Return the claim of a baseline that only knows how frequent each class is."""
    return Claim(name, np.broadcast_to(rates, (rows, len(rates))), True, np.full(rows, int(np.argmax(rates))))
