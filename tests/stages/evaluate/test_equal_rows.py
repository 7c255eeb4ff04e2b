"""Rows of coarse columns are often equal by chance: what an evaluation then refuses must be a leak."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.errors import UsageError
from headrace.stages import evaluate, train
from headrace.stages.evaluate.leaks import by_chance, leaks
from headrace.stages.tables.sketch import read

SEEN, CHOSE = "rows seen in training", "rows seen in validation"


def visits(rows: int, seed: int, *, kinds: int = 60) -> pa.Table:
    """Return rows of whole ages, towns and scores: few kinds of rows, each with an id of its own."""
    random = np.random.default_rng(seed)
    age, town = random.integers(0, kinds, rows), random.choice([*"abcdefgh"], rows)
    late = random.random(rows) < 0.2 + 0.6 * (age > kinds / 2)
    return pa.table(
        {
            "id": np.arange(rows) + 1_000_000 * seed,
            "age": age,
            "months": age * 12,  # a column that another one determines is no further evidence
            "town": town,
            "late": late,
            "p": 0.2 + 0.6 * (age > kinds / 2),
        }
    )


def judged(table: pa.Table, train: pa.Table, **options: Any) -> evaluate.Classification:
    drop = [] if "key" in options else ["id"]
    given = {"target": "late", "scores": "p", "resamples": 100, "gates": "AUC >= 0.6", **options}
    return evaluate.classification(None, table.drop_columns(drop), train=train.drop_columns([*drop, "p"]), **given)


def test_a_good_model_passes_though_rows_of_coarse_columns_are_equal_by_chance() -> None:
    found = judged(visits(300, 1), visits(400, 2))
    assert found.metrics[SEEN] > 60
    assert found.passed
    assert "trained on" not in found.report.about
    assert any("This tells nothing, since chance explains up to" in each for each in found.report.limits)


def test_a_coarse_table_that_is_judged_by_its_own_rows_does_not_pass() -> None:
    table = visits(400, 2)
    order = np.random.default_rng(0).permutation(400)
    for rows in (table, table.take(order), table.take(order[:250])):
        found = judged(rows, table)
        assert [each.rule.partition(" <=")[0] for each in found.report.verdicts if not each.holds] == [SEEN]
        assert "may have been trained on" in found.report.about


def test_a_split_that_overlaps_does_not_pass() -> None:
    every = visits(900, 3, kinds=5000)
    found = judged(every.slice(500), every.slice(0, 600))
    assert (found.passed, found.metrics[SEEN] >= 100) == (False, True)
    assert judged(every.slice(600), every.slice(0, 600)).passed


def test_by_key_one_row_is_enough_and_equal_rows_are_nothing() -> None:
    learned, fresh = visits(400, 2), visits(300, 1)
    assert judged(fresh, learned, key="id").metrics[SEEN] == 0
    found = judged(pa.concat_tables([fresh, learned.slice(7, 1)]), learned, key="id")
    assert (found.passed, found.metrics[SEEN]) == (False, 1)


def test_rows_without_a_key_are_the_same_as_no_other() -> None:
    table = pa.table({"id": [1, None, None], "x": [1, 2, 3]})
    assert leaks(table, table, ["id"]).rows.tolist() == [0]


def test_fresh_rows_are_hardly_ever_more_equal_than_chance_explains() -> None:
    random = np.random.default_rng(5)
    wrong = 0
    for rows, others, kinds, skew in ((300, 900, 700, 0), (900, 300, 700, 1), (40, 60, 90, 0), (500, 500, 10, 0)):
        shares = 1 / np.arange(1, kinds + 1) ** skew
        for _ in range(100):
            drawn = random.choice(kinds, rows + others, p=shares / shares.sum()).astype(np.uint64)
            mine, theirs = drawn[:rows], drawn[rows:]
            wrong += int(np.isin(mine, theirs).sum()) > by_chance(mine, theirs)
    assert wrong <= 3  # 400 tables, each wrong with p < 0.001


def boosted(valid: pa.Table) -> Any:
    params = {"objective": "binary", "num_threads": 1, "min_data_in_leaf": 5}
    options: dict[str, Any] = {"target": "late", "features": ["age", "town"], "num_boost_round": 10}
    return train.lightgbm(params, visits(400, 4, kinds=8), valid=valid, stopping_rounds=5, **options)


def chosen(model: Any, table: pa.Table, **options: Any) -> evaluate.Classification:
    given = {"target": "late", "resamples": 100, "robust": False, **options}
    return evaluate.classification(model, table, **given)


def test_fresh_rows_with_all_the_kinds_of_rows_that_stopped_a_model_are_no_leak() -> None:
    valid, fresh = visits(800, 5, kinds=8), visits(800, 6, kinds=8)
    model = boosted(valid)
    assert chosen(model, fresh).metrics[CHOSE] == 0  # both tables have 800 rows, and all 64 kinds of rows
    assert chosen(model, valid).metrics[CHOSE] == 800
    assert chosen(model, valid.take(np.random.default_rng(0).permutation(800))).metrics[CHOSE] == 800


def test_with_a_key_and_the_rows_that_stopped_a_model_the_key_decides() -> None:
    valid, fresh = visits(200, 5, kinds=100), visits(200, 6, kinds=100)
    model = boosted(valid)
    mixed = pa.concat_tables([fresh, valid.slice(0, 3)])
    assert chosen(model, fresh, valid=valid, key="id").metrics[CHOSE] == 0
    found = chosen(model, mixed, valid=valid, key="id")
    assert (found.passed, found.metrics[CHOSE]) == (False, 3)
    assert "3 of the 203 rows judged were among the 200 that chose how long" in found.report.about
    alike = chosen(model, fresh, gates="AUC >= 0.5")  # nobody knows the keys of the rows that stopped it
    assert alike.metrics[CHOSE] > 2
    assert alike.passed


def test_a_sketch_without_a_checksum_is_read_too() -> None:
    found = read("headrace.rows.2.2.AQAAAAAAAAACAAAAAAAAAA")
    assert found is not None
    assert (found.rows, found.total) == (2, 0)
    assert read("headrace.rows.2.2.AQAAAAAAAAACAAAAAAAAAA.1f.2") is None


def test_with_a_key_a_threshold_is_not_chosen_on_the_rows_judged_though_other_columns_differ() -> None:
    table = visits(200, 5)
    again = table.set_column(table.column_names.index("p"), "p", pc.multiply(table["p"], 0.9))
    other = table.set_column(0, "id", pc.add(table["id"], 1_000_000))
    assert judged(table, visits(400, 2), valid=other, threshold="valid:f1", key="id").passed
    with pytest.raises(UsageError, match="all rows of `valid` are among those that are judged"):
        judged(table, visits(400, 2), valid=again, threshold="valid:f1", key="id")
