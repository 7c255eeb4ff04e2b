"""Checks that a model gives the same answer for a row in each way of asking: about many rows together, about the row
alone, and about the row alone as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from headrace.errors import DataError, text_of
from headrace.models.answering import Answering
from headrace.models.fitting import table_of
from headrace.spec.signature import Column

MOST_ROWS = 100
"""The most rows that are compared. The model is asked about each of them three times."""
TOLERANCE = 1e-5
"""Two numbers count as equal if they differ by at most this share of the larger number, or by at most `TOLERANCE` if
both numbers are smaller than 1. A network of 32-bit floats rounds differently for many rows than for one row."""


def check_parity(model: Answering, rows: pa.Table, takes: Sequence[Column], tolerance: float = TOLERANCE) -> int:
    """Check that a model gives the same answer for each row alone, for the row alone as JSON, and for all rows
    together. Return how many rows were compared: at most `MOST_ROWS`, spread evenly over `rows`.

    `takes` are the columns that a client sends. If `rows` has columns named like the model's answers, such as
    `predicted`, the answers must equal the values in these columns. `tolerance` says how far two numbers may differ
    (see `TOLERANCE`).

    Raises:
        DataError: there are no rows, the model has no answer, or answers differ. The message names the first column
            that differs, the row, and both values.
    """
    if not rows.num_rows:
        raise DataError("the sample has no rows", hint="give some rows as clients will send them")
    places = np.unique(np.linspace(0, rows.num_rows - 1, MOST_ROWS).astype(np.int64))
    rows = rows.take(pa.array(places))
    together = _answers(model, rows, "for the sample")
    ways: dict[str, Callable[[pa.Table], pa.Table]] = {
        "alone": lambda row: row,
        "alone, as JSON": lambda row: _through_json(row, takes),
    }
    for number, place in enumerate(places):
        whole, row = together[number], rows.slice(number, 1)
        given = {name: row.column(name)[0].as_py() for name in whole if rows.column_names.count(name) == 1}
        if given and takes and not any(column.name in given for column in takes):
            _compare(given, {name: whole[name] for name in given}, place, "in the sample", tolerance)
        for how, form in ways.items():
            (alone,) = _answers(model, form(row), f"for row {place} of the sample {how}")
            _compare(alone, whole, place, how, tolerance)
    return len(places)


def _answers(model: Answering, rows: pa.Table, what: str) -> list[dict[str, Any]]:
    """Return the model's answers, one for each row."""
    try:
        answers: list[dict[str, Any]] = model.answers(rows).beside(rows.num_rows).to_pylist()
    except Exception as error:
        told = f"the model has no answer {what}: {text_of(error)}"
        raise DataError(told, hint=getattr(error, "hint", None)) from error
    return answers


def _through_json(row: pa.Table, takes: Sequence[Column]) -> pa.Table:
    """Return a row as a model process gets it if a client sends it as JSON. Columns that aren't in `takes` are left
    out."""
    sent = [column for column in takes if column.name in row.column_names]
    (values,) = row.select([column.name for column in sent]).to_pylist()
    values = msgspec.json.decode(msgspec.json.encode(values, enc_hook=str))
    return table_of({name: [value] for name, value in values.items()}, sent)


def _compare(one: dict[str, Any], whole: dict[str, Any], place: int, how: str, tolerance: float) -> None:
    """Raise a `DataError` if two answers for the row `place` differ. `how` says how the model was asked for the answer
    `one`. A column that an answer lacks counts as null, since a row that the preparation refuses may have no
    columns."""
    for name in dict.fromkeys([*whole, *one]):
        left, right = one.get(name), whole.get(name)
        if not _is_same(left, right, tolerance):
            raise DataError(
                f"two answers for row {place} of the sample differ: `{name}` is {_shown(left)} {how}, and"
                f" {_shown(right)} together with the other rows",
                hint="the answer for a row must depend only on this row, and only on values that JSON keeps; if the"
                " difference is rounding, give a larger `tolerance=`",
            )


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float | int) and not isinstance(other, bool):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or abs(one - other) <= tolerance * max(1.0, abs(one), abs(other)) or one == other
    return bool(one == other)


def _shown(value: Any) -> str:
    return f"{value!r:.80}"
