"""Whether two runs judged the same rows, and what is sure of their difference."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace

from headrace.inspect.compare.gather import _metrics
from headrace.inspect.compare.paired import are_apart, pair
from headrace.inspect.metrics.metrics import Reading
from headrace.inspect.run_record import Material
from headrace.inspect.views import RunView
from headrace.run.story import Story
from headrace.spec.artifact import Ref, gather
from headrace.spec.graph import Node
from headrace.spec.intent import REPORT
from headrace.spec.stage import Stage
from tests.ledger.samples import blob, task_row


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
    assert not are_apart(mine, predictions([0, 1, 2], list(targets)))
    assert are_apart(mine, predictions([0, 1, 2], [targets[1], targets[0], targets[2]]))


@pytest.mark.parametrize("rows", [[5, 6, 7], [0, 1], [0, 2], [0, 1, 2, 3]])
def test_rows_that_only_one_run_judged_make_them_other_rows(rows: list[int]) -> None:
    targets = [5, 6, 7, 8]
    assert are_apart(predictions([0, 1, 2], targets[:3]), predictions(rows, [targets[row % 4] for row in rows]))


def test_the_type_of_a_target_tells_only_where_it_cannot_be_the_same() -> None:
    whole = predictions([0, 1], [1, 2])
    assert not are_apart(whole, predictions([0, 1], [1.0, 2.0]))
    assert are_apart(whole, predictions([0, 1], ["yes", "no"]))
    assert are_apart(whole, predictions([0, 1], [[1], [2]]))


TARGET = blob("y")
NONE = replace(blob("null"), codec="json", type="builtins.NoneType")


def judged(*, model: str, table: str = "a", target: Ref = TARGET, param: str = "target") -> Material:
    """The record of a run of an evaluation. `param` is the parameter that names the target's column."""
    inputs = [("model", blob(model)), ("table", replace(blob(table), codec="arrow", type="pyarrow.Table"))]
    encoded = encode([(name, ref.identity) for name, ref in (*inputs, (param, target))])
    out = gather([blob("rows"), replace(blob("report"), type=REPORT)], names=("predictions", "report"))
    stage = Stage(name="regression", function="headrace.stages.evaluate._regression:regression")
    return Material(
        view=RunView(
            run=model, pipeline="flow", state="succeeded", created=0.0, seconds=0.0, usd=0.0, params={}, why=""
        ),
        rows={"judge": task_row("judge", inputs=encoded, out=out)},
        story=Story(nodes={"judge": Node("judge", stage.function, ())}, stages={stage.function: stage}),
    )


@pytest.mark.parametrize("param", ["target", "references"])
@pytest.mark.parametrize(("other", "loaded"), [({}, 0), ({"table": "b"}, 2), ({"target": blob("z")}, 2)])
def test_without_pairing_predictions_are_loaded_only_if_the_rows_may_differ(
    param: str, other: dict[str, Any], loaded: int
) -> None:
    refs: list[Ref] = []
    pair(judged(model="a", param=param), judged(model="b", param=param, **other), "judge", refs.append, asked=False)
    assert len(refs) == loaded


def test_a_target_that_the_model_names_may_be_another_one() -> None:
    refs: list[Ref] = []
    pair(judged(model="a", target=NONE), judged(model="b", target=NONE), "judge", refs.append, asked=False)
    assert len(refs) == 2


def test_views_of_text_are_targets_as_texts_are() -> None:
    mine = predictions([0, 1], ["a", "b"], pa.string_view())
    assert not are_apart(mine, predictions([0, 1], ["a", "b"], pa.string_view()))
    assert not are_apart(mine, predictions([0, 1], ["a", "b"]))
    assert are_apart(mine, predictions([0, 1], ["b", "a"]))


ENDS = (None, 0.0, 1.0, 2.0, 3.0)
INTERVALS = [(low, high) for low in ENDS for high in ENDS if low is None or high is None or low <= high]


def test_a_difference_is_sure_only_where_no_end_that_is_not_known_may_change_it() -> None:
    for interval, other in product(INTERVALS, INTERVALS):
        runs = [
            [Reading(task="judge", name="gap", value=1.0 + place, source="report", low=low, high=high, better="lower")]
            for place, (low, high) in enumerate((interval, other))
        ]
        ((_, number),) = (metric.numbers for metric in _metrics(runs, {("judge", "gap")}))
        assert number is not None
        low, high, other_low, other_high = (
            (-9, 9)[place % 2] if end is None else end for place, end in enumerate((*interval, *other))
        )
        is_apart = high < other_low or other_high < low
        assert number.sure == (None if {*interval, *other} == {None} else is_apart), (interval, other)
