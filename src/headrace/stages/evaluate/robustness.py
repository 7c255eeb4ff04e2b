"""Robustness: how much worse a model is if a feature is missing, shifted or shuffled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError, listed, sentence
from headrace.models.frames import check_column
from headrace.report.numbers import number
from headrace.spec.report import Cell, Grid
from headrace.stages.evaluate.claims import Cases
from headrace.stages.tables.columns import rows_at

ROWS = 5_000
FEATURES = 20
REASONS = 3
"""At most this many of the reasons why rows were refused are shown."""
Predict = Callable[[Any, pa.Table], Any]
Measure = Callable[[pa.Table, Any, Predict | None], float | None]


def robustness(
    cases: Cases, measure: Measure, metric: str, *, predict: Predict | None, features: Sequence[str] | None, seed: int
) -> Grid:
    """Return a grid with the change of a metric when one feature at a time is disturbed, in up to 5,000 rows.

    `measure` takes the changed table, the numbers of its rows, and the function that predicts. It returns the metric,
    or None where the metric is undefined. It raises a `UsageError` if the model refuses the rows. `predict` is the
    user's function, or None. `features` are the features that the user named, or None. If the table lacks features that
    the model names, these aren't disturbed, since only `predict` can make them.

    Raises:
        UsageError: the table has no column of a name in `features`.
    """
    for name in features or ():
        check_column(cases.table, name)
    there = [name for name in cases.features if name in cases.table.column_names]
    absent = [name for name in cases.features if name not in cases.table.column_names]
    disturbed = there or list(cases.spare)
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(cases.rows, min(ROWS, cases.rows), replace=False))
    some = rows_at(cases.table, rows)
    plain = measure(some, rows, predict)
    reasons: dict[str, None] = {}
    found: list[tuple[Cell, ...]] = []
    for name in disturbed[:FEATURES]:
        column = some[name]
        shuffled = rows_at(some.select([name]), random.permutation(len(column))).column(0)
        empty = pa.chunked_array([pa.nulls(len(column), column.type)])
        moved = _shifted(column) if _is_number(column) else None
        place = some.column_names.index(name)
        changes = []
        for other in (empty, moved, shuffled):
            if other is None:
                changes.append("")
                continue
            try:
                changed = some.set_column(place, some.schema.field(place), other)
                changes.append(_change(measure(changed, rows, predict and _careful(predict)), plain))
            except UsageError as error:
                reasons.setdefault(str(error))
                changes.append("refused")
        found.append((name, *changes))
    more = f" The first {FEATURES} of {len(disturbed)} features." if len(disturbed) > FEATURES else ""
    return Grid(
        title=f"Robustness: the change of {metric}",
        columns=("feature", "missing", "shifted", "shuffled"),
        rows=tuple(found),
        note=f"The change of {metric} from {number(plain)} on {len(rows):,} rows when one feature is missing in all of"
        f" them, is higher by one standard deviation, or is shuffled among them.{more}{_refused(list(reasons))}"
        f"{_not_disturbed(absent, is_guess=not there)}",
    )


def _careful(predict: Predict) -> Predict:
    """Return a function that calls the user's function, and raises a `UsageError` in place of any other exception.

    This is done only for disturbed rows, since the user's function may rightly refuse rows that don't occur in the
    data.
    """

    def predicted(model: Any, table: pa.Table) -> Any:
        try:
            return np.asarray(predict(model, table), np.float64)
        except Exception as error:  # the function is the user's
            told = f"{type(error).__name__}: {sentence(error)}"
            raise UsageError(f"`predict` can't predict these rows: {told}") from error

    return predicted


def _change(value: float | None, plain: float | None) -> str:
    if value is None or plain is None:
        return "undefined"
    change = number(value - plain, max(3, 3 - math.floor(math.log10(abs(plain))) if plain else 3))
    return change if change.startswith("-") else f"+{change}"


def _refused(reasons: Sequence[str]) -> str:
    """Return a sentence with the reasons why disturbed rows were refused. It is empty if no row was refused."""
    if not reasons:
        return ""
    more = f"; and {len(reasons) - REASONS} more reasons" if len(reasons) > REASONS else ""
    return f" Refused: {'; '.join(each.rstrip('.') for each in reasons[:REASONS])}{more}."


def _not_disturbed(absent: Sequence[str], *, is_guess: bool) -> str:
    """Return sentences on the model's features that the table lacks (`absent`). The result is empty if the table has
    all features. `is_guess` is True if it has none of them, so that other columns were disturbed instead."""
    if not absent:
        return ""
    instead = " The columns without another use were disturbed instead." if is_guess else ""
    return (
        f" Not disturbed, since the table has no such column: {listed(absent, FEATURES)}.{instead}"
        " `features=` names the columns to disturb."
    )


def _is_number(column: Any) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _shifted(column: Any) -> Any:
    """Return numbers moved up by one standard deviation.

    Whole numbers are moved by a whole number, and only as far as their type allows.
    """
    values = column.to_pandas()
    spread = float(values.std(skipna=True))
    step = spread if np.isfinite(spread) and spread > 0 else 1.0
    if pa.types.is_integer(column.type):
        whole = max(1, round(step))
        moved = values.clip(upper=np.iinfo(column.type.to_pandas_dtype()).max - whole) + whole
        return pa.chunked_array([pa.Array.from_pandas(moved, type=column.type, safe=False)])
    return pa.chunked_array([pa.Array.from_pandas(values + step, type=column.type, safe=False)])
