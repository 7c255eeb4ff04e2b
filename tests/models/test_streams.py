"""A stream of Arrow that anybody may have made is a whole table of bounded size, or is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from headrace.errors import DataError
from headrace.models.streams import MOST_BATCHES, MOST_COLUMNS, stream_of, table_in
from headrace.serve.streams import read

TABLE = pa.table(
    {
        "number": [1.5, None, 3.0, 4.0],
        "whole": pa.array([1, 2, None, 4], pa.int8()),
        "text": ["x", "yy", None, "z"],
        "view": pa.array(["x", "longer than a view of twelve bytes", None, "z"], pa.string()).cast(pa.string_view()),
        "coded": pa.array(["u", "v", "u", None]).dictionary_encode(),
        "coded number": pa.array([1, 2, 1, None]).dictionary_encode(),
        "list": [[1], [], [2, 3], None],
        "struct": [{"a": 1, "b": ["x"]}, None, {"a": 2, "b": []}, {"a": 3, "b": None}],
        "is": [True, False, None, True],
        "day": [date(2026, 1, 31), None, None, None],
        "at": [datetime(2026, 1, 31, tzinfo=UTC), None, None, None],
        "time": [time(12), None, None, None],
        "money": [Decimal("1.50"), None, None, None],
        "bytes": [b"a", None, b"", b"b"],
        "null": pa.nulls(4),
    }
)
VIEW = TABLE.column_names.index("view")
SOUND = TABLE.set_column(VIEW, "view", TABLE.column("view").cast(pa.string()))
"""The same table, as it is read: views are texts."""


def packed(table: pa.Table, compression: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def mutated(data: bytes, rounds: int) -> Iterator[bytes]:
    """Yield a stream cut off, with flipped bits, and with numbers that are far too large."""
    draw = random.Random(7)
    for number in range(rounds):
        bad = bytearray(data)
        place = draw.randrange(len(data) - 8)
        match number % 4:
            case 0:
                del bad[place:]
            case 1:
                for _ in range(draw.randint(1, 4)):
                    bad[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 2:
                place -= place % 8
                wrong = draw.choice([2**31 - 1, 2**40, 2**62, -1, -(2**40)])
                bad[place : place + 8] = wrong.to_bytes(8, "little", signed=True)
            case 3:
                bad[place : place + 4] = b"\xff\xff\xff\x7f"
        yield bytes(bad)


def test_views_are_read_as_texts_that_can_be_divided_among_variants() -> None:
    keys = pa.array(["a", "b", "c"], pa.string_view())
    stream = read(stream_of(pa.table({"x": [1.0, 2.0, 3.0], "customer": keys})), "customer", None)
    assert table_in(stream.part([0, 2], [], ["customer"]).given).column("customer").to_pylist() == ["a", "c"]


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()])
def test_a_null_whose_view_has_an_impossible_length_is_a_null(kind: pa.DataType) -> None:
    values = pa.array([b"x", b"longer than a view of twelve bytes", None, b"z"]).cast(kind)
    validity, views, *data = values.buffers()
    each = np.frombuffer(views, np.int32)[:16].reshape(4, 4).copy()
    each[2] = [-256, 127, 0, 0]  # Arrow's cast would crash this process
    wrong = pa.Array.from_buffers(kind, 4, [validity, pa.py_buffer(each), *data])
    assert table_in(stream_of(pa.table({"a": wrong}))).column("a").to_pylist() == values.to_pylist()


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_a_sound_stream_is_read(compression: str | None) -> None:
    assert table_in(packed(TABLE, compression)).equals(SOUND)
    assert table_in(stream_of(TABLE)).equals(SOUND)
    assert table_in(stream_of(TABLE.slice(1, 0))).num_rows == 0


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("rounds", [1_500, pytest.param(100_000, marks=pytest.mark.heavy)])
def test_a_changed_stream_is_read_or_refused_and_takes_little_memory(rounds: int, compression: str | None) -> None:
    data = packed(TABLE, compression)
    pool = pa.default_memory_pool()
    before, refused = pool.bytes_allocated(), 0
    for bad in mutated(data, rounds):
        try:
            table = table_in(bad, most_bytes=1 << 20)
        except DataError:
            refused += 1
            continue
        with suppress(ValueError, ArithmeticError):  # values that Python can't hold
            table.to_pylist()
        del table
    assert refused > rounds / 4
    assert pool.bytes_allocated() - before < 8 << 20


def swollen() -> dict[str, bytes]:
    """Return small streams that unpack to much more than they have."""
    rows = 1 << 16
    text = pa.array(["x" * (1 << 16)])
    view, chars = text.cast(pa.string_view()).buffers()[1:]
    views = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(view.to_pybytes()[:16] * rows), chars])
    return {
        "zeros": packed(pa.table({"a": np.zeros(1 << 20)}), "zstd"),
        "nulls": stream_of(pa.table({"a": pa.nulls(1 << 30)})),
        "rows without columns": stream_of(pa.table({"a": pa.nulls(1 << 30)}).select([])),
        "empty lists of nulls": stream_of(
            pa.table({"a": pa.FixedSizeListArray.from_arrays(pa.nulls(1 << 30), 1 << 30)})
        ),
        "a long text in a dictionary": stream_of(
            pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), text)})
        ),
        "views of a long text": stream_of(pa.table({"a": views})),
        "a long run": stream_of(pa.table({"a": pa.RunEndEncodedArray.from_arrays(pa.array([1 << 30]), text)})),
        "views of a long list": stream_of(
            pa.table({"a": pa.ListViewArray.from_arrays([0] * rows, [rows] * rows, pa.array(np.zeros(rows, np.int8)))})
        ),
        "a dictionary inside of lists": stream_of(
            pa.table({"a": pa.array([["x"]]).cast(pa.list_(pa.dictionary(pa.int8(), pa.string())))})
        ),
    }


def test_a_stream_of_very_many_batches_or_columns_is_refused_at_once() -> None:
    batch = pa.record_batch({"a": [1.0]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        for _ in range(MOST_BATCHES + 1):
            stream.write_batch(batch)
    with pytest.raises(DataError, match="more than 10,000 batches"):
        table_in(sink.getvalue().to_pybytes())
    with pytest.raises(DataError, match="more than 10,000 columns"):
        table_in(stream_of(pa.table({str(number): [1] for number in range(MOST_COLUMNS + 1)})))


def test_a_small_stream_that_stands_for_much_is_refused_before_it_takes_memory() -> None:
    pool = pa.default_memory_pool()
    for name, data in swollen().items():
        assert len(data) < 2 << 20
        before = pool.bytes_allocated()
        with pytest.raises(DataError):
            print(name, table_in(data, most_bytes=4 << 20).nbytes)
        assert pool.bytes_allocated() - before < 8 << 20, name
