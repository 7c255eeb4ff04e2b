"""Tensors of the Open Inference Protocol become rows and answers become tensors, or are refused by name."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.asking import RowsRefused
from headrace.serve.inference.tensors import IDS, Tensors, Wanted, inquiry_in, outputs_of, written
from headrace.serve.records import Records, RecordsRefused, Rows, Strictness
from headrace.spec.signature import Column

TAKES = (
    Column(name="far km", type="double"),
    Column(name="age", type="int8"),
    Column(name="class", type="bool"),
    Column(name="carrier", type="dictionary<values=string, indices=int32, ordered=0>", categories=("AA", "UA")),
    Column(name="day", type="date32[day]"),
)
NUMBERS = (Column(name="a", type="double"), Column(name="b", type="float"), Column(name="c", type="double"))
SIZES = {"BOOL": "?", "INT8": "b", "INT32": "i", "INT64": "q", "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d"}
"""Datatypes with the letters of Python's `struct`, which shares no code with numpy."""


def packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in values)
    return struct.pack(f"<{len(values)}{SIZES[datatype]}", *values)


def tensor(name: str, datatype: str, values: Sequence[Any], shape: Sequence[int] | None = None) -> dict[str, Any]:
    """Return a tensor in bytes."""
    shape = [len(values)] if shape is None else shape
    return {"name": name, "datatype": datatype, "shape": shape, "bytes": packed(datatype, values)}


SOUND = (
    tensor("far km", "FP64", [1.5, -2.0]),
    tensor("age", "INT8", [3, -128], [2, 1]),
    tensor("class", "BOOL", [True, False]),
    tensor("carrier", "BYTES", ["AA", "größer"]),
    tensor("day", "BYTES", ["2024-01-31", "2024-02-29"]),
)


def body_of(*tensors: dict[str, Any], **more: Any) -> tuple[bytes, int]:
    """Return the body of a request, and how many bytes of it are JSON. `bytes` of a tensor stand behind it."""
    inputs, data = [], b""
    for each in tensors:
        head = {name: value for name, value in each.items() if name != "bytes"}
        if "bytes" in each:
            head = {"parameters": {"binary_data_size": len(each["bytes"])}, **head}
            data += each["bytes"]
        inputs.append(head)
    text = json.dumps({"inputs": inputs, **more}).encode()
    return text + data, len(text)


def rows(*tensors: dict[str, Any], takes: Sequence[Column] = TAKES, most: int = 100, **more: Any) -> Rows:
    body, head_bytes = body_of(*tensors, **more)
    return Tensors(inquiry_in(body, head_bytes).inputs).rows(Records(takes, Strictness(), most), None)


def refused(*tensors: dict[str, Any], **more: Any) -> str:
    """Return why a request is refused: the tensor's name, the row, and what is wrong."""
    with pytest.raises(RecordsRefused) as error:
        rows(*tensors, **more)
    return " ".join(
        str(each) for each in (lambda fault: (fault.field, fault.record, fault.what))(error.value.faults[0])
    )


def with_one(**changes: Any) -> tuple[dict[str, Any], ...]:
    """Return the sound tensors with the first one changed."""
    return ({**SOUND[0], **changes}, *SOUND[1:])


def test_tensors_in_bytes_and_in_json_become_the_rows_that_records_become() -> None:
    values = {
        "far km": [1.5, -2.0],
        "age": [3, -128],
        "class": [True, False],
        "carrier": ["AA", "größer"],
        "day": ["2024-01-31", "2024-02-29"],
    }
    records = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    expected = Records(TAKES, Strictness(), 100).rows(json.dumps({"records": records}).encode())
    assert rows(*SOUND) == expected
    assert expected.taken == {"unseen": 1}
    in_json = [{"name": each["name"], "datatype": each["datatype"], "shape": each["shape"]} for each in SOUND]
    flat = [{**each, "data": values[each["name"]]} for each in in_json]
    nested = [{**each, "shape": [2, 1], "data": [[value] for value in values[each["name"]]]} for each in in_json]
    mixed = [flat[0], SOUND[1], nested[2], SOUND[3], flat[4]]
    for tensors in (flat, nested, mixed):
        assert rows(*tensors) == expected


