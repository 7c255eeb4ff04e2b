"""Rows of coarse columns are often equal by chance: what an evaluation then refuses must be a leak."""

from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.errors import UsageError
from headrace.models.model import Model
from headrace.stages import evaluate, train
from headrace.stages.evaluate.leaks import by_chance, leaks, overlap
from headrace.stages.tables.sketch import Sketch, read, sketch

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
    assert any("This proves nothing, since chance explains up to" in each for each in found.report.limits)


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


def exceeds(mine: Any, theirs: Any) -> bool:
    """Return whether more rows are equal than chance explains."""
    mine, theirs = np.asarray(mine, np.uint64), np.asarray(theirs, np.uint64)
    return int(np.isin(mine, theirs).sum()) > by_chance(mine, theirs)


@pytest.mark.parametrize(("rows", "others", "shared"), [(500, 500, 10), (500, 500, 14), (300, 3000, 5), (40, 60, 15)])
def test_rows_shared_by_tables_of_distinct_rows_are_a_leak(rows: int, others: int, shared: int) -> None:
    every = np.arange(rows + others)
    assert exceeds(every[others - shared : others - shared + rows], every[:others])
    again = [*every[others - shared : others - shared + rows - 1], every[others + 9]]  # one row stands twice itself
    assert exceeds(again, every[:others]) == (shared != 10)


def test_a_few_rows_of_the_training_in_a_table_of_distinct_rows_do_not_pass() -> None:
    every = visits(1000, 3, kinds=10**9)
    found = judged(every.slice(486, 500), every.slice(0, 500))
    assert (found.passed, found.metrics[SEEN]) == (False, 14)
    assert "14 of the 500 rows judged may have been trained on" in found.report.about
    found = judged(every.slice(497, 500), every.slice(0, 500))
    assert (found.passed, found.metrics[SEEN]) == (True, 3)


@pytest.mark.parametrize(("rows", "others", "pairs"), [(500, 500, 3), (500, 500, 14), (200, 800, 40), (500, 500, 150)])
def test_rows_that_stand_twice_in_the_data_are_no_leak_after_a_split(rows: int, others: int, pairs: int) -> None:
    random = np.random.default_rng(6)
    every = np.concatenate([np.arange(rows + others - pairs), np.arange(pairs)])
    wrong = 0
    for _ in range(200):
        random.shuffle(every)
        wrong += exceeds(every[:rows], every[rows:])
    assert wrong <= 2  # each with p < 0.001


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


class Stopped(NamedTuple):
    """A model that knows only the rows that stopped its training."""

    chosen_on: str


def stopped(made: Sketch | None) -> Model:
    assert made is not None
    return cast("Model", Stopped(made.text()))


def test_models_that_were_trained_before_sketches_had_a_checksum_are_compared_without_it() -> None:
    features = ["age", "town"]
    coarse, fine, fresh = visits(800, 5, kinds=8), visits(200, 5, kinds=100), visits(200, 6, kinds=100)
    for checksum in (True, False):
        models = []
        for table in (coarse, fine):
            made = sketch(table, features)
            assert made is not None
            models.append(stopped(made if checksum else made._replace(total=0)))
        same = overlap(models[0], coarse, features)
        assert same is not None
        assert (same.judged, same.tells) == (800, True)
        for rows, count in ((fresh, 0), (pa.concat_tables([fresh, fine.slice(0, 3)]), 3)):
            by_key = overlap(models[1], rows, features, valid=fine, key=["id"])
            assert by_key is not None
            assert (by_key.judged, by_key.key) == (count, ("id",))
        other = overlap(models[1], fresh, features, valid=fresh, key=["id"])
        assert other is not None
        assert not other.key  # `valid` isn't the table that stopped the training


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


def test_a_threshold_is_not_chosen_on_the_rows_judged_though_some_have_no_key_or_no_target() -> None:
    table, learned = visits(200, 5), visits(400, 2)
    gaps = table.set_column(0, "id", pa.array([None, *table["id"].to_pylist()[1:]]))
    turned = gaps.take(np.random.default_rng(0).permutation(200))
    place = table.column_names.index("late")
    unknown = gaps.set_column(place, "late", pa.array([*table["late"].to_pylist()[:-1], None]))
    for rows, valid in ((gaps, gaps), (gaps, turned), (gaps, unknown), (unknown, unknown)):
        with pytest.raises(UsageError, match="all rows of `valid` are among those that are judged"):
            judged(rows, learned, valid=valid, threshold="valid:f1", key="id")
    fresh = visits(200, 6)
    fresh = fresh.set_column(0, "id", pa.array([None, *fresh["id"].to_pylist()[1:]]))
    assert judged(gaps, learned, valid=fresh, threshold="valid:f1", key="id").passed
