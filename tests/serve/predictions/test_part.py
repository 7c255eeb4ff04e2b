"""A part has all predictions of a segment, with typed inputs and outputs, and each can be found by its id."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.serve.predictions.part import merged, parts
from headrace.serve.predictions.segment import Segment, read
from tests.serve.predictions.samples import answered

TAKES = {"delays:3": pa.schema([("x", pa.float32()), ("at", pa.timestamp("us", "UTC")), ("carrier", pa.string())])}


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _json(*rows: dict[str, Any]) -> bytes:
    return json.dumps(rows).encode()


def test_predictions_of_all_forms_and_versions_are_in_one_table_for_each_endpoint(tmp_path: Path) -> None:
    first = {"x": 1, "at": "2026-01-31T12:00:00Z", "carrier": "AA"}
    second = {"x": 0.5, "at": None, "carrier": None}
    rows = pa.table({"x": pa.array([2.0, 3.0], pa.float32()), "more": ["a", "b"]})
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    segment.append(
        [
            replace(answered(count=2, given=_json(first, second)), answers=_json({"predicted": 1}, {"predicted": 2})),
            replace(answered(1), endpoint="other"),
            replace(answered(2, count=2, given=_arrow(rows)), form="arrow", version="delays:4", answers=_arrow(rows)),
            replace(answered(3, given=_json(first)), answers=None, why="the model died", names=("mine",)),
        ]
    )
    segment.close()
    found = parts(read(segment.path), TAKES)
    assert sorted(found) == ["delays", "other"]
    table = found["delays"]
    assert table.column("id").to_pylist() == [
        f"0a1b2c3d4e5f-7-{offset}-{salt:016x}" for offset, salt in ((0, 0), (1, 0), (3, 2), (4, 2), (5, 3))
    ]
    assert table.column("at")[3].as_py() == datetime.fromtimestamp(1_002, UTC)
    assert table.column("name").to_pylist() == [None, None, None, None, "mine"]
    given, answers = table.column("input").to_pylist(), table.column("output").to_pylist()
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert given[0] == {"x": 1.0, "at": noon, "carrier": "AA", "more": None}
    assert given[1:3] == [dict.fromkeys(given[0]) | {"x": 0.5}, dict.fromkeys(given[0]) | {"x": 2.0, "more": "a"}]
    assert table.schema.field("input").type.field("x").type == pa.float32()
    assert [each and each["predicted"] for each in answers] == [1, 2, None, None, None]
    assert answers[3]["more"] == "b"
    assert (answers[4], table.column("why")[4].as_py()) == (None, "the model died")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([{"x": 2**70, "at": "no time"}], [{"x": 1.0}]),
        ([{"x": "text", "carrier": {"a": [1]}}], [{"x": 1.0}]),
        ([{"more": 1}], [{"more": "a"}]),
        ([{}], [{"x": 1.0}]),
    ],
    ids=str,
)
def test_nothing_that_was_asked_keeps_a_segment_from_being_sealed(
    first: list[Any], second: list[Any], tmp_path: Path
) -> None:
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    segment.append([replace(answered(given=_json(*rows)), version="delays:3") for rows in (first, second)])
    segment.close()
    for takes in (TAKES, {}):
        table = parts(read(segment.path), takes)["delays"]
        assert len(table) == 2
        assert len(merged([table, table.slice(0, 1)])) == 3
    other = table.set_column(table.column_names.index("output"), "output", pa.array([1, 2]))
    assert len(merged([table, other])) == 4
