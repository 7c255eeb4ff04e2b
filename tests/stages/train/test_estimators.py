"""`train.sklearn` and `train.lightgbm`, called as plain functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from headrace.errors import DataError, UsageError
from headrace.models.model import model_of
from headrace.stages import evaluate, train
from headrace.stages.train import _lightgbm, _sklearn
from headrace.stages.train.examples import examples

RNG = np.random.default_rng(7)
X = RNG.normal(size=(400, 2))
TABLE = pa.table(
    {
        "a": X[:, 0],
        "b": X[:, 1],
        "kind": pa.array(np.where(X[:, 1] > 0, "high", "low")).dictionary_encode(),
        "late": X[:, 0] + 0.3 * RNG.normal(size=400) > 0,
        "weight": np.ones(400),
    }
)
NUMBERS = ["a", "b"]


def test_an_estimator_is_fitted_and_scored() -> None:
    fitted = train.sklearn(
        LogisticRegression(), TABLE, target="late", features=NUMBERS, valid=TABLE, scoring=["roc_auc"]
    )
    facts = {fact.name: fact.value for fact in fitted.report.facts}
    assert facts["rows"] == 400
    assert 0.9 < (facts["valid/roc_auc"] or 0) == facts["train/roc_auc"]
    assert list(fitted.model.feature_names_in_) == NUMBERS


def test_the_estimator_that_was_given_stays_unfitted() -> None:
    given = LogisticRegression()
    train.sklearn(given, TABLE, target="late", features=NUMBERS)
    assert not hasattr(given, "coef_")


def test_an_estimator_may_be_made_by_a_function_and_weights_reach_the_last_step_of_a_pipeline() -> None:
    def make() -> object:
        return make_pipeline(StandardScaler(), LogisticRegression())

    fitted = train.sklearn(make, TABLE, target="late", features=NUMBERS, sample_weight="weight")
    assert fitted.model.predict(TABLE.select(NUMBERS).to_pandas()).shape == (400,)


def test_categories_come_as_pandas_categories() -> None:
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype", early_stopping=False)
    fitted = train.sklearn(model, TABLE.drop_columns(["weight"]), target="late")
    assert list(fitted.model.is_categorical_) == [False, False, True]


def test_a_regression_has_a_score() -> None:
    fitted = train.sklearn(LinearRegression(), TABLE, target="a", features=["b"])
    assert "train/score" in {fact.name for fact in fitted.report.facts}


def test_one_column_may_be_named_without_a_list() -> None:
    fitted = train.sklearn(LogisticRegression(), TABLE, target="late", features="a", scoring="roc_auc")
    assert list(fitted.model.feature_names_in_) == ["a"]


def missing(column: str) -> pa.Table:
    at = TABLE.schema.get_field_index(column)
    values = [None, *TABLE[column].to_pylist()[1:]]
    return TABLE.set_column(at, column, pa.array(values))


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        (TABLE, {"target": "lat"}, "no column `lat`"),
        (TABLE, {"target": "late", "features": ["c"]}, "no column `c`"),
        (TABLE, {"target": "late", "features": ["late"]}, "among the features"),
        (TABLE.slice(0, 0), {"target": "late"}, "no rows"),
        (missing("late"), {"target": "late"}, "1 of 400 targets in `late` are missing"),
        (TABLE.filter(TABLE["late"]), {"target": "late", "features": NUMBERS}, "all .* are `True`"),
    ],
)
def test_data_that_nothing_can_be_learned_from_are_named(table: pa.Table, options: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=says) as told:
        train.sklearn(LogisticRegression(), table, **options)
    assert told.value.hint


def test_columns_that_an_estimator_cant_take_are_named() -> None:
    with pytest.raises(DataError, match="string to float") as told:
        train.sklearn(LogisticRegression(), TABLE, target="late")
    assert "there are no numbers in `kind`: an encoder" in (told.value.hint or "")
    with pytest.raises(DataError, match="NaN") as told:
        train.sklearn(LogisticRegression(), missing("b"), target="late", features=NUMBERS)
    assert "values are missing in `b`: `prepare.clean" in (told.value.hint or "")


def test_a_regression_on_texts_is_refused() -> None:
    with pytest.raises(DataError, match=r"the target `kind` holds `.*`, and `LinearRegression` learns numbers"):
        train.sklearn(LinearRegression(), TABLE, target="kind", features=NUMBERS)


def test_what_gradient_boosting_keeps_of_its_way_is_a_loss_and_what_others_keep_a_score() -> None:
    def logged(estimator: object) -> set[str]:
        model = estimator.fit(X, X[:, 0] > 0)  # type: ignore[attr-defined]
        return {name for name, _, _ in _sklearn._curves(model)}

    assert logged(GradientBoostingClassifier(n_estimators=2)) == {"train/loss"}
    assert logged(HistGradientBoostingClassifier(max_iter=2, early_stopping=True)) == {"train/score", "valid/score"}


def test_an_unknown_scorer_and_what_is_no_estimator_are_named() -> None:
    with pytest.raises(UsageError, match="no scorer `auc`"):
        train.sklearn(LogisticRegression(), TABLE, target="late", features=NUMBERS, scoring=["auc"])
    with pytest.raises(UsageError, match="has no `fit`"):
        train.sklearn(3, TABLE, target="late")


def boost(table: pa.Table = TABLE, **options: object) -> train.Boosted:
    params = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5}
    return train.lightgbm(params, table, target="late", features=["a", "b", "kind"], **options)  # type: ignore[arg-type]


def test_a_text_with_about_one_level_a_row_is_a_warning_unless_it_is_named_as_a_category(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes = pa.array([f"note {place}" for place in range(400)])
    table = TABLE.append_column("note", notes).append_column("who", notes.dictionary_encode())
    params = {"objective": "binary", "num_leaves": 4}
    train.lightgbm(params, table, target="late", features=["a", "kind", "note"], num_boost_round=2)
    told = capsys.readouterr().err
    assert "`note` (400 different texts in 400 rows) is taken as a category" in told
    train.lightgbm(params, table, target="late", features=["a", "note", "who"], num_boost_round=2)
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert "`who` (400 different texts in 400 rows) are taken as categories" in told
    named = ["a", "note"]
    train.lightgbm(params, table, target="late", features=named, categorical_feature="note", num_boost_round=2)
    towns = table.append_column("town", pa.array([f"town {place % 90}" for place in range(400)]))
    train.lightgbm(params, towns, target="late", features=["a", "kind", "town"], num_boost_round=2)
    train.lightgbm(params, table.slice(0, 29), target="late", features=["a", "note"], num_boost_round=2)
    assert "taken as" not in capsys.readouterr().err


def test_boosted_trees_stop_when_they_get_no_better() -> None:
    found = boost(TABLE.slice(0, 200), valid=TABLE.slice(200), num_boost_round=200, stopping_rounds=5)
    assert found.rounds < 200
    assert found.history.column_names == ["round", "valid/binary_logloss"]
    assert found.history.num_rows == found.rounds + 5
    assert found.model.num_trees() == found.rounds
    assert isinstance(found.model, lgb.Booster)


def test_the_same_rows_make_the_same_trees_whatever_the_threads() -> None:
    def text(threads: int) -> str:
        params = {"objective": "binary", "num_threads": threads, "bagging_fraction": 0.5, "bagging_freq": 1}
        found = train.lightgbm(params, TABLE, target="late", features=["a", "b", "kind"], num_boost_round=5)
        return str(found.model.model_to_string().replace(f"num_threads: {threads}", ""))

    assert text(1) == text(2)


def test_boosting_names_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="`stopping_rounds` is given, but no `valid`"):
        boost(stopping_rounds=3)
    with pytest.raises(UsageError, match="no parameter `num_leafs`") as told:
        train.lightgbm({"objective": "binary", "num_leafs": 15}, TABLE, target="late", features=NUMBERS)
    assert told.value.hint == "did you mean `num_leaves`?"
    with pytest.raises(UsageError, match="LightGBM: "):
        train.lightgbm({"objective": "nonsense"}, TABLE, target="late", features=NUMBERS)
    with pytest.raises(DataError, match="LightGBM takes numbers"):
        train.lightgbm({"objective": "binary"}, TABLE, target="kind", features=NUMBERS)
    with pytest.raises(UsageError, match="`categorical_feature` names `c`"):
        boost(categorical_feature=["c"])


def test_decimals_are_numbers_and_dates_are_named() -> None:
    price = pa.array(X[:, 0]).cast(pa.decimal128(30, 20), safe=False)
    table = pa.table({"price": price, "late": TABLE["late"], "day": pa.array(range(400), pa.date32())})
    binary = {"objective": "binary"}
    found = train.lightgbm(binary, table, target="late", features=["price"], num_boost_round=5)
    assert model_of(found.model).numbers(table, ["price"]).std() > 0.1
    assert train.lightgbm({}, table, target="price", features=["late"], num_boost_round=1).rounds == 1
    with pytest.raises(DataError, match="the feature `day` holds times"):
        train.lightgbm(binary, table, target="late")


def test_a_target_that_binary_would_take_for_something_else_is_refused() -> None:
    for values in (X[:, 0], np.where(X[:, 0] > 0, 1, 2), np.where(X[:, 0] > 0, -1, 0)):
        table = pa.table({"a": X[:, 0], "y": values})
        with pytest.raises(DataError, match="`binary` takes the classes 0 and 1, and the target `y` holds"):
            train.lightgbm({"objective": "binary"}, table, target="y")
    signs = pa.table({"a": X[:, 0], "y": np.where(X[:, 0] > 0, 1, -1)})
    assert train.lightgbm({"objective": "binary"}, signs, target="y", num_boost_round=1).rounds == 1


def test_metrics_of_which_lightgbm_knows_none_are_named() -> None:
    with pytest.raises(UsageError, match="LightGBM knows no metric `rocauc`"):
        train.lightgbm({"objective": "binary", "metric": "rocauc"}, TABLE, target="late", features=NUMBERS)
    found = train.lightgbm({"objective": "binary", "metric": "None"}, TABLE, target="late", features=NUMBERS)
    assert found.history.column_names == ["round"]


def test_where_in_its_code_lightgbm_found_an_error_is_left_out() -> None:
    with pytest.raises(UsageError) as told:
        train.lightgbm({"objective": "binary", "num_leaves": -3}, TABLE, target="late", features=NUMBERS)
    assert told.value.message == "LightGBM: Check failed: (num_leaves) > (1)"


def test_a_parameter_by_another_of_its_names_wins_over_ours() -> None:
    def trees(**more: object) -> str:
        params = {"objective": "binary", "bagging_fraction": 0.5, "bagging_freq": 1, **more}
        found = train.lightgbm(params, TABLE, target="late", features=NUMBERS, num_boost_round=5)
        return str(found.model.model_to_string()).partition("parameters:")[0]

    assert trees(random_state=7) == trees(random_seed=7) == trees(seed=7) != trees()
    assert trees(force_col_wise=True)


def test_a_booster_is_judged_on_codes_that_are_categories_and_names_with_blanks() -> None:
    codes = RNG.integers(0, 5, 400)
    table = pa.table({"late": TABLE["late"], "code": codes, "in words": TABLE["a"], "kind": TABLE["kind"]})
    fitted = train.lightgbm(
        {"objective": "binary"}, table, target="late", categorical_feature=["code"], num_boost_round=5
    )
    rows = model_of(fitted.model).takes(table.column_names)
    assert rows == ["code", "in words", "kind"]
    learned = fitted.model.predict(table.select(rows).to_pandas().astype({"code": "category", "kind": "category"}))
    assert model_of(fitted.model).scores(table, rows).values.tolist() == learned.tolist()


def test_features_may_have_names_that_lightgbm_can_not_keep() -> None:
    random = np.random.default_rng(8)
    odd = ["price [€]", "{x}", 'a"b', "a, b", "a\nb", "", "a:b", "100%"]
    table = pa.table({"late": TABLE["late"], **{name: random.normal(size=400) for name in odd}})
    params = {"objective": "binary", "num_leaves": 4}
    fitted = train.lightgbm(params, table, target="late", valid=table, num_boost_round=9)
    assert model_of(fitted.model).takes(table.column_names) == odd
    gains = next(each for each in fitted.report.grids if each.title == "Features by gain")
    assert {row[0] for row in gains.rows} == set(odd)
    assert evaluate.classification(fitted.model, table, target="late", resamples=100).predictions.num_rows == 400
    bare = table.rename_columns(["late", *(f"f{place}" for place in range(len(odd)))])
    plain = train.lightgbm(params, bare, target="late", num_boost_round=9).model
    assert (
        plain.predict(bare.drop_columns("late").to_pandas()) == fitted.model.predict(table.select(odd).to_pandas())
    ).all()


def test_features_that_lightgbm_would_call_alike_are_named() -> None:
    table = pa.table({"late": TABLE["late"], "a b": TABLE["a"], "a_b": TABLE["b"]})
    with pytest.raises(DataError, match="the features `a b` and `a_b` apart: both are `a_b` to it"):
        train.lightgbm({"objective": "binary"}, table, target="late")


def searches(queries: int) -> pa.Table:
    random = np.random.default_rng(queries)
    query = np.repeat(np.arange(queries), 8)
    near, far = random.normal(size=(2, len(query)))
    return pa.table({"query": [f"q{each}" for each in query], "near": near, "far": far, "use": (near > 0) * 1})


def test_rows_are_ranked_within_their_groups_as_by_lightgbm_itself() -> None:
    table, valid = searches(60), searches(20)
    params = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [3], "num_leaves": 4}
    found = train.lightgbm(params, table, target="use", group="query", valid=valid, num_boost_round=9)
    assert found.model.feature_name() == ["near", "far"]
    assert found.history["valid/ndcg@3"].to_pylist()[-1] > 0.9
    bare = lgb.train(
        {**params, "seed": 0, "deterministic": True, "force_row_wise": True, "verbosity": -1},
        lgb.Dataset(table.select(["near", "far"]).to_pandas(), table["use"].to_numpy(), group=[8] * 60),
        9,
    )
    rows = valid.select(["near", "far"]).to_pandas()
    assert (bare.predict(rows) == found.model.predict(rows)).all()


def test_groups_need_not_stand_together() -> None:
    table = searches(30)
    sorted_, mixed = table, table.take([place * 8 + row for row in range(8) for place in range(30)])
    params = {"objective": "lambdarank", "num_leaves": 4}
    texts = {
        train.lightgbm(params, rows, target="use", group="query", num_boost_round=3).model.model_to_string()
        for rows in (sorted_, mixed)
    }
    assert len(texts) == 1


def test_a_ranking_names_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="no `group` is given"):
        train.lightgbm({"objective": "lambdarank"}, searches(3), target="use", features=["near"])
    with pytest.raises(DataError, match="no column `quer`"):
        train.lightgbm({"objective": "lambdarank"}, searches(3), target="use", group="quer")
    gone = searches(3).set_column(0, "query", pa.array([None, *["a"] * 23]))
    with pytest.raises(DataError, match="1 of 24 rows have no group"):
        train.lightgbm({"objective": "lambdarank"}, gone, target="use", group="query")


@pytest.mark.parametrize(
    ("estimator", "options", "says"),
    [
        (LogisticRegression(), {"valid": missing("b")}, r"`valid/accuracy` of `LogisticRegression` .* contains NaN"),
        (LinearSVC(), {"scoring": "neg_log_loss"}, r"`train/neg_log_loss` of `LinearSVC` .* predict_proba"),
        (LinearRegression(), {"scoring": "accuracy"}, r"`train/accuracy` of `LinearRegression` .* mix of"),
    ],
)
def test_scores_that_cant_be_told_say_why(estimator: object, options: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=says):
        train.sklearn(estimator, TABLE, target="late", features=NUMBERS, **options)


def test_a_score_that_is_no_number_is_undefined() -> None:
    late = TABLE.filter(TABLE["late"])
    fitted = train.sklearn(
        LogisticRegression(), TABLE, target="late", features=NUMBERS, valid=late, scoring=["roc_auc"]
    )
    (fact,) = [each for each in fitted.report.facts if each.name == "valid/roc_auc"]
    assert fact.value is None
    assert fact.why


def changed(column: str, *first: Any) -> pa.Table:
    """Return the table with other values in a column's first rows."""
    values = [*first, *TABLE[column].to_pylist()[len(first) :]]
    return TABLE.set_column(TABLE.schema.get_field_index(column), column, pa.array(values))


