"""Whether two runs judged the same rows."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from headrace.inspect.compare.paired import are_apart


def predictions(rows: list[int], target: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"row": rows, "target": pa.array(target, kind), "predicted": [0.0] * len(rows)})


@pytest.mark.parametrize(
    "targets",
    [
        [["a", "b"], [], None],
        [{"x": 1, "y": "a"}, {"x": 2, "y": None}, None],
        [1.0, math.nan, None],
        [[1.0], [math.nan], None],
        ["a", "b", None],
    ],
)
def test_targets_of_every_type_are_told_from_others(targets: list[object]) -> None:
    mine = predictions([0, 1, 2], targets)
    assert not are_apart(mine, predictions([2, 1, 7, 0], [targets[2], targets[1], targets[0], targets[0]]))
    assert are_apart(mine, predictions([0, 1, 2], [targets[1], targets[0], targets[2]]))


def test_rows_of_no_common_number_are_others() -> None:
    assert are_apart(predictions([0, 1], [1, 2]), predictions([5, 6], [1, 2]))


def test_the_type_of_a_target_tells_only_where_it_cannot_be_the_same() -> None:
    whole = predictions([0, 1], [1, 2])
    assert not are_apart(whole, predictions([0, 1], [1.0, 2.0]))
    assert are_apart(whole, predictions([0, 1], ["yes", "no"]))
    assert are_apart(whole, predictions([0, 1], [[1], [2]]))


def test_views_of_text_are_targets_as_texts_are() -> None:
    mine = predictions([0, 1], ["a", "b"], pa.string_view())
    assert not are_apart(mine, predictions([1, 0], ["b", "a"], pa.string_view()))
    assert are_apart(mine, predictions([0, 1], ["b", "a"]))
