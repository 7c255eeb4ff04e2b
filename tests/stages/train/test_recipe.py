"""What of a training is judged before anything runs, and how its columns are named."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import TraceError, UsageError
from headrace.stages import train
from headrace.stages.train._torch.target import lesson


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"epochs": 1.5}, "`epochs` is 1.5"),
        ({"precision": "half"}, "`precision` is 'half'"),
        ({"checkpoint_every": "often"}, "`checkpoint_every`"),
        ({"clip_norm": "1"}, "`clip_norm` is '1'"),
        ({"on_nonfinite": "pass"}, "`on_nonfinite`"),
        ({"scheduler_every": "batch"}, "`scheduler_every`"),
        ({"log_every": 0}, "`log_every` is 0"),
        ({"warmup_steps": -1}, "`warmup_steps` is -1"),
        ({"seed": -1}, "`seed` is -1"),
    ],
)
@pytest.mark.parametrize("stage", [partial(train.torch, list), partial(train.finetune, "no_model")])
def test_options_that_make_no_sense_are_told_where_they_are_given(
    stage: Any, option: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as told:
        stage(pa.table({"x": [1.0], "y": [0]}), target="y", **option)
    assert told.value.hint


@pytest.mark.parametrize(
    ("stage", "given", "hint"),
    [
        (partial(train.torch, list), {"learning_rate": 0.1}, "it takes model, table, target, "),
        (partial(train.torch, list), {"epoch": 3}, "did you mean `epochs`?"),
        (partial(train.finetune, "no_model"), {"batchsize": 3}, "did you mean `batch_size`?"),
    ],
)
def test_a_misspelt_parameter_is_told_where_it_is_given(stage: Any, given: dict[str, Any], hint: str) -> None:
    with pytest.raises(TraceError, match=f"has no parameter `{next(iter(given))}`") as told:
        stage(pa.table({"x": [1.0], "y": [0]}), target="y", **given)
    assert hint in (told.value.hint or "")


def test_a_module_that_is_made_already_is_told_where_it_is_given() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="`model` is a `Linear`"):
        train.torch(torch.nn.Linear(1, 2), pa.table({"x": [1.0], "y": [0]}), target="y")


def test_a_number_of_processes_that_is_none_is_told_where_it_is_given() -> None:
    with pytest.raises(UsageError, match="`procs` is '2'"):
        train.torch(list, pa.table({"x": [1.0], "y": [0]}), target="y", procs="2")  # type: ignore[arg-type]


def test_a_task_that_there_isnt_is_told_where_it_is_given() -> None:
    with pytest.raises(UsageError, match="`task` is 'regress'"):
        train.finetune("no_model", pa.table({"x": [1.0]}), target="x", task="regress")


def test_a_single_column_may_be_named_without_a_list() -> None:
    table = pa.table({"pixels": [[1.0, 2.0], [3.0, 4.0]], "age": [1.0, 2.0], "digit": [0, 1]})
    assert lesson(table, "digit", "pixels", None).columns == lesson(table, "digit", ["pixels"], None).columns
    assert lesson(table, "digit", "age", None).columns == lesson(table, "digit", ["age"], None).columns