@pytest.mark.parametrize(
    "learn", [boost, partial(train.sklearn, LogisticRegression(), target="late", features=NUMBERS)]
)
def test_what_is_wrong_with_valid_alone_is_laid_to_valid(learn: Any) -> None:
    with pytest.raises(DataError, match="`valid` is empty") as told:
        learn(table=TABLE, valid=TABLE.slice(0, 0))
    assert "prepare.split" in (told.value.hint or "")
    with pytest.raises(DataError, match="in `valid`: 1 of 400 targets in `late` are missing"):
        learn(table=TABLE, valid=changed("late", None))


@pytest.mark.parametrize("learn", [boost, partial(train.sklearn, HistGradientBoostingClassifier(max_iter=2))])
@pytest.mark.parametrize(
    ("first", "says"),
    [
        ([None], "weights in `weight` are missing"),
        ([float("nan")], "weights in `weight` are missing"),
        ([float("inf")], "weights in `weight` are missing or not finite"),
        ([-1.5, -1.0], "2 of 400 weights in `weight` are negative, such as -1.5"),
        ([0.0] * 400, "all weights in `weight` are 0"),
    ],
)
def test_weights_that_no_row_can_have_are_named(learn: Any, first: list[Any], says: str) -> None:
    options = {"weight": "weight"} if learn is boost else {"sample_weight": "weight", "target": "late"}
    with pytest.raises(DataError, match=says) as told:
        learn(changed("weight", *first), **options)
    assert told.value.hint
    learn(changed("weight", 0.0, 2.5), **options)


