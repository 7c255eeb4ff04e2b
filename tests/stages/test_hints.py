"""What a hint says to do helps: each is read from the error, carried out, and what failed then works."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.codec.classes import distribution
from headrace.errors import HeadraceError
from headrace.models.hints import are_numbers
from headrace.stages import evaluate, prepare, train

lightgbm = pytest.importorskip("lightgbm")
linear_model = pytest.importorskip("sklearn.linear_model")

RNG = np.random.default_rng(7)
X = RNG.normal(size=300)
Y = (X + RNG.normal(size=300) > 0).astype(int)
NUMBERS = pa.table({"a": X, "b": RNG.normal(size=300), "y": Y})
BINARY = {"objective": "binary"}
LEARNED = train.lightgbm(BINARY, NUMBERS, target="y").model
LINEAR = train.sklearn(linear_model.LogisticRegression, NUMBERS, target="y").model


def replaced(name: str, values: Any) -> pa.Table:
    return NUMBERS.set_column(NUMBERS.column_names.index(name), name, pa.array(values))


TEXTS = replaced("a", [str(value) for value in X])
WORDS = replaced("a", ["yes" if value > 0 else "no" for value in X])
NAMED = replaced("y", ["late" if value else "ok" for value in Y])
OF_WORDS = train.lightgbm(BINARY, WORDS, target="y").model


def judge(model: Any) -> Callable[[pa.Table], Any]:
    return lambda table: evaluate.classification(model, table, target="y")


def boost(table: pa.Table) -> Any:
    return train.lightgbm(BINARY, table, target="y")


def fit(table: pa.Table) -> Any:
    return train.sklearn(linear_model.LogisticRegression, table, target="y")


def regress(table: pa.Table) -> Any:
    return train.sklearn(linear_model.LinearRegression, table, target="y")


@pytest.mark.parametrize(
    ("call", "table", "column"),
    [
        (judge(LEARNED), TEXTS, "a"),
        (judge(LEARNED), NAMED, "y"),
        (judge(OF_WORDS), replaced("a", (X > 0).astype(int)), "a"),
        (boost, NAMED, "y"),
        (boost, replaced("y", [str(value) for value in Y]), "y"),
        (fit, replaced("a", [*[str(value) for value in X[1:]], "1,000"]), "a"),
        (fit, replaced("a", [*X[1:], None]), "a"),
        (judge(LINEAR), replaced("a", [*X[1:], None]), "a"),
        *[
            (call, replaced("a", values), "a")
            for call in (fit, judge(LINEAR))
            for values in (
                [*X[1:], math.nan],
                [*X[2:], None, math.nan],
                [*range(len(X) - 1), None],
                [*(X > 0)[1:], None],
            )
        ],
        (regress, replaced("y", [str(value) for value in Y]), "y"),
    ],
)
def test_an_error_about_a_column_names_it_and_a_step_that_helps(
    call: Callable[[pa.Table], Any], table: pa.Table, column: str
) -> None:
    with pytest.raises(HeadraceError) as caught:
        call(table)
    hint = caught.value.hint or ""
    assert f"`{column}`" in caught.value.message + hint
    step = re.search(r"`(prepare\.clean\(table, \[.*?\]\))`", hint)
    assert step is not None, hint
    cleaned = eval(step[1], {"prepare": prepare, "table": table})
    call(cleaned.table)


HEATS = replaced("a", [f"{40 + 0.1 * value:.3f} C" for value in X])
CLEANED = prepare.clean(HEATS, [prepare.Units(columns="a", units={"C": 1})])


@pytest.mark.parametrize("learn", [boost, fit])
def test_rows_are_prepared_like_those_that_a_model_learned_from(learn: Callable[[pa.Table], Any]) -> None:
    model = learn(CLEANED.table).model
    with pytest.raises(HeadraceError) as caught:
        judge(model)(HEATS)
    hint = caught.value.hint or ""
    assert "`a`" in caught.value.message + hint
    assert "Numbers" not in hint
    step = re.search(r"`(prepare\.apply\(.*?\))`", hint)
    assert step is not None, hint
    judge(model)(eval(step[1], {"prepare": prepare, "table": HEATS, "cleaned": CLEANED}).table)


@pytest.mark.parametrize("learn", [train.sklearn, train.lightgbm])
def test_valid_rows_are_prepared_like_the_training_rows(learn: Any) -> None:
    first = linear_model.LogisticRegression() if learn is train.sklearn else BINARY
    with pytest.raises(HeadraceError) as caught:
        learn(first, CLEANED.table, target="y", valid=HEATS)
    assert "`prepare.apply(table, cleaned.preparation)`" in (caught.value.hint or "")


@pytest.mark.parametrize(("call", "column"), [(fit, "a"), (regress, "y"), (boost, "y")])
def test_no_rule_is_offered_that_can_not_read_the_texts(call: Callable[[pa.Table], Any], column: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        call(replaced(column, HEATS["a"].combine_chunks()))
    assert "prepare.Numbers" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "1,234.50",
        "€ 12",
        "-3",
        "1,5",
        "0,123",
        "1.234,50",
        "-1,234e2",
        "12,34,567",
        "",
        "x",
        "48.4 C",
        "1 000",
        ".5",
        "5.",
        "+1",
        "1e5",
        "1e",
        "--1",
        "12%",
        "$-5",
        "٣",
    ],
)
def test_hints_know_what_the_rule_numbers_reads(text: str) -> None:
    given = pa.table({"c": [text]})
    read = prepare.clean(given, [prepare.Numbers(columns="c", otherwise="null")]).table["c"].null_count == 0
    assert are_numbers([text]) == read


@pytest.mark.parametrize("model", [linear_model.LogisticRegression(), lightgbm.LGBMClassifier()])
def test_a_model_that_was_never_trained_is_told_from_wrong_columns(model: Any) -> None:
    with pytest.raises(HeadraceError) as caught:
        evaluate.classification(model, NUMBERS, target="y", features=["a", "b"])
    assert "give the trained model" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("call", "values", "says"),
    [
        (fit, [None] * len(X), "`a` holds no value at all"),
        (fit, pa.array(range(len(X)), pa.timestamp("us")), "`a` holds times"),
        (judge(LINEAR), pa.array(range(len(X)), pa.timestamp("us")), "`a` holds times"),
    ],
)
def test_a_column_that_no_filling_mends_is_named_with_its_cause(
    call: Callable[[pa.Table], Any], values: Any, says: str
) -> None:
    column = pa.array(values, pa.float64()) if isinstance(values, list) else values
    with pytest.raises(HeadraceError) as caught:
        call(NUMBERS.set_column(NUMBERS.column_names.index("a"), "a", column))
    assert says in (caught.value.hint or "")


@pytest.mark.parametrize("call", [boost, fit, judge(LEARNED), prepare.split])
def test_two_columns_of_one_name_are_named_with_what_tells_them_apart(call: Callable[[pa.Table], Any]) -> None:
    twice = pa.Table.from_arrays([pa.array(X), pa.array(X), pa.array(Y)], names=["a", "a", "y"])
    with pytest.raises(HeadraceError, match="two columns `a`") as caught:
        call(twice)
    assert "rename_columns" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("module", "installed"),
    [("sklearn", "scikit-learn"), ("sklearn.svm", "scikit-learn"), ("PIL", "pillow"), ("torch", "torch")],
)
def test_a_missing_library_is_named_as_it_is_installed(module: str, installed: str) -> None:
    assert distribution(module) == installed
