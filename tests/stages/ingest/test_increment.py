"""New rows laid into held ones: each key once, its latest version, and only the parts written that had to change."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.codec.later import Later
from headrace.errors import DataError, DefinitionError
from headrace.stages.ingest._sql.watermark import begin, highest
from headrace.stages.tables.increment import SMALL_PARTS, check_keys, compacted, ends_of, merged
from headrace.stages.tables.parts import kept

VALUES = some.sampled_from([None, 0.0, 1.5, float("nan")])
ROWS = some.dictionaries(some.tuples(some.integers(0, 30), some.sampled_from("abc")), VALUES, max_size=25)
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("value", pa.float64()), ("list", pa.list_(pa.int8()))])


def table(rows: dict[Any, Any]) -> Any:
    return pa.Table.from_pylist(
        [{"id": a, "name": b, "value": value, "list": [a] if value else None} for (a, b), value in rows.items()], SCHEMA
    )


def in_parts(rows: dict[Any, Any], count: int) -> list[Any]:
    whole = table(rows)
    return [whole.slice(start, count) for start in range(0, whole.num_rows, count)]


def as_rows(tables: list[Any]) -> dict[Any, Any]:
    rows = [row for each in tables for row in each.to_pylist()]
    found = {(row["id"], row["name"]): repr(row["value"]) for row in rows}
    assert len(found) == len(rows), "a key stands twice"
    return found


def told(rows: dict[Any, Any]) -> dict[Any, Any]:
    return {key: repr(value) for key, value in rows.items()}


@given(held=ROWS, fresh=ROWS, sizes=some.tuples(some.integers(1, 9), some.integers(1, 9)), complete=some.booleans())
def test_merging_is_what_dictionaries_do(
    held: dict[Any, Any], fresh: dict[Any, Any], sizes: tuple[int, int], complete: bool
) -> None:
    before, after = told(held), told(fresh)
    parts = in_parts(held, sizes[0])
    found = merged(parts, in_parts(fresh, sizes[1]), ["id", "name"], complete=complete)
    assert as_rows([*found.kept, *found.new]) == (after if complete else before | after)
    assert as_rows(found.new) == {key: value for key, value in after.items() if before.get(key) != value}
    lost = {key: value for key, value in before.items() if complete and key not in after}
    assert as_rows(found.gone) == lost
    assert found.replaced == sum(before[key] != after[key] for key in before.keys() & after.keys())
    assert found.unchanged == len(after.items() & before.items())
    for part in parts:
        touched = any(after.get(key, value) != value or key in lost for key, value in as_rows([part]).items())
        assert touched or any(each is part for each in found.kept), "a part that didn't change is the same object"


@given(some.lists(some.integers(0, 40), max_size=40))
def test_one_column_is_a_key_as_well(numbers: list[int]) -> None:
    schema = pa.schema([("id", pa.int64()), ("at", pa.int64())])
    held = [
        pa.Table.from_pylist([{"id": each, "at": 0} for each in range(start, start + 10)], schema) for start in (0, 10)
    ]
    fresh = pa.Table.from_pylist([{"id": each, "at": each % 2} for each in dict.fromkeys(numbers)], schema)
    found = merged(held, [fresh], ["id"], complete=False)
    rows = {row["id"]: row["at"] for each in [*found.kept, *found.new] for row in each.to_pylist()}
    assert rows == dict.fromkeys(range(20), 0) | {each: each % 2 for each in numbers}


def test_keys_of_other_types_are_found() -> None:
    ids = [uuid.UUID(int=each) for each in range(4)]
    for kind, values in (
        (pa.uuid(), [each.bytes for each in ids]),
        (pa.date32(), [dt.date(2026, 1, each + 1) for each in range(4)]),
        (pa.decimal128(10, 2), list(range(4))),
        (pa.binary(), [bytes([each]) for each in range(4)]),
    ):
        column = pa.array(values, kind)
        whole = pa.Table.from_arrays([column, pa.array(range(4))], ["k", "v"])
        found = merged([whole.slice(0, 3)], [whole.slice(1)], ["k"], complete=False)
        assert (found.unchanged, sum(each.num_rows for each in found.new)) == (2, 1)


def test_a_part_that_lies_apart_is_not_opened() -> None:
    opened = []
    near = pa.table({"id": [6, 7], "v": [1.0, 2.0]})

    def later(table: Any) -> Later:
        return Later(table.num_rows, lambda: opened.append(table) or table)

    held = [later(pa.table({"id": [4, 5], "v": [1.0, 2.0]})), later(near)]
    fresh = pa.table({"id": [7, 8], "v": [2.0, 3.0]})
    found = merged(held, [fresh], ["id"], complete=False, ends=[(4, 5), (6, 7)])
    assert found.kept == held, "the very ones"
    assert found.new[0].to_pylist() == [{"id": 8, "v": 3.0}]
    assert opened == [near]


def test_keys_that_are_null_or_stand_twice_are_named() -> None:
    fine = table({(1, "a"): 1.0, (2, "a"): 1.0, (2, "b"): 1.0})
    check_keys([fine, table({(3, "a"): 1.0})], ["id", "name"])
    check_keys([pa.table({"id": [3, 1]}), pa.table({"id": [2]})], ["id"])
    with pytest.raises(DataError, match="2 rows have the same key: `id` is 2"):
        check_keys([fine], ["id"])
    with pytest.raises(DataError, match="`id`, `name` is 1, a"):
        check_keys([fine, table({(1, "a"): 2.0})], ["id", "name"])
    with pytest.raises(DataError, match="is null"):
        check_keys([pa.table({"id": [1, None]})], ["id"])


def test_many_small_parts_become_few() -> None:
    small = [pa.table({"id": [each]}) for each in range(SMALL_PARTS)]
    big = pa.table({"id": list(range(100, 160))})
    assert compacted([big, *small], 100) == [big, *small]
    more = [*small, pa.table({"id": [SMALL_PARTS]})]
    found = compacted([big, *more], 100)
    assert found[0] is big
    assert [each.num_rows for each in found] == [60, SMALL_PARTS + 1]


@given(some.lists(some.integers(0, 9), max_size=9), some.integers(1, 7))
def test_a_stream_is_cut_by_rows_however_it_came(sizes: list[int], rows: int) -> None:
    whole = pa.table({"id": list(range(sum(sizes)))})
    schema = whole.schema
    ends = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
    batches = [whole.slice(start, size).combine_chunks().to_batches() for start, size in zip(ends, sizes, strict=False)]
    found = kept(schema, [each for few in batches for each in few], rows)
    assert pa.concat_tables(found).equals(whole)
    assert all(each.num_rows == rows for each in found[:-1])
    assert 0 < found[-1].num_rows <= rows or (not whole.num_rows and len(found) == 1)


@pytest.mark.parametrize(
    ("reached", "overlap", "wanted"),
    [
        (10, None, 10),
        (10, 3, 7),
        (1.5, 0.5, 1.0),
        ("2026-03-01", "1d", "2026-02-28"),
        ("2026-03-01T00:10:05.25Z", "15m", "2026-02-28T23:55:05"),
        ("2026-03-01 00:10", "15m", "2026-02-28 23:55"),
        (dt.date(2026, 3, 1), "1h", dt.date(2026, 2, 28)),
        (dt.datetime(2026, 3, 1, tzinfo=dt.UTC), 60, dt.datetime(2026, 2, 28, 23, 59, tzinfo=dt.UTC)),
    ],
)
def test_a_read_begins_before_the_watermark_by_the_overlap(reached: Any, overlap: Any, wanted: Any) -> None:
    assert begin(reached, overlap, "at") == wanted
    assert begin(reached, overlap, "at") <= reached


@pytest.mark.parametrize(
    ("reached", "overlap", "advice"),
    [
        (dt.date(1, 1, 2), "10d", "before the year 1: give a shorter `overlap=`"),
        ("0001-01-02", "10d", "before the year 1: give a shorter `overlap=`"),
        (10, "1h", "if the watermark is a number, give a number"),
        ("abc", "1h", "the highest text isn't a time"),
        ("2026-99-99", "1h", "the highest text isn't a time"),
        (dt.date(2026, 1, 1), "soon", "give it with its unit"),
    ],
)
def test_an_overlap_that_does_not_fit_is_refused(reached: Any, overlap: Any, advice: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        begin(reached, overlap, "at")
    assert caught.value.hint
    assert advice in caught.value.hint


def test_a_watermark_is_the_highest_and_never_null() -> None:
    assert highest(pa.chunked_array([[3, 1]]), None, "at") == 3
    assert highest(pa.chunked_array([[3, 1]]), 5, "at") == 5
    assert highest(pa.chunked_array([], pa.int64()), 5, "at") == 5
    with pytest.raises(DataError, match="2 rows have no watermark: `at` is null"):
        highest(pa.chunked_array([[3, None, None]]), 5, "at")
    with pytest.raises(DataError, match="no order"):
        highest(pa.chunked_array([[[1]]]), None, "at")
    with pytest.raises(DataError, match="beyond the years 1 to 9999"):
        highest(pa.chunked_array([pa.array([2**62], pa.timestamp("us"))]), None, "at")
    fine = pa.chunked_array([pa.array([1_234_567], pa.timestamp("ns"))])
    assert highest(fine, None, "at") == dt.datetime(1970, 1, 1, microsecond=1234)  # noqa: DTZ001  it has no zone


def test_times_that_python_cannot_have_are_keys_as_well() -> None:
    far = pa.table({"at": pa.array([2**62, 1], pa.timestamp("us")), "v": [1, 2]})
    check_keys([far], ["at"])
    assert ends_of(far, ["at"]) is None
    assert merged([far], [far], ["at"], complete=False, ends=[None]).unchanged == 2
