"""A model that answers otherwise for one row than for many, or for JSON than for a table, is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import pyarrow as pa
import pytest

from headrace.errors import DataError, UsageError
from headrace.models.answering import Answering
from headrace.models.model import Model
from headrace.models.parity import MOST_ROWS, check_parity
from headrace.spec.signature import Column

TAKES = (Column(name="x", type="double"),)
ROWS = pa.table({"x": [float(number) for number in range(250)], "note": ["no column of the model"] * 250})


class Own:
    """A model that answers by a function of the values of `x`."""

    def __init__(self, function: Callable[[list[Any]], list[Any]]) -> None:
        self.asked: list[int] = []
        self._function = function

    def takes(self, there: Sequence[str]) -> list[str]:
        return ["x"]

    def answers(self, table: pa.Table, columns: Sequence[str], into: str) -> dict[str, Any]:
        self.asked.append(table.num_rows)
        return {into: pa.array(self._function(table.column("x").to_pylist()))}


def parity(function: Callable[[list[Any]], list[Any]], rows: pa.Table = ROWS, tolerance: float = 1e-5) -> int:
    return check_parity(Answering(cast("Model", Own(function)), None, None), rows, TAKES, tolerance)


def test_a_model_that_answers_each_row_by_itself_passes_and_few_rows_are_asked() -> None:
    own = Own(lambda values: [2 * x for x in values])
    assert check_parity(Answering(cast("Model", own), None, None), ROWS, TAKES) == MOST_ROWS
    assert own.asked == [MOST_ROWS, *[1] * (2 * MOST_ROWS)]
    assert parity(lambda values: [f"class {x}" for x in values], ROWS.slice(0, 3)) == 3


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda values: [x - sum(values) / len(values) for x in values],
         "two answers for row 0 of the sample differ: `predicted` is 0.0 alone, and -1.0 together with the other rows"),
        (lambda values: [str(len(values) > 1)] * len(values), "differ: `predicted` is 'False' alone"),
        (lambda values: [x * (1 + 1e-4 * (len(values) == 1)) for x in values], "`predicted` is 1.0001 alone"),
        (lambda values: [1 / (len(values) - 1)] * len(values),
         "the model has no answer for row 0 of the sample alone: ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_an_answer_that_depends_on_other_rows_is_told_with_its_row_and_both_values(
    function: Callable[[list[Any]], list[Any]], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        parity(function, ROWS.slice(0, 3))


def test_numbers_may_differ_by_the_tolerance() -> None:
    def rounding(values: list[float]) -> list[float]:
        return [x * (1 + 1e-4 * (len(values) == 1)) for x in values]

    assert parity(rounding, ROWS.slice(0, 3), tolerance=1e-3) == 3


def test_what_json_loses_is_told() -> None:
    rows = pa.table({"x": [1.0, math.nan]})
    with pytest.raises(
        DataError, match=r"row 1 of the sample differ: `predicted` is -1.0 alone, as JSON, and nan together"
    ):
        parity(lambda values: [-1.0 if x is None else x for x in values], rows)
    assert parity(lambda values: [math.nan if x is None else x for x in values], rows) == 2


def test_the_answers_that_the_sample_has_must_be_the_models_own() -> None:
    rows = pa.table({"x": [1.0, 2.0], "predicted": [2.0, 4.5]})
    with pytest.raises(
        DataError, match=r"row 1 of the sample differ: `predicted` is 4.5 in the sample, and 4.0 together"
    ):
        parity(lambda values: [2 * x for x in values], rows)
    assert parity(lambda values: [x + x * x / 2 + (x < 2) / 2 for x in values], rows.slice(0, 1)) == 1


def test_a_sample_without_rows_or_answers_is_told() -> None:
    with pytest.raises(DataError, match="the sample has no rows"):
        parity(lambda values: values, ROWS.slice(0, 0))

    def refuses(values: list[Any]) -> list[Any]:
        raise UsageError("no such planes", hint="send others")

    with pytest.raises(DataError, match="the model has no answer for the sample: no such planes"):
        parity(refuses)
