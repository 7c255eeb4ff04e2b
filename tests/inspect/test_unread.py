"""Requests that sealing kept as bytes lose the rows about a person, and no others."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.inspect.endpoints.person import about, without
from headrace.inspect.endpoints.unread import bare, requests
from headrace.models.predicted import merged
from headrace.models.streams import stream_of
from headrace.serve.predictions.part import UNREAD, parts
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.segment import Contents, Logged
from tests.inspect.test_person import erasure
from tests.serve.predictions.samples import answered

COUNT = 20_000
ANNA = 77
NAMES = ["anna" if row == ANNA else "bob" for row in range(COUNT)]
ROWS = pa.table({"customer": NAMES, **{f"c{each}": [float(each)] * COUNT for each in range(150)}})
ANSWERS = pa.table({"predicted": [0.5] * COUNT, **{f"d{each}": [float(each)] * COUNT for each in range(150)}})
OTHERS = pa.array([row != ANNA for row in range(COUNT)])
LARGE = replace(answered(count=COUNT), form="arrow", given=stream_of(ROWS, "zstd"), answers=stream_of(ANSWERS, "zstd"))


def part_of(*answers: Answered) -> pa.Table:
    """Return a part with the answers to these requests, as sealing makes it."""
    logged, place = [], 0
    for number, each in enumerate(answers):
        logged.append(Logged(place, replace(each, salt=number)))
        place += each.count
    return parts(Contents("0a1b2c3d4e5f", 1, 0.0, tuple(logged)), {})["delays"]


def test_a_request_too_large_to_unpack_with_others_loses_the_rows_of_the_person_only() -> None:
    begins = replace(LARGE, count=COUNT - ANNA, given=stream_of(ROWS.slice(ANNA), "zstd"))
    begins = replace(begins, answers=stream_of(ANSWERS.slice(ANNA), "zstd"))
    small = replace(answered(), given=b'[{"customer": "carol"}]')
    table = part_of(LARGE, LARGE, begins, small, LARGE, small)
    assert [each.first for each in requests(table) if each.column == "input"][-1] == 3 * COUNT - ANNA + 1
    mask, doubtful = about(table, erasure("anna"))
    last = 3 * COUNT - ANNA + 1 + ANNA
    assert (np.flatnonzero(mask).tolist(), doubtful.sum()) == ([ANNA, COUNT + ANNA, 2 * COUNT, last], 0)
    left = without(table, mask)
    assert left.column("id").equals(table.column("id").filter(pa.array(~mask)))
    for each in (found := requests(left)):
        content, whole = each.content(), ROWS if each.column == "input" else ANSWERS
        assert isinstance(content, pa.Table)
        assert content.equals(whole.slice(ANNA + 1) if len(content) < COUNT - 1 else whole.filter(OTHERS))
    assert len(found) == len(requests(table))
    assert not about(left, erasure("anna")).mask.any()
    assert left.column("input")[-1].as_py()["customer"] == "carol"


@pytest.mark.parametrize("is_text", [False, True])
def test_records_that_were_kept_as_bytes_are_written_back_as_they_were(is_text: bool) -> None:
    body = b'[{"customer": "anna", "x": 1.50}, {"customer": "bob", "y": 1e2}, {"customer": ["anna"]}, {"z":  7}]'
    rows = [{UNREAD: None, "customer": "carol"}, {UNREAD: body, "customer": None}, *[{}] * 3, {"customer": "dora"}]
    column = pa.array(rows, pa.struct([(UNREAD, pa.binary()), ("customer", pa.string())]))
    if is_text:
        other = pa.table({"input": pa.array([{"customer": [{"a": 1}]}])})
        column = merged([pa.table({"input": column}), other], ["input"]).column("input").combine_chunks().slice(0, 6)
        assert pa.types.is_string(column.type)
    ids = ["w-1-0-00", *(f"w-1-{row}-01" for row in range(1, 5)), "w-1-5-02"]
    table = pa.table({"id": ids, "at": pa.array([0] * 6, pa.timestamp("us", "UTC")), "input": column})
    mask, doubtful = about(table, erasure("anna"))
    assert (mask.tolist(), doubtful.sum()) == ([False, True, False, True, False, False], 0)
    (left,) = requests(without(table, mask))
    assert (left.first, left.end, left.data) == (1, 3, b'[{"customer": "bob", "y": 1e2},{"z":  7}]')
    found = bare(without(table, mask)).column("input").to_pylist()
    names = [each and (json.loads(each) if is_text else each)["customer"] for each in found]
    assert names == ["carol", None, None, "dora"]


def test_a_request_that_nobody_can_read_goes_as_a_whole_and_is_counted() -> None:
    sound = replace(answered(count=2), given=b'[{"customer": "bob"}, {"customer": "carol"}]')
    hidden = replace(answered(count=3), given=b"\x00\xff")
    blurred = replace(sound, given=b'[{"customer": "bob"}, {"customer": "anna"}]', answers=b"\x00\xff")
    table = part_of(sound, hidden, blurred, replace(sound, answers=b"\x00\xff"))
    mask, doubtful = about(table, erasure("anna"))
    assert np.flatnonzero(mask).tolist() == [2, 3, 4, 5, 6]
    assert doubtful.sum() == 4, "Anna's own row is known"
    left = without(table, mask)
    assert [each["customer"] for each in left.column("input").to_pylist()] == ["bob", "carol"] * 2
    assert not about(left, erasure("anna")).mask.any()


FAR = pa.array([2**60, 1], pa.timestamp("s"))
"""A time that Python doesn't have."""
STRANGE = {
    "views": pa.array(["anna", "bob"], pa.string_view()),
    "views of bytes": pa.array([b"anna", b"bob"], pa.binary_view()),
    "halves": pa.array(np.array([1, 2], np.float16)),
    "far times": FAR,
    "lists of far times": pa.array([[2**60], [1]], pa.list_(pa.timestamp("s"))),
    "nulls with values": pa.ListArray.from_arrays(
        pa.array([0, 1, 2], pa.int32()), pa.array([{"customer": "anna"}] * 2), mask=pa.array([False, True])
    ),
    "maps": pa.array([[("customer", "anna"), ("customer", "x")], []], pa.map_(pa.string(), pa.string())),
    "maps of far times": pa.array([[("a", 2**60)], [("a", 1)]], pa.map_(pa.string(), pa.timestamp("s"))),
    "maps of structs": pa.array([[({"a": 1}, 1)], []], pa.map_(pa.struct([("a", pa.int64())]), pa.int64())),
    "maps of lists": pa.array([[([1], 1)], [([2], 2)]], pa.map_(pa.list_(pa.int64()), pa.int64())),
}
NAMING = ("views", "views of bytes", "maps", "nulls with values")
"""Those that name Anna in their first row."""


