"""A project's own functions get what they are promised, and what they return is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import UsageError
from headrace.models.answering import Answering
from headrace.models.own_code import OwnCodeFailed, Predict, Prepare
from headrace.models.signature import signature_for

RAW = signature_for(pa.schema({"day": pa.date32(), "size": pa.float32(), "kind": pa.string()}))
ROWS = pa.table({"kind": ["a", None], "more": [0, 0], "size": [1, 2], "day": ["2026-01-31", None]})


def told(function: Callable[..., Any], rows: pa.Table = ROWS) -> str:
    with pytest.raises(OwnCodeFailed) as failed:
        Prepare(function, {}, RAW)(rows)
    return failed.value.message


def test_a_function_gets_the_columns_of_its_signature_in_their_types_and_what_it_is_given() -> None:
    seen = []

    def look(rows: pa.Table, word: str) -> pa.Table:
        seen.append((rows, word))
        return rows

    Prepare(look, {"word": "given"}, RAW)(ROWS.set_column(0, "kind", ROWS["kind"].dictionary_encode()))
    ((rows, word),) = seen
    assert rows.schema == pa.schema({"day": pa.date32(), "size": pa.float32(), "kind": pa.string()})
    assert rows["kind"].to_pylist() == ["a", None]
    assert word == "given"


def test_what_a_function_returns_has_a_row_for_each_row_or_it_is_to_blame() -> None:
    assert told(lambda rows: rows.slice(1)) == (
        "`<lambda>` must return one row for each row that it gets, in the same order: it got 2 rows, and returned 1"
    )
    assert told(lambda rows: rows.to_pylist()) == "`<lambda>` must return an Arrow table, and returned a `list`"
    assert told(lambda rows: rows["none"]).startswith("`<lambda>` failed for these rows: KeyError: ")
    assert "SystemExit: 3" in told(lambda rows: exit(3))


def test_rows_are_to_blame_if_they_do_not_fit_or_a_function_says_so() -> None:
    def refuse(rows: pa.Table) -> pa.Table:
        raise UsageError("no such kind")

    with pytest.raises(UsageError, match="no such kind"):
        Prepare(refuse, {}, RAW)(ROWS)
    with pytest.raises(UsageError, match="the rows have no column `day`"):
        Prepare(refuse, {}, RAW)(ROWS.drop_columns(["day"]))


def test_a_model_of_any_class_answers_by_a_function() -> None:
    def ask(model: dict[str, float], rows: pa.Table) -> pa.Table:
        sizes = [model["slope"] * each for each in rows["size"].to_pylist()]
        return pa.table({"predicted": sizes, "predicted_twice": [2 * each for each in sizes]})

    asked = Answering(Predict({"slope": 2.0}, ask), None, None, Prepare(lambda rows: rows, {}, RAW))
    assert asked.answers(ROWS, "size").table.to_pydict() == {"size": [2.0, 4.0], "size_twice": [4.0, 8.0]}
    assert asked.answers(ROWS.slice(0, 0)).table.num_rows == 0


def test_answers_of_a_function_have_the_names_that_answers_have() -> None:
    strange = ({"late": [1]}, "it returned `late`"), ({"predicted": [1], "late": [1]}, "`predicted`, `late`")
    for table, what in strange:
        model = Predict({}, lambda model, rows, table=table: pa.table(table))
        with pytest.raises(OwnCodeFailed, match=what):
            Answering(model, None, None).answers(ROWS.slice(0, 1))