@pytest.mark.parametrize("part", ["table", "valid"])
@pytest.mark.parametrize("learn", [partial(train.lightgbm, {}), partial(train.sklearn, LinearRegression())])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), None])
def test_targets_that_are_no_numbers_are_refused_whatever_learns_from_them(learn: Any, value: Any, part: str) -> None:
    tables = {"table": TABLE, "valid": TABLE} | {part: changed("b", value)}
    with pytest.raises(DataError, match=r"1 of 400 targets in `b` are (missing|infinite)"):
        learn(tables["table"], target="b", features=["a"], valid=tables["valid"])


@pytest.mark.parametrize(("column", "says"), [("b", "the target `b`"), ("weight", "the column of weights")])
def test_numbers_that_are_infinite_to_lightgbm_alone_are_named(column: str, says: str) -> None:
    with pytest.raises(DataError, match=f"{says} has values as large as 1e\\+39"):
        train.lightgbm({}, changed(column, 1e39), target="b", features=["a"], weight="weight")


def test_what_is_missing_in_valid_alone_is_missing_to_boosted_trees() -> None:
    whole = TABLE.append_column("count", pa.array(np.arange(400) % 7)).append_column("wet", TABLE["late"])
    held = whole.set_column(5, "count", pa.array([None, *range(399)], pa.int64()))
    held = held.set_column(6, "wet", pa.array([None, *TABLE["late"].to_pylist()[1:]], pa.bool_()))
    given = _lightgbm._like(
        examples(held, "late", ["count", "wet"]), examples(whole, "late", ["count", "wet"])
    ).features
    assert given["count"].isna().tolist() == given["wet"].isna().tolist() == [True, *[False] * 399]
    params = {"objective": "binary"}
    train.lightgbm(params, whole, target="late", features=["count", "wet"], valid=held, num_boost_round=2)
    worded = whole.set_column(5, "count", pa.array(["few"] * 400))
    with pytest.raises(DataError, match="the feature `count` is `int64` in the table, but not in `valid`"):
        train.lightgbm(params, whole, target="late", features=["count", "wet"], valid=worded, num_boost_round=2)


def test_booleans_with_missing_ones_are_no_categories_to_boosted_trees() -> None:
    whole = TABLE.append_column("wet", TABLE["late"])
    some = whole.set_column(5, "wet", pa.array([None, *whole["wet"].to_pylist()[1:]], pa.bool_()))
    for learned, judged in ((whole, some), (some, whole), (some, some)):
        model = train.lightgbm({"objective": "binary"}, learned, target="late", features=["a", "wet"]).model
        assert model.pandas_categorical == []
        assert model_of(model).numbers(judged, ["a", "wet"]).shape == (400,)