def test_a_missing_number_is_nan_in_bytes_and_null_in_json() -> None:
    expected = rows(*SOUND).columns | {"far km": (None, 1.0)}
    assert rows(*with_one(bytes=packed("FP64", [math.nan, 1.0]))).columns == expected
    assert (
        rows({**SOUND[0], "bytes": packed("FP16", [math.nan, 1.0]), "datatype": "FP16"}, *SOUND[1:]).columns == expected
    )
    in_json = {"name": "far km", "datatype": "FP64", "shape": [2], "data": [None, 1]}
    assert rows(in_json, *SOUND[1:]).columns == expected
    inputs = inquiry_in(*body_of(*with_one(bytes=packed("FP64", [1.0, math.nan])))).inputs
    with pytest.raises(RecordsRefused) as error:
        Tensors(inputs).rows(Records(TAKES, Strictness(null="refuse"), 100), None)
    assert [(each.field, each.record, each.what) for each in error.value.faults] == [("far km", 1, "it is null")]


def test_a_tensor_of_another_width_is_taken_if_each_value_fits() -> None:
    for datatype in ("FP16", "FP32", "INT8", "INT64", "UINT64"):
        values = [1, 2] if "INT" in datatype else [1.0, 2.0]
        assert rows(tensor("far km", datatype, values), *SOUND[1:]).columns["far km"] == (1.0, 2.0)
    assert rows(SOUND[0], tensor("age", "INT64", [-128, 127]), *SOUND[2:]).columns["age"] == (-128, 127)
    assert "age 1 `128`" in refused(SOUND[0], tensor("age", "INT64", [1, 128]), *SOUND[2:])


