"""Records in JSON become rows of a model's types, or are refused with all that is wrong with them."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.models.fitting import table_of
from headrace.models.signature import signature_for
from headrace.models.streams import stream_of
from headrace.serve.inference.tensors import Tensor, Tensors
from headrace.serve.records import MOST_FAULTS, Fault, Records, RecordsRefused, Strictness, parted
from headrace.serve.streams import read
from headrace.spec.endpoint import key_text
from headrace.spec.signature import Column

TAKES = (
    Column(name="age", type="int8"),
    Column(name="far km", type="double"),
    Column(name="carrier", type="dictionary<values=string, indices=int32, ordered=0>", categories=("AA", "UA")),
    Column(name="class", type="bool"),
)
ROW = {"age": 3, "far km": 1.5, "carrier": "AA", "class": True}


def faults(
    body: Any, strictness: Strictness | None = None, most: int = 100
) -> list[tuple[int | None, str | None, str]]:
    with pytest.raises(RecordsRefused) as refused:
        Records(TAKES, strictness or Strictness(), most).rows(
            body if isinstance(body, bytes) else json.dumps(body).encode()
        )
    return [(each.record, each.field, each.what) for each in refused.value.faults]


def test_records_become_a_table_of_the_types_that_the_model_takes() -> None:
    body = {"records": [ROW, {**ROW, "far km": 2, "carrier": "ZZ"}], "ids": ["a", "b"]}
    rows = Records(TAKES, Strictness(), 100).rows(json.dumps(body).encode())
    table = table_of(rows.columns, TAKES)
    assert table.schema == pa.schema(
        [("age", pa.int8()), ("far km", pa.float64()), ("carrier", pa.string()), ("class", pa.bool_())]
    )
    assert table.to_pylist() == [ROW, {**ROW, "far km": 2.0, "carrier": "ZZ"}]
    assert rows.count == 2
    assert rows.names == ("a", "b")
    assert rows.taken == {"unseen": 1}


def test_a_refusal_names_all_that_is_wrong() -> None:
    body = {"records": [{"age": 300, "far km": "x", "carrier": None, "more": 1}, ROW, 7]}
    assert faults(body, Strictness(null="refuse")) == [
        (0, "age", "`300`: Expected `int` <= 127"),
        (0, "far km", '`"x"`: Expected `float`, got `str`'),
        (0, "carrier", "it is null"),
        (0, "class", "it is missing"),
        (0, "more", "the model takes no such field"),
        (2, None, "it is no object"),
    ]
    assert [field for _, field, _ in faults(body)] == ["age", "far km", "class", "more", None]
    assert len(faults({"records": [{}] * 1_000}, most=1_000)) == MOST_FAULTS


def test_a_null_goes_to_the_model_as_in_a_table() -> None:
    rows = Records(TAKES, Strictness(), 100).rows(json.dumps({"records": [{**ROW, "age": None}]}).encode())
    assert table_of(rows.columns, TAKES).to_pylist() == [{**ROW, "age": None}]


def test_what_an_endpoint_takes_by_choice_is_taken() -> None:
    strictness = Strictness(unknown="take", missing="take", unseen="refuse")
    records = Records(TAKES, strictness, 100)
    assert records.rows(b'{"records": [{"age": null, "more": 1}]}').columns == dict.fromkeys(ROW, (None,))
    assert faults({"records": [{"carrier": "ZZ"}]}, strictness) == [
        (0, "carrier", "`ZZ` is none of the known categories")
    ]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "is no JSON"),
        (b'{"records": [', "is no JSON"),
        (b'{"records": [{"age": NaN}]}', "is no JSON"),
        (b'\xff{"records": []}', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "must be an object"),
        (b'{"records": {}}', "must be an object"),
        (b'{"records": []}', "there are 0 records; one request may have 1 to 100"),
        (b'{"records": [], "x": 1}', "`x` is no field of the body"),
        (json.dumps({"records": [ROW] * 101}).encode(), "there are 101 records; one request may have 1 to 100"),
        (json.dumps({"records": [ROW], "ids": ["a", "b"]}).encode(), "there are 1 records and 2 ids"),
        (json.dumps({"records": [ROW, ROW], "ids": ["a", "a"]}).encode(), "an id is given twice"),
        (json.dumps({"records": [{**ROW, "age": 10**400}]}).encode(), ""),
        (json.dumps({"records": [{**ROW, "far km": "\ud800"}]}).encode(), ""),
        (b'{"records": [{"age": 1e999, "far km": 1, "carrier": "AA", "class": true}]}', ""),
    ],
)
def test_a_body_that_is_no_list_of_records_is_refused(body: bytes, what: str) -> None:
    assert what in faults(body)[0][2]


def test_an_empty_list_of_ids_is_as_good_as_none() -> None:
    assert Records(TAKES, Strictness(), 100).rows(json.dumps({"records": [ROW], "ids": []}).encode()).names == ()


def test_whom_and_when_a_record_is_about_is_checked_and_kept_beside_what_the_model_takes() -> None:
    records = Records(TAKES, Strictness(), 100).about("customer", "day")
    whom = [17, 17.0, "17", True, 2.5]
    given = [{**ROW, "customer": each, "day": "2026-01-31"} for each in whom]
    body = json.dumps({"records": given}).encode()
    rows = records.rows(body)
    assert rows.columns.keys() == ROW.keys()
    assert rows.beside == {"customer": ("17", "17", "17", "True", "2.5"), "day": ("2026-01-31",) * 5}
    assert records.keys(body) == list(rows.beside["customer"])
    assert records.about("customer", "day") is records


def test_a_record_that_does_not_tell_whom_or_when_it_is_about_is_refused() -> None:
    records = Records(TAKES, Strictness(missing="take", null="take"), 100, key="customer", time="day")
    told = {**ROW, "customer": 1, "day": "2026-01-31T12:00:00+01:00"}
    wrong = [
        ROW, {**told, "customer": None}, {**told, "customer": ""}, {**told, "customer": {}},
        {**told, "customer": 1 << 70},
        {**told, "day": "yesterday"}, {**told, "day": 20260131}, {**told, "day": "0001-01-01T00:00:00+02:00"},
    ]  # fmt: skip
    with pytest.raises(RecordsRefused) as refused:
        records.rows(json.dumps({"records": [told, *wrong]}).encode())
    found = [(each.record, each.field) for each in refused.value.faults]
    assert found == [(1, "customer"), (1, "day"), *((place, "customer") for place in (2, 3, 4, 5)),
                     *((place, "day") for place in (6, 7, 8))]  # fmt: skip
    for one in wrong:
        with pytest.raises(RecordsRefused):
            records.rows(json.dumps({"records": [told, one]}).encode())
        assert records.keys(json.dumps({"records": [one]}).encode()) in ([], ["1"], [""])


def test_a_column_that_the_model_takes_can_tell_whom_and_when() -> None:
    takes = [Column(name="customer", type="int64"), Column(name="day", type="date32[day]")]
    records = Records(takes, Strictness(), 100, key="customer", time="day")
    rows = records.rows(b'{"records": [{"customer": 17, "day": "2026-01-31"}]}')
    assert (rows.columns, rows.beside) == ({"customer": (17,), "day": (date(2026, 1, 31),)}, {})
    with pytest.raises(RecordsRefused):
        records.rows(b'{"records": [{"customer": null, "day": "2026-01-31"}]}')
    with pytest.raises(UsageError, match="`time` tells when an answer is about, and the model takes the column `age`"):
        Records(TAKES, Strictness(), 100, time="age")


def test_a_key_chooses_the_same_variant_as_a_number_and_as_a_decimal_and_a_huge_one_takes_no_memory() -> None:
    decimals = pa.array([Decimal("17.00"), Decimal("17.50"), None], pa.decimal128(10, 2)).drop_null()
    asked = read(stream_of(pa.table({"customer": decimals})), "customer", None)
    assert asked.keys == Records(TAKES, Strictness(), 100, key="customer").keys(
        b'{"records": [{"customer": 17}, {"customer": 17.5}]}'
    )
    assert key_text(Decimal("1E+999999999")) == "1E+999999999"
    assert (key_text(Decimal("NaN")), key_text(Decimal("-Infinity"))) == ("NaN", "-Infinity")


def test_a_text_in_json_is_the_number_where_the_model_takes_the_key_as_a_decimal() -> None:
    body = b'{"records": [{"customer": "17.00"}, {"customer": 17}, {"customer": 17.0}, {"customer": "17.50"}]}'
    records = Records([Column(name="customer", type="decimal128(10, 2)")], Strictness(), 100, key="customer")
    assert records.keys(body) == ["17", "17", "17", "17.5"]
    as_text = Records([Column(name="customer", type="string")], Strictness(), 100, key="customer")
    assert as_text.keys(body) == ["17.00", "17", "17", "17.50"]
    tensors = Tensors([Tensor("customer", "BYTES", (3,), memoryview(b'["17.00", "17", "17.50"]'), False)])
    assert tensors.keys(records) == ["17", "17", "17.5"]


def test_a_body_in_parts_has_each_record_with_its_id_once() -> None:
    body = b'{"ids": ["a", "b", "\\u00e9"], "records": [{"x": 1}, {"x": 2.50}, {"x": "\\u00e9"}]}'
    first, second = parted(body, [[0, 2], [1]])
    assert json.loads(first) == {"records": [{"x": 1}, {"x": "\u00e9"}], "ids": ["a", "\u00e9"]}
    assert json.loads(second) == {"records": [{"x": 2.5}], "ids": ["b"]}
    for ids in (["a"], ["a", "a"]):
        with pytest.raises(RecordsRefused):
            parted(json.dumps({"records": [{}, {}], "ids": ids}).encode(), [[0], [1]])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "x"]), inner, max_size=5),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=3), *[st.sampled_from(["refuse", "take"])] * 3)
def test_whatever_the_records_are_they_fit_or_each_refusal_says_why(
    records: list[Any], unknown: Any, missing: Any, null: Any
) -> None:
    strictness = Strictness(unknown=unknown, missing=missing, null=null)
    found: list[RecordsRefused] = []
    try:
        rows = Records(TAKES, strictness, 3).rows(json.dumps({"records": records}).encode())
    except RecordsRefused as refused:
        found.append(refused)
    for refused in found:
        assert refused.faults
        assert all(isinstance(each, Fault) and each.what for each in refused.faults)
    if not found:
        table = table_of(rows.columns, TAKES)
        assert len(table) == rows.count == len(records)
        assert table.column_names == [column.name for column in TAKES]
        if missing == null == "refuse":
            assert not any(column.null_count for column in table.columns)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.date32(), "2024-01-31"),
        (pa.timestamp("us", "UTC"), "2024-01-31T12:00:00Z"),
        (pa.timestamp("ms"), "2024-01-31T12:00:00"),
        (pa.time64("us"), "12:00:00"),
        (pa.decimal128(10, 2), "1.25"),
        (pa.uint64(), (1 << 64) - 1),
        (pa.large_string(), "x"),
    ],
    ids=str,
)
def test_values_of_many_types_can_be_sent(kind: pa.DataType, value: Any) -> None:
    takes = signature_for(pa.schema([("a", kind)])).takes
    rows = Records(takes, Strictness(), 1).rows(json.dumps({"records": [{"a": value}]}).encode())
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(rows.columns))  # as to a process of its own
    for columns in (rows.columns, sent):
        table = table_of(columns, takes)
        assert table.schema.field("a").type == (pa.string() if pa.types.is_large_string(kind) else kind)
        assert json.loads(msgspec.json.encode(table.column("a").to_pylist())) == [value]


def test_a_type_that_json_cannot_hold_is_told_at_the_start() -> None:
    with pytest.raises(UsageError, match="records in JSON can't have the column `a` of type `map<string, int64>`"):
        Records([Column(name="a", type="map<string, int64>")], Strictness(), 1)


@pytest.mark.parametrize("name", ['a"', "a\\b", "a\nb", "\x00"])
def test_a_column_whose_name_no_record_can_have_is_told(name: str) -> None:
    with pytest.raises(UsageError, match="records in JSON can't have a column named"):
        Records([Column(name=name, type="double")], Strictness(), most=1)
