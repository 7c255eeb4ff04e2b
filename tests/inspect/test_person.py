"""Rows about a person are found wherever the key is, and nobody else's row is lost or changed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.inspect.endpoints.person import labels_about, may_name, requests_about, rows_about, without
from headrace.models.predicted import merged
from headrace.models.streams import stream_of
from headrace.spec.endpoint import CLOCKS_S, Erasure, digest_of

SALT = "5a" * 32
AT = 1_700_000_000.0


def erasure(key: str, *columns: str, at: float = AT) -> Erasure:
    names = columns or ("customer",)
    return Erasure(id="e", endpoint="rents", columns=names, salt=SALT, digest=digest_of(key, SALT), at=at)


def found(column: pa.Array | list[Any], key: str, name: str = "customer") -> list[bool]:
    return rows_about(pa.table({name: column}), erasure(key)).tolist()


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("7", pa.array([7, 8, None]), [True, False, False]),
        ("7", pa.array([7.0, 7.5, float("nan")]), [True, False, False]),
        ("7", ["7", "7.0", "07"], [True, False, False]),
        ("7.0", ["7", "7.0", "07"], [False, True, False]),
        ("07", ["7", "7.0", "07"], [False, False, True]),
        ("7.5", pa.array([7.0, 7.5, None]), [False, True, False]),
        ("7", pa.array([Decimal("7.00"), Decimal("7.50")], pa.decimal128(10, 2)), [True, False]),
        ("7.5", pa.array([Decimal("7.00"), Decimal("7.50")], pa.decimal128(10, 2)), [False, True]),
        ("2026-01-31", pa.array([date(2026, 1, 31), date(2026, 2, 1)]), [True, False]),
        ("Anna", ["anna", "Anna ", "Anna"], [False, False, True]),
        ("anna", pa.array([b"anna", b"bob", None]), [True, False, False]),
        ("True", pa.array([True, False]), [True, False]),
    ],
)
def test_values_are_equal_if_their_texts_are_and_a_number_has_one_text(
    key: str, values: Any, expected: list[bool]
) -> None:
    assert found(values, key) == expected


def test_a_decimal_as_text_in_json_and_as_key_of_a_label_is_found_by_its_number() -> None:
    requests = pa.table({"input": ['{"customer": "7.00"}', '{"customer": "7.50"}', '{"customer": "07.00"}']})
    assert rows_about(requests, erasure("7")).tolist() == [True, False, False]
    maps = [[("customer", each)] for each in ("7.00", "7")]
    assert found(pa.array(maps, pa.map_(pa.string(), pa.string())), "7", "of") == [False, True], "no JSON"
    times = pa.array([0, 0, 0]).cast(pa.timestamp("us", "UTC"))
    labels = pa.table({"id": pa.nulls(3, pa.string()), "key": ["7.00", "7", "7.5"], "at": times})
    assert labels_about(labels, frozenset(), erasure("7")).tolist() == [True, True, False]


def test_a_decimal_is_found_in_a_table_that_has_rows_as_json() -> None:
    of_numbers = pa.table({"input": [{"customer": Decimal("7.00")}, {"customer": Decimal("8.00")}]})
    table = merged([of_numbers, pa.table({"input": [{"customer": "anna"}]})])
    assert rows_about(table, erasure("7")).tolist() == [True, False, False]


def test_a_key_is_found_in_dictionaries_structs_lists_and_texts_of_a_log() -> None:
    names = ["anna", "bob", None, "anna"]
    assert found(pa.array(names).dictionary_encode(), "anna") == [True, False, False, True]
    rows = [None if each is None else {"customer": each, "x": 1} for each in names]
    assert found(rows, "anna", "input") == [True, False, False, True]
    assert found([[each] if each else each for each in rows], "anna", "orders") == [True, False, False, True]
    assert found([[{"a": rows[1]}, {"a": each}] for each in rows], "anna", "deep") == [True, False, False, True]
    texts = ['{"customer": "anna"}', '{"customer": "bob", "friend": "anna"}', None, '[{"a": {"customer": "anna"}}]']
    assert found(texts, "anna", "input") == [True, False, False, True]
    assert found(texts, "anna", "notes") == [False] * 4, "texts of other tables aren't read"
    assert found(['{"customer": 7.0}', '{"customer": "7"}', '{"customer": [7]}', "{"], "7", "output") == [
        True, True, True, False,
    ]  # fmt: skip
    maps = pa.array([[("customer", "anna")], [("customer", "bob")]], pa.map_(pa.string(), pa.string()))
    assert found(maps, "anna", "input") == [True, False]


def test_a_request_that_could_not_be_read_is_found_too() -> None:
    bodies = [
        b'[{"customer": "bob"}, {"customer": "anna"}]',
        b'[{"customer": "bob"}]',
        stream_of(pa.table({"customer": ["anna"]})),
        b"\x00\xff",
        None,
    ]
    rows = pa.array([{"(unread)": each} for each in bodies], pa.struct([("(unread)", pa.binary())]))
    assert found(rows, "anna", "input") == [True, False, True, False, False]


def test_other_columns_with_the_same_value_are_not_meant_unless_they_are_named() -> None:
    table = pa.table({"customer": ["anna", "bob"], "friend": ["bob", "anna"]})
    assert rows_about(table, erasure("anna")).tolist() == [True, False]
    assert rows_about(table, erasure("anna", "customer", "friend")).tolist() == [True, True]
    assert not may_name(table.schema.field("friend"), ("customer",))


def test_a_table_without_the_rows_has_no_byte_of_them_left() -> None:
    names = pa.array(["anna", "bob", "carol", "anna"]).dictionary_encode()
    structs = pa.StructArray.from_arrays([names, pa.array(range(4))], ["customer", "x"])
    lists = pa.array([[each] for each in names.to_pylist()], pa.list_(pa.dictionary(pa.int32(), pa.string())))
    table = pa.table({"customer": names, "input": structs, "tags": lists})
    left = without(table, rows_about(table, erasure("anna")))
    assert left.schema == table.schema
    assert left.column("input").to_pylist() == [{"customer": "bob", "x": 1}, {"customer": "carol", "x": 2}]
    data = stream_of(left)
    assert b"anna" not in data
    assert b"bob" in data


def test_requests_that_came_after_the_erasure_are_kept() -> None:
    times = [AT - 1, AT + CLOCKS_S, AT + CLOCKS_S + 1]
    at = pa.array([round(each * 1e6) for each in times], pa.timestamp("us", "UTC"))
    table = pa.table({"at": at, "input": [{"customer": "anna"}] * 3})
    assert requests_about(table, erasure("anna")).tolist() == [True, True, False]
    assert requests_about(table, erasure("bob")).tolist() == [False] * 3


KEYS = st.sampled_from(["anna", "bob", "7", "07", "7.0", ""]) | st.text(max_size=3)
VALUES = st.none() | KEYS | st.integers(-9, 9).map(str)


@given(st.lists(st.tuples(VALUES, st.integers())), KEYS)
def test_nobody_else_s_row_is_lost_or_changed(rows: list[tuple[str | None, int]], key: str) -> None:
    inputs = [{"customer": customer, "x": x} for customer, x in rows]
    kind = pa.struct([("customer", pa.string()), ("x", pa.binary())])
    kept = [{"customer": each["customer"], "x": str(each["x"]).encode()} for each in inputs]
    table = pa.table({"input": pa.array(kept, kind), "place": pa.array(range(len(rows)), pa.int64())})
    left = without(table, rows_about(table, erasure(key)))
    expected = [(each, place) for place, each in enumerate(kept) if each["customer"] != key]
    assert list(zip(left.column("input").to_pylist(), left.column("place").to_pylist(), strict=True)) == expected