def test_one_tensor_may_stand_for_all_columns_of_numbers() -> None:
    matrix = tensor("input-0", "FP32", [1.0, 2.0, 3.0, 4.0, 5.0, math.nan], [2, 3])
    assert rows(matrix, takes=NUMBERS).columns == {"a": (1.0, 4.0), "b": (2.0, 5.0), "c": (3.0, None)}
    in_json = {"name": "x", "datatype": "INT32", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]}
    assert rows(in_json, takes=NUMBERS).columns == {"a": (1.0, 4.0), "b": (2.0, 5.0), "c": (3.0, 6.0)}
    assert refused({**matrix, "name": "a"}, takes=NUMBERS).startswith("a None its shape is [2, 3]")
    assert refused({**matrix, "shape": [3, 2]}, takes=NUMBERS).startswith("input-0 None its shape is [3, 2]")
    assert refused(matrix, tensor("a", "FP64", [1.0, 2.0]), takes=NUMBERS).startswith("input-0")
    whole = (*NUMBERS[:2], Column(name="c", type="int64"))
    assert refused(matrix, takes=whole) == "input-0 None it is FP32, and `c` takes `int64`: send INT64"


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ((), "None None there are no tensors"),
        (SOUND[1:], "far km None it is missing"),
        ((*SOUND, tensor("more", "INT8", [1, 2])), "more None the model takes no such field"),
        ((*SOUND, SOUND[0]), "far km None it is given twice"),
        (with_one(datatype="FP128"), "far km None the datatype `FP128` isn't known"),
        (with_one(datatype="BF16"), "far km None the datatype `BF16` isn't known"),
        (
            (tensor("far km", "BOOL", [True, False]), *SOUND[1:]),
            "far km None it is BOOL, and `far km` takes `double`: send FP64",
        ),
        (with_one(shape=[]), "far km None its shape is []: the first number"),
        (with_one(shape=[-2]), "far km None its shape is [-2]: the first number"),
        (with_one(shape=[0]), "far km None its shape is [0]: the first number"),
        (with_one(shape=[1 << 62]), "far km None its shape is [4611686018427387904]: the first number"),
        (with_one(shape=[101]), "far km None its shape is [101]: the first number"),
        (with_one(shape=[2, 1 << 63]), "far km None its shape is [2, 9223372036854775808], and must be"),
        (with_one(shape=[2, -1]), "far km None its shape is [2, -1], and must be"),
        (with_one(shape=[2, 1, 1]), "far km None its shape is [2, 1, 1], and must be"),
        (with_one(shape=[1 << 70]), "far km None its shape is [1180591620717411303424]: the first number"),
        (with_one(shape=[2.5]), "None None the request can't be read"),
        (with_one(shape="2"), "None None the request can't be read"),
        (with_one(name=3), "None None the request can't be read"),
        (with_one(shape=[3]), "far km None [3] values of FP64 take 24 bytes, and there are 16"),
        (with_one(shape=[1]), "far km None [1] values of FP64 take 8 bytes, and there are 16"),
        (with_one(data=[1.0, 2.0]), "far km None it needs either"),
        (({"name": "far km", "datatype": "FP64", "shape": [2]}, *SOUND[1:]), "far km None it needs either"),
        (with_one(parameters={"binary_data_size": -1}), "far km None its `binary_data_size` must be a number of bytes"),
        (with_one(parameters={"binary_data_size": True}), "far km None its `binary_data_size` must be a number"),
        (with_one(parameters={"binary_data_size": "16"}), "far km None its `binary_data_size` must be a number"),
        (with_one(parameters={"binary_data_size": 1 << 62}), "far km None its `binary_data_size` is 4,611,686"),
        (with_one(parameters={"binary_data_size": 17}), "day None its `binary_data_size` is 28, and there are 27"),
        (with_one(parameters={"binary_data_size": 15}), "None None there are 1 bytes behind the data"),
        (with_one(parameters={"shared_memory_region": "x"}), "far km None it has the parameter `shared_memory_region`"),
        (with_one(bytes=packed("FP64", [1.0, math.inf])), "far km 1 `inf` isn't in the range of FP64"),
        ((SOUND[0], {**SOUND[1], "bytes": b"\1"}, *SOUND[2:]), "age None [2, 1] values of INT8 take 2 bytes"),
        ((*SOUND[:2], {**SOUND[2], "bytes": b"\1\2"}, *SOUND[3:]), "class None a byte of a BOOL is neither"),
        ((*SOUND[:4], {**SOUND[4], "bytes": b"\1\0\0"}), "day 0 it ends within a value"),
        ((*SOUND[:4], {**SOUND[4], "bytes": b"\1\0\0\0a\xff\xff\xff\xffb"}), "day 1 it ends within a value"),
        ((*SOUND[:4], {**SOUND[4], "bytes": b"\1\0\0\0\xff\1\0\0\0a"}), "day 0 it is not text in UTF-8"),
        ((*SOUND[:4], tensor("day", "BYTES", ["2024-01-31"], [2])), "day None its shape is [2], and its data has 1"),
        (
            (*SOUND[:4], tensor("day", "BYTES", ["a"] * 3, [2])),
            "day None its shape is [2], and its data has more than 2",
        ),
        ((*SOUND[:4], tensor("day", "BYTES", ["2024-01-31", "tomorrow"])), 'day 1 `"tomorrow"`: '),
    ],
    ids=str,
)
def test_a_tensor_that_does_not_fit_is_refused_by_name(tensors: tuple[dict[str, Any], ...], told: str) -> None:
    assert refused(*tensors).startswith(told)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([1.0], "its shape is [2], and its data has 1 values"),
        ([1.0, 2.0, 3.0], "its shape is [2], and its data has more than 2 values"),
        ([1.0, "2"], "its data isn't FP64: Expected `float | null`, got `str`"),
        ([1.0, True], "its data isn't FP64"),
        ([[1.0], [2.0]], "its shape is [2], and its data has lists in a list"),
        ({}, "its data isn't FP64"),
        ("", "its data isn't FP64"),
        (None, "its data isn't FP64"),
        ([10**400, 1], "its data isn't FP64"),
    ],
    ids=str,
)
def test_values_in_json_that_do_not_fit_are_refused(data: Any, told: str) -> None:
    assert refused({"name": "far km", "datatype": "FP64", "shape": [2], "data": data}, *SOUND[1:]).startswith(
        f"far km None {told}"
    )


def test_lists_in_a_list_have_the_length_that_the_shape_says() -> None:
    given = {"name": "far km", "datatype": "FP64", "shape": [2, 1]}
    for data, told in (
        ([[1.0, 2.0]], "its shape is [2, 1], and a list in its data has another length"),
        ([[1.0], []], "its shape is [2, 1], and a list in its data has another length"),
        ([[1.0]], "its shape is [2, 1], and its data has 1 values"),
        ([[1.0], 2.0], "its data isn't FP64"),
        ([[[1.0]], [[2.0]]], "its data isn't FP64"),
    ):
        assert refused({**given, "data": data}, *SOUND[1:]).startswith(f"far km None {told}")


