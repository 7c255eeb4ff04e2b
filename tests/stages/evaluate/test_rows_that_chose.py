"""Rows that told a training when to stop are no rows to judge its model by, and whoever does it is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.codec.codecs import Codecs
from headrace.stages import evaluate, train
from headrace.stages.tables.sketch import KEPT, digests, read, sketch
from headrace.store.folder.folder import FolderStore

CHOSE = "rows seen in validation"
NAMES = ["age", "hours", "work"]


def people(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    age, hours = random.normal(40, 10, rows), random.normal(38, 5, rows)
    rich = random.random(rows) < 1 / (1 + np.exp(-(age - 40) / 5))
    return pa.table({"age": age, "hours": hours, "work": random.choice([*"abc"], rows), "rich": rich, "income": age})


def boosted(valid: pa.Table, *, stopping_rounds: int | None = 5) -> Any:
    return train.lightgbm(
        {"objective": "binary", "num_threads": 1},
        people(500, 1),
        target="rich",
        features=NAMES,
        valid=valid,
        num_boost_round=20,
        stopping_rounds=stopping_rounds,
    )


def judged(model: Any, table: pa.Table, **options: Any) -> evaluate.Classification:
    return evaluate.classification(model, table, target="rich", resamples=100, robust=False, **options)


@pytest.mark.parametrize("rows", [200, 2000])
def test_a_model_that_is_judged_by_the_rows_that_stopped_it_does_not_pass(rows: int, tmp_path: Path) -> None:
    store, codecs = FolderStore(tmp_path / "store"), Codecs()
    valid, fresh = people(rows, 2), people(rows, 3)
    model = codecs.load(codecs.save(boosted(valid).model, store), store)
    found = judged(model, valid)
    assert not found.passed
    assert found.metrics[CHOSE] == rows
    assert f"{rows:,} of the {rows:,} rows judged may have been among the {rows:,} that chose" in found.report.about
    assert judged(model, valid, gates="").passed
    assert judged(model, valid, gates=f"AUC >= 0.5 and {CHOSE} <= {rows}").passed
    other = judged(model, fresh)
    assert other.passed
    assert other.metrics[CHOSE] == 0
    assert "may have been" not in other.report.about


def test_how_many_of_the_rows_judged_stopped_the_model_is_estimated_where_they_are_many() -> None:
    valid = people(4000, 2)
    found = judged(boosted(valid), pa.concat_tables([people(1000, 3), valid.slice(0, 2000)]))
    assert not found.passed
    assert 1500 < found.metrics[CHOSE] < 2500
    assert "About " in found.report.about


def test_rows_that_chose_nothing_are_not_held_against_a_model() -> None:
    valid = people(300, 2)
    found = judged(boosted(valid, stopping_rounds=None), valid)
    assert found.passed
    assert CHOSE not in found.metrics


def test_a_regression_by_the_rows_that_stopped_it_does_not_pass() -> None:
    valid = people(300, 2)
    model = train.lightgbm(
        {"objective": "regression", "num_threads": 1},
        people(500, 1),
        target="income",
        features=NAMES,
        valid=valid,
        stopping_rounds=5,
    )
    found = evaluate.regression(model, valid, target="income", resamples=100, robust=False)
    assert (found.passed, found.metrics[CHOSE]) == (False, 300)
    assert evaluate.regression(model, people(300, 3), target="income", resamples=100, robust=False).passed


def test_a_network_says_by_which_rows_its_epoch_was_chosen() -> None:
    pytest.importorskip("torch", reason="PyTorch isn't there")
    from torch import nn

    def trained(patience: int | None) -> Any:
        return train.torch(
            partial(nn.Linear, 2, 2),
            people(300, 1).drop_columns(["work", "income"]),
            target="rich",
            valid=people(200, 2).drop_columns(["work", "income"]),
            patience=patience,
            epochs=2,
        )

    valid = people(200, 2)
    made = sketch(valid, ["age", "hours"])
    assert made is not None
    assert trained(1).model.chosen_on == made.text()
    assert judged(trained(1), valid).metrics[CHOSE] == 200
    assert not trained(None).model.chosen_on


def test_rows_that_are_alike_anyway_are_told_only_where_the_table_is_the_same() -> None:
    random = np.random.default_rng(4)

    def few(rows: int) -> pa.Table:
        columns = {name: random.choice([*"abc"], rows) for name in ("one", "two")}
        return pa.table({**columns, "rich": (columns["one"] == "a") ^ (random.random(rows) < 0.2)})

    valid = few(400)
    params = {"objective": "binary", "num_threads": 1, "min_data_in_leaf": 5}
    model = train.lightgbm(params, few(400), target="rich", valid=valid, stopping_rounds=5)
    assert judged(model, valid).metrics[CHOSE] == 400
    assert judged(model, few(500)).metrics[CHOSE] == 0


def test_a_sketch_is_read_as_it_was_written_and_what_is_none_is_passed_over() -> None:
    table = people(1000, 5)
    made = sketch(table, NAMES)
    assert made is not None
    assert (made.rows, made.different, len(made.digests)) == (1000, 1000, KEPT)
    found = read(made.text())
    assert found is not None
    assert found[:2] == made[:2]
    assert np.array_equal(found.digests, made.digests)
    for text in (
        "",
        "valid.csv",
        "headrace.rows.",
        "headrace.rows.1.x.AAAA",
        "headrace.rows.1.1.A",
        "headrace.rows.0.0.",
        None,
        3,
    ):
        assert read(text) is None
    assert sketch(table.slice(0, 0), NAMES) is None
    assert sketch(pa.table({"x": [[1, 2], [3]]}), ["x"]) is None


def test_a_row_has_one_digest_whatever_type_holds_its_values() -> None:
    flags = [True, False, True]
    forms = [pa.array(flags), pa.array([1, 0, 1]), pa.array([1.0, 0.0, 1.0]), pa.array([*flags, None])]
    found = [digests(pa.table({"x": each}), ["x"])[:3].tolist() for each in forms]
    assert found == [found[0]] * 4


def test_a_model_whose_features_a_function_makes_says_nothing_of_the_rows_that_stopped_it() -> None:
    learned, valid, rows = (people(count, seed) for count, seed in ((500, 1), (300, 2), (300, 3)))
    made = [each.append_column("square", pc.power(each["age"], 2)) for each in (learned, valid)]
    params = {"objective": "regression", "num_threads": 1}
    features = ["age", "square"]
    model = train.lightgbm(params, made[0], target="income", features=features, valid=made[1], stopping_rounds=5)

    def predict(booster: Any, table: pa.Table) -> Any:
        frame = table.append_column("square", pc.power(table["age"], 2)).select(features).to_pandas()
        return booster.predict(frame)

    found = evaluate.regression(model, rows, target="income", predict=predict, resamples=100)
    assert CHOSE not in found.metrics