def of_two_clients(**columns: Any) -> Answered:
    """Return the answers to a request of two rows."""
    answers = stream_of(pa.table({"predicted": [0.5, 0.5]}))
    return replace(answered(count=2), form="arrow", given=stream_of(pa.table(columns)), answers=answers)


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", ["customer", "beside"])
def test_a_column_of_any_type_that_clients_may_send_hides_nobody_and_stops_nothing(kind: str, name: str) -> None:
    columns = {"customer": ["anna", "bob"], "x": [1.0, 2.0]} | {name: STRANGE[kind]}
    table = part_of(of_two_clients(**columns))
    mask, _ = about(table, erasure("anna"))
    assert mask.tolist() == [name == "beside" or kind in NAMING, False]
    assert len(without(table, np.array([True, False]))) == 1


def test_a_row_with_a_time_that_python_does_not_have_is_kept_beside_rows_of_other_types() -> None:
    others = of_two_clients(customer=["carol", "dora"], day=["monday"] * 2)
    table = part_of(of_two_clients(customer=["anna", "bob"], day=FAR), others)
    rows = [json.loads(each) for each in table.column("input").to_pylist()]
    assert [each["customer"] for each in rows] == ["anna", "bob", "carol", "dora"]
    assert rows[0]["day"] == 2**60
    assert about(table, erasure("anna")).mask.tolist() == [True, False, False, False]


def test_a_map_inside_of_a_map_is_searched_too() -> None:
    kind = pa.map_(pa.string(), pa.map_(pa.string(), pa.string()))
    maps = pa.array([[("a", [("customer", "anna"), ("x", "y")])], [("a", [("customer", "bob")])]], kind)
    assert about(part_of(of_two_clients(m=maps)), erasure("anna")).mask.tolist() == [True, False]


@pytest.mark.parametrize("ids", [[1, 2], ["a", "b"]])
def test_a_client_s_columns_that_look_like_those_of_a_log_are_its_rows(ids: list[Any]) -> None:
    inside = pa.array([{UNREAD: b"hello"}] * 2, pa.struct([(UNREAD, pa.binary())]))
    rows = [pa.array(["anna", "bob"]), pa.array(ids), inside, inside]
    given = stream_of(pa.table(rows, names=["customer", "id", "input", "input"]))
    table = part_of(replace(of_two_clients(x=[1.0, 2.0]), given=given))
    mask, doubtful = about(table, erasure("anna"))
    assert (mask.tolist(), doubtful.any()) == ([True, False], False)
    (left,) = requests(without(table, mask))
    content = left.content()
    assert isinstance(content, pa.Table)
    assert content.column(0).to_pylist() == ["bob"]


def test_a_client_s_column_that_is_called_like_unread_bytes_is_not_taken_for_them() -> None:
    table = part_of(of_two_clients(**{"customer": ["carol", "bob"], UNREAD: pa.array([b"q", b"r"])}))
    assert not about(table, erasure("anna")).mask.any()
    assert about(table, erasure("bob")).mask.tolist() == [False, True]


def test_requests_that_came_after_an_erasure_are_not_unpacked_for_it() -> None:
    table = part_of(of_two_clients(**{"customer": ["anna", "bob"], UNREAD: pa.array([b"q", b"r"])}))
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        masks = [about(table, erasure("anna", at=at)).mask.tolist() for at in (1_000.0, 0.0)]
    finally:
        sys.setprofile(None)
    assert masks == [[True, False], [False, False]]
    assert (calls.count("about"), calls.count("content")) == (2, 1)