def test_numbers_in_json_have_the_bounds_of_their_datatype() -> None:
    for datatype, wrong in (("INT8", -129), ("UINT8", -1), ("INT64", 1 << 63), ("UINT64", 1 << 64)):
        given = {"name": "far km", "datatype": datatype, "shape": [2], "data": [1, wrong]}
        assert refused(given, *SOUND[1:]) == f"far km 1 `{wrong}` isn't in the range of {datatype}"
    given = {"name": "far km", "datatype": "FP16", "shape": [2], "data": [1, 65_505]}
    assert refused(given, *SOUND[1:]) == "far km 1 `65505.0` isn't in the range of FP16"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"inputs": 3}', b'{"inputs": [{}]}', b'{"inputs": ' + b"[" * 100_000, b'\xff{"inputs": []}'],
    ids=lambda body: str(body[:20]),
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RecordsRefused) as error:
        inquiry_in(body, None)
    assert error.value.faults[0].what.startswith("the request can't be read: ")


def test_a_head_that_is_longer_than_the_body_is_refused() -> None:
    with pytest.raises(RecordsRefused) as error:
        inquiry_in(b"{}", 3)
    assert error.value.faults[0].what == "`Inference-Header-Content-Length` is 3, and the body has 2 bytes"


def test_bytes_need_a_head_that_ends() -> None:
    """Without the header, the whole body is JSON."""
    body, _ = body_of(*SOUND)
    with pytest.raises(RecordsRefused):
        inquiry_in(body, None)
    with pytest.raises(RecordsRefused) as error:
        inquiry_in(body_of({**SOUND[0], "bytes": b""}, *SOUND[1:])[0][: body_of(SOUND[0])[1]], None)
    assert error.value.faults


# -- answers -----------------------------------------------------------------------------------------------------------

GIVES = (
    Column(name="predicted", type="int32"),
    Column(name="score", type="float"),
    Column(name="label", type="string"),
)
ANSWERS: dict[str, list[Any]] = {"predicted": [1, 2], "score": [0.5, None], "label": ["é", ""]}


def test_answers_are_tensors_of_the_types_that_the_model_gives() -> None:
    outputs = outputs_of(ANSWERS, GIVES, None)
    assert [(each.name, each.datatype) for each in outputs] == [
        ("predicted", "INT32"),
        ("score", "FP32"),
        ("label", "BYTES"),
    ]
    inquiry = inquiry_in(*body_of(*SOUND, parameters={"binary_data_output": True}))
    heads, data = zip(*written(outputs, inquiry), strict=True)
    assert [each["parameters"] for each in heads] == [{"binary_data_size": size} for size in (8, 8, 10)]
    assert data[0] == packed("INT32", [1, 2])
    assert data[2] == packed("BYTES", ["é", ""])
    score = struct.unpack("<2f", data[1])
    assert (score[0], math.isnan(score[1])) == (0.5, True)


def test_an_output_is_in_bytes_where_the_client_says_so() -> None:
    wanted = [{"name": "score"}, {"name": "predicted", "parameters": {"binary_data": True}}, {"name": IDS}]
    for for_all in (True, False):
        inquiry = inquiry_in(*body_of(*SOUND, outputs=wanted, parameters={"binary_data_output": for_all}))
        assert inquiry.wanted == (Wanted("score", None), Wanted("predicted", True), Wanted(IDS, None))
        found = {
            head["name"]: "data" in head for head, _ in written(outputs_of(ANSWERS, GIVES, inquiry.wanted), inquiry)
        }
        assert found == {"score": not for_all, "predicted": False}


def test_an_output_that_is_not_there_or_asked_for_twice_is_refused() -> None:
    with pytest.raises(RecordsRefused) as error:
        outputs_of(ANSWERS, GIVES, [Wanted("proba", None)])
    assert "no output `proba`; the outputs are `predicted`, `score`, `label`, `id`" in error.value.faults[0].what
    assert "asked for twice" in refused(*SOUND, outputs=[{"name": "a"}, {"name": "a"}])
    assert "`classification`" in refused(*SOUND, outputs=[{"name": "a", "parameters": {"classification": 3}}])
    assert "`binary_data` must be" in refused(*SOUND, outputs=[{"name": "a", "parameters": {"binary_data": 1}}])
    assert "`sequence_id`" in refused(*SOUND, parameters={"sequence_id": 4})


