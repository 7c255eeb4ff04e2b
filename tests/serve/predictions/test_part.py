"""A part has all predictions of a segment, with typed inputs and outputs, and each can be found by its id."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.models.predicted import merged
from headrace.serve.predictions import part
from headrace.serve.predictions.part import UNREAD, parts
from headrace.serve.predictions.prediction import Form
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
    assert answers[4] is None
    assert table.column("why").to_pylist() == [None, None, None, None, "the model died"]


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


def test_requests_are_sealed_together_as_they_would_be_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[dict[str, Any]]] = [
        [{"x": 1.5, "at": None, "carrier": "AA"}, {"x": None, "at": "2026-01-31T12:00:00Z", "carrier": None}],
        [{"x": 2}],
        [{"carrier": "UA", "x": 3.0}],
        [{"x": 4.0, "more": "a"}],
        [{"x": 5.0, "more": "b"}],
        [{"x": 6.0, "more": 1}],
        [{"x": 7.0, "more": [1]}],
        [{"x": 8.0, "more": {"a": 1}}],
        [{}],
    ]
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    for number, each in enumerate(rows):
        answers = _json(*[{"predicted": number, "late": number % 2 == 0} for _ in each])
        once = replace(answered(number, count=len(each), given=_json(*each)), answers=answers)
        segment.append([once, replace(once, version="delays:4"), replace(once, answers=None), once, once])
    segment.close()
    contents = read(segment.path)
    together = parts(contents, TAKES)["delays"]
    monkeypatch.setattr(part, "_TOGETHER", 1)
    assert together.to_pylist() == parts(contents, TAKES)["delays"].to_pylist()


def _zipped(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


HOSTILE: dict[str, tuple[Form, bytes]] = {
    "no stream": ("arrow", b"no stream"),
    "a stream that is cut off": ("arrow", _arrow(pa.table({"x": [1.0] * 100}))[:-300]),
    "nulls without bytes": ("arrow", _arrow(pa.table({"x": pa.nulls(1 << 30)}))),
    "zipped zeros": ("arrow", _zipped(pa.table({"x": np.zeros(1 << 22)}))),
    "other rows than logged": ("arrow", _arrow(pa.table({"x": [1.0, 2.0]}))),
    "a column twice": ("arrow", _arrow(pa.table([[1.0], [2.0]], ["x", "x"]))),
    "a field twice": ("arrow", _arrow(pa.table({"x": pa.StructArray.from_arrays([[1], [2]], ["a", "a"])}))),
    "a wide list": ("arrow", _arrow(pa.table({"x": pa.array([[0.0] * 100_000], pa.list_(pa.float64(), 100_000))}))),
    "no json": ("json", b"no json"),
    "no list": ("json", b'{"x": 1}'),
    "no records": ("json", b"[1]"),
    "more records than logged": ("json", b'[{"x": 1}, {"x": 2}]'),
    "deep json": ("json", b"[" * 100_000),
}


@pytest.mark.parametrize("name", [*HOSTILE])
def test_rows_that_can_not_be_read_are_kept_as_bytes_and_change_no_others(name: str, tmp_path: Path) -> None:
    form, data = HOSTILE[name]
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    sound = [replace(answered(number, given=_json({"x": 1.5}))) for number in range(1_000)]
    segment.append([*sound, replace(answered(7), form=form, given=data, answers=data)])
    segment.close()
    table = parts(read(segment.path), TAKES)["delays"]
    rows = table.column("input").to_pylist()
    assert [row["x"] for row in rows[:-1]] == [1.5] * 1_000
    assert rows[-1][UNREAD] == data
    assert table.column("output")[-1].as_py()[UNREAD] == data
    assert pool.bytes_allocated() - before < 64 << 20


@pytest.mark.parametrize(
    "given",
    [
        lambda number: _json({f"{number}/{each}": 1 for each in range(100)}),
        lambda number: _json({"x": {f"{number}/{each}": 1 for each in range(100)}}),
        lambda number: _json({"x": [{f"{number}/{each}": 1 for each in range(100)}]}),
        lambda number: _arrow(pa.table({f"{number}/{each}": [1] for each in range(20)})),
        lambda number: _arrow(pa.table({"x": [{f"{number}/{each}": 1 for each in range(20)}]})),
    ],
    ids=["fields", "objects", "lists of objects", "columns", "structs"],
)
def test_requests_that_each_bring_fields_of_their_own_do_not_fill_the_memory(
    given: Callable[[int], bytes], tmp_path: Path
) -> None:
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    form: Form = "json" if given(0).startswith(b"[") else "arrow"
    answers = _json({"predicted": 1}) if form == "json" else _arrow(pa.table({"predicted": [1]}))
    segment.append(
        [replace(answered(number, given=given(number)), form=form, answers=answers) for number in range(2_000)]
    )
    segment.close()
    table = parts(read(segment.path), {})["delays"]
    assert len(table) == 2_000
    assert pool.bytes_allocated() - before < 256 << 20


def test_values_that_python_can_not_hold_keep_no_segment_from_being_sealed(tmp_path: Path) -> None:
    never = pa.array([2**63 - 1]).view(pa.timestamp("s"))
    precise = pa.array([1]).view(pa.timestamp("ns"))
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    segment.append(
        [
            replace(answered(number), form="arrow", given=_arrow(pa.table({"x": column})), answers=None)
            for number, column in enumerate((never, precise, pa.array(["text"]), pa.array([["list"]])))
        ]
    )
    segment.close()
    texts = parts(read(segment.path), {})["delays"].column("input").to_pylist()
    assert texts[2:] == ['{"x":"text"}', '{"x":["list"]}']
