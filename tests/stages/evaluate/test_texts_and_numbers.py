"""Texts and numbers judged."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from headrace.errors import UsageError
from headrace.spec.report import Grid
from headrace.stages import evaluate
from headrace.stages.evaluate.metrics.textual import TextPart
from headrace.stages.evaluate.metrics.wording import wording

CASES = [
    ("The cat sat on the mat.", ["The cat sat on a mat.", "A cat was sitting on the mat."]),
    ("It costs $3.50, or 1,000 yen - about.", ["It costs $3.50 or 1,000 yen, about."]),
    ("Tomorrow's weather: rain (heavy), then sun!", ["Tomorrow it rains heavily, then the sun shines!"]),
    ("", ["Nothing was written here."]),
    ("hello", ["hello world"]),
    ("Der Fluß fließt schnell", ["Der Fluss fließt sehr schnell"]),
]
# What sacreBLEU 2.6.0 (BLEU, chrF) and rouge-score (rougeL) give for each alone.
BLEU = [79.52707287670508, 38.827267775222325, 8.913765521398126, 0.0, 0.0, 16.37226966703825]
CHRF = [71.42247563033848, 76.43007560458472, 37.07950690455677, 0.0, 40.69078647589538, 55.905161180703665]
ROUGE_L = [0.8333333333333334, 1.0, 0.4, 0.0, 0.6666666666666666, 0.7272727272727272]


def test_scores_are_those_of_sacrebleu_and_rouge_score() -> None:
    found = [wording(*case) for case in CASES]
    assert [each.rouge_l for each in found] == pytest.approx(ROUGE_L)
    assert [TextPart([each]).point.get("BLEU", 0.0) for each in found] == pytest.approx(BLEU)
    assert [TextPart([each]).point["chrF"] for each in found] == pytest.approx(CHRF)
    corpus = TextPart(found).point
    assert corpus["BLEU"] == pytest.approx(29.25160994954953)
    assert corpus["chrF"] == pytest.approx(47.98591982806967)


def test_texts_too_short_for_a_metric_leave_it_undefined() -> None:
    part = TextPart([wording("hello", ["hello world"])])
    assert "BLEU" not in part.point
    assert part.why("BLEU") == "the texts are too short for BLEU"
    assert "BLEU" not in TextPart([wording("good bye", ["hello world"])]).point
    assert TextPart([wording("one two three four", ["hello world"])]).point["BLEU"] == 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_text_is_as_good_as_itself_and_scores_stay_within_bounds(text: str, other: str) -> None:
    same, unlike = wording(text, [text]), wording(text, [other])
    assert same.exact == 1
    assert same.token_f1 == 1
    assert same.rouge_l == 1
    for each in (unlike.token_f1, unlike.rouge_l):
        assert 0 <= each <= 1
    for name in ("BLEU", "chrF"):
        assert 0 <= TextPart([unlike]).point.get(name, 0) <= 100 + 1e-9


def _texts(rows: int) -> pa.Table:
    words = ["the cat sat", "a dog barked", "birds sang loudly"]
    return pa.table(
        {
            "expected": [words[place % 3] for place in range(rows)],
            "written": [words[place % 3] if place % 4 else "nothing" for place in range(rows)],
            "base": ["cat" for _ in range(rows)],
            "kind": [str(place % 2) for place in range(rows)],
        }
    )


def test_texts_are_judged_beside_a_baseline() -> None:
    found = evaluate.generation(
        None, _texts(120), references="expected", texts="written", baseline="base", slices=["kind"]
    )
    assert found.passed
    assert found.metrics["exact match"] == pytest.approx(0.75)
    assert found.predictions.num_rows == 120
    assert {each.title for each in found.report.grids} >= {"The worst texts", "Beside the baseline"}


def _upper(model: str, prompts: list[str]) -> list[str]:
    return [f"{model} {each}" for each in prompts]


def test_a_function_may_write_the_texts() -> None:
    table = _texts(60)
    found = evaluate.generation("so", table, references="expected", prompt="expected", generate=_upper)
    assert found.metrics["token F1"] > 0.7
    assert found.passed  # nothing was asked
    assert found.report.passed is None
    with pytest.raises(UsageError, match="gives 1 answers to 60 prompts"):
        evaluate.generation("so", table, references="expected", prompt="expected", generate=lambda *_: ["one"])
    with pytest.raises(UsageError, match="nothing to judge"):
        evaluate.generation("so", table, references="expected")


@pytest.fixture
def houses() -> pa.Table:
    random = np.random.default_rng(2)
    rooms, near = random.integers(1, 8, 800), random.normal(size=800)
    price = 50 * rooms + 20 * near + random.normal(0, 20, 800)
    return pa.table({"rooms": rooms, "near": near, "town": random.choice(["a", "b"], 800), "price": price})


def test_numbers_are_judged_beside_the_mean(houses: pa.Table) -> None:
    frame = houses.to_pandas()
    model = LinearRegression().fit(frame[["rooms", "near"]][:400], frame["price"][:400])
    found = evaluate.regression(
        model,
        houses.slice(400),
        train=houses.slice(0, 400),
        slices=["rooms"],
        sensitive=["town"],
        gates="R2 >= 0.8 and MAE < baseline and mean error difference by town <= 20 with 95% confidence",
        resamples=200,
    )
    assert found.passed
    assert found.metrics["rows seen in training"] == 0
    assert {each["group"] for each in found.bias.to_pylist()} == {"a", "b"}
    assert {each.title for each in found.report.drawings} >= {"Predicted and true", "Errors"}


def test_a_target_that_never_changes_leaves_nothing_to_explain(houses: pa.Table) -> None:
    flat = houses.set_column(3, "price", pa.array(np.full(800, 7.0)))
    found = evaluate.regression(None, flat, target="price", scores="near", resamples=100)
    assert next(each for each in found.report.facts if each.name == "R2").why.startswith("all targets are equal")
    assert not found.passed


def test_decimals_are_numbers(houses: pa.Table) -> None:
    exact = houses.set_column(3, "price", pa.array(houses["price"].to_numpy().round(2)).cast(pa.decimal128(20, 2)))
    given = {"target": "price", "scores": "near", "train": exact, "key": ["rooms"], "resamples": 100}
    assert evaluate.regression(None, exact, **given).metrics["MAE"] == pytest.approx(
        float(np.abs(houses["near"].to_numpy() - houses["price"].to_numpy()).mean()), abs=0.01
    )


def test_a_target_of_words_is_no_number(houses: pa.Table) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        evaluate.regression(None, houses, target="town", scores="near")
    strange = houses.set_column(1, "near", pa.array([float("nan"), *[1.0] * 799]))
    with pytest.raises(UsageError, match="the first is row 0"):
        evaluate.regression(None, strange, target="price", scores="near")


@pytest.mark.parametrize("option", ["table", "train", "valid", "scores", "baseline", "previous"])
def test_an_infinite_number_is_named_wherever_it_stands(houses: pa.Table, option: str) -> None:
    worse = pa.array([float("inf"), *houses["price"].to_pylist()[1:]])
    odd = houses.set_column(3, "price", worse).append_column("odd", worse)
    given: dict[str, Any] = {"scores": "near", "resamples": 100}
    given |= {option: odd if option in ("train", "valid") else "odd"} if option != "table" else {}
    judged = odd if option == "table" else houses.append_column("odd", worse)
    with pytest.raises(UsageError, match=r"has the value inf|no number for 1 of 800") as told:
        evaluate.regression(None, judged, target="price", **given)
    assert "training rows" in told.value.message or option != "train"


def test_training_rows_without_a_target_tell_no_mean(houses: pa.Table) -> None:
    plain, found = (
        evaluate.regression(None, houses, target="price", scores="near", train=train, key="price", resamples=100)
        for train in (None, houses.slice(0, 0))
    )
    assert found.report.grids[0] == plain.report.grids[0]
    assert any("takes its mean from the rows judged" in each for each in found.report.limits)


def _robust(found: evaluate.Regression | evaluate.Classification) -> Grid:
    return next(each for each in found.report.grids if "Robustness" in each.title)


def _with_square(model: Any, table: pa.Table) -> Any:
    frame = table.to_pandas()
    return model.predict(frame[["rooms", "near"]].assign(square=frame["near"] ** 2))


def test_rows_that_the_users_function_refuses_are_refused_in_the_report_with_the_reason(houses: pa.Table) -> None:
    frame = houses.to_pandas()

    def two(model: Any, table: pa.Table) -> Any:
        return model.predict(table.select(["rooms", "near"]).to_pandas())

    def chance(model: Any, table: pa.Table) -> Any:
        return model.predict_proba(table.select(["rooms", "near"]).to_pandas())[:, 1]

    model = LinearRegression().fit(frame[["rooms", "near"]], frame["price"])
    classifier = LogisticRegression().fit(frame[["rooms", "near"]], frame["town"])
    for found in (
        evaluate.regression(model, houses, target="price", predict=two, resamples=100),
        evaluate.classification(classifier, houses, target="town", predict=chance, resamples=100),
    ):
        grid = _robust(found)
        assert [each[:2] for each in grid.rows] == [("rooms", "refused"), ("near", "refused")]
        assert "refused" not in [each for row in grid.rows for each in row[2:]]
        assert "Refused: `predict` can't predict these rows: ValueError: Input X contains NaN." in grid.note
    own = _robust(evaluate.regression(model, houses, target="price", resamples=100))
    assert "Refused: the model can't predict these rows: Input X contains NaN." in own.note


def test_features_that_the_users_function_makes_are_not_asked_of_the_table(houses: pa.Table) -> None:
    frame = houses.to_pandas()
    learned = frame[["rooms", "near"]].assign(square=frame["near"] ** 2)
    given: dict[str, Any] = {"target": "price", "predict": _with_square, "resamples": 100}
    model = LGBMRegressor(n_estimators=5, verbose=-1).fit(learned, frame["price"])
    grid = _robust(evaluate.regression(model, houses, **given))
    assert [row[0] for row in grid.rows] == ["rooms", "near"]
    assert "Not disturbed, since the table has no such column: `square`." in grid.note
    named = _robust(evaluate.regression(model, houses, features=["near", "town"], **given))
    assert [row[0] for row in named.rows] == ["near", "town"]
    assert "Not disturbed" not in named.note
    with pytest.raises(UsageError, match="no column `squares`"):
        evaluate.regression(model, houses, features=["near", "squares"], **given)


def test_where_the_users_function_makes_all_features_the_columns_of_the_table_are_disturbed(houses: pa.Table) -> None:
    frame = houses.to_pandas()
    model = LinearRegression().fit(frame[["near"]].rename(columns={"near": "close"}), frame["price"])

    def renamed(model: Any, table: pa.Table) -> Any:
        return model.predict(table.select(["near"]).rename_columns(["close"]).to_pandas())

    found = evaluate.regression(model, houses, target="price", predict=renamed, slices="town", resamples=100)
    assert [row[0] for row in _robust(found).rows] == ["rooms", "near"]
    assert "no such column: `close`. The columns without another use were disturbed instead." in _robust(found).note


def test_an_error_of_the_users_function_on_the_rows_themselves_fails_as_it_is(houses: pa.Table) -> None:
    def broken(model: Any, table: pa.Table) -> Any:
        raise KeyError("no such feature")

    with pytest.raises(KeyError, match="no such feature"):
        evaluate.regression(object(), houses, target="price", predict=broken, resamples=100)