@pytest.mark.parametrize(
    ("values", "known", "datatype"),
    [
        ([1, 2], "int64", "INT64"),
        ([1, 2], None, "INT64"),
        ([1, 300], "int8", "INT64"),
        ([1, 1 << 63], "int64", "UINT64"),
        ([1, 2.5], "int64", "FP64"),
        ([1, 2], "double", "FP64"),
        ([None, 1.5], None, "FP64"),
        ([True, False], None, "BOOL"),
        ([True, False], "int64", "BOOL"),
        (["a", "b"], "date32[day]", "BYTES"),
        (["a", "b"], "double", "BYTES"),
    ],
)
def test_the_datatype_of_answers_is_the_known_one_or_that_of_the_values(
    values: list[Any], known: str | None, datatype: str
) -> None:
    gives = [] if known is None else [Column(name="y", type=known)]
    assert outputs_of({"y": values}, gives, None)[0].datatype == datatype


@pytest.mark.parametrize("values", [["a", None], [None, 1], [True, None], ["a", 1], [-1, 1 << 63], [True, 1]], ids=str)
def test_answers_that_no_tensor_can_hold_are_told_by_name(values: list[Any]) -> None:
    with pytest.raises(RowsRefused, match="`y`"):
        outputs_of({"y": values}, [], None)


# -- round trips -------------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COLUMNS = {
    "f": ("double", "FP64", FLOATS),
    "g": ("float", "FP32", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "h": ("halffloat", "FP16", st.floats(width=16, allow_nan=False, allow_infinity=False)),
    "i": ("int8", "INT8", st.integers(-128, 127)),
    "q": ("int64", "INT64", st.integers(-(1 << 63), (1 << 63) - 1)),
    "u": ("uint64", "UINT64", st.integers(0, (1 << 64) - 1)),
    "b": ("bool", "BOOL", st.booleans()),
    "s": ("string", "BYTES", st.text()),
}
EACH = [Column(name=name, type=kind) for name, (kind, _, _) in COLUMNS.items()]
TABLES = st.integers(1, 20).flatmap(
    lambda count: st.fixed_dictionaries(
        {name: st.lists(values, min_size=count, max_size=count) for name, (_, _, values) in COLUMNS.items()}
    )
)


@given(TABLES, st.lists(st.booleans(), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_what_is_sent_is_read_and_what_is_answered_is_sent(table: dict[str, list[Any]], are_binary: list[bool]) -> None:
    tensors = []
    for (name, values), is_binary in zip(table.items(), are_binary, strict=True):
        told = tensor(name, COLUMNS[name][1], values)
        if not is_binary:
            told = {**{key: each for key, each in told.items() if key != "bytes"}, "data": values}
        tensors.append(told)
    found = rows(*tensors, takes=EACH)
    assert found.columns == {name: tuple(values) for name, values in table.items()}
    inquiry = inquiry_in(*body_of(*tensors, parameters={"binary_data_output": True}))
    for head, data in written(outputs_of(table, EACH, None), inquiry):
        assert (head["datatype"], head["shape"]) == (COLUMNS[head["name"]][1], [found.count])
        assert data == packed(head["datatype"], table[head["name"]])


@given(st.binary(max_size=200), st.integers(0, 220))
def test_whatever_the_bytes_are_they_are_read_or_refused(data: bytes, size: int) -> None:
    head = {"name": "s", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": size}, "bytes": data}
    takes = [Column(name="s", type="string")]
    with suppress(RecordsRefused):
        found = rows(head, takes=takes)
        assert packed("BYTES", found.columns["s"]) == data


def test_a_request_of_very_many_tensors_is_refused() -> None:
    assert "length <= 10000" in refused(*[{**SOUND[1], "name": str(number)} for number in range(10_001)])


def test_a_tensor_that_claims_much_takes_no_memory() -> None:
    for shape in ([10**18], [1, 10**18], [10**9, 10**9]):
        assert "its shape is" in refused(*with_one(shape=shape))
    million = {"name": "far km", "datatype": "FP64", "shape": [2], "data": [1] * 1_000_000}
    assert "more than 2 values" in refused(million, *SOUND[1:])
