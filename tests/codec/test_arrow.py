"""Arrow data: exact, streamed to the store, mapped from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from headrace.codec.builtin import arrow
from headrace.codec.builtin.arrow import ArrowCodec
from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore
from headrace.testing.codec_contract import CodecContract

TABLE = pa.table({"a": [1, None, 3], "b": ["x", "y", None]}, metadata={"source": "here"})
BIG = pa.table({"a": np.arange(20_000), "b": [f"row {each}" for each in range(20_000)]})


class TestArrow(CodecContract):
    codec = ArrowCodec()
    values = (
        TABLE,
        BIG,
        TABLE.slice(0, 0),
        pa.table({}),
        pa.table({"d": pa.array(["a", "b", "a"]).dictionary_encode(), "l": [[1], None, [2, 3]]}),
        pa.table({"s": [{"x": 1, "y": "z"}, None]}),
        pa.table({"e": pa.array([b"0123456789abcdef"], pa.uuid())}),
        TABLE.to_batches()[0],
        BIG.to_batches()[0],
        BIG["b"],
        BIG["b"].chunk(0),
        pa.array([1.5, None]),
        pa.chunked_array([[1], [], [2, 3]]),
        TABLE.schema,
    )

    def same(self, given: Any, found: Any) -> bool:
        metadata = getattr(given, "schema", given)
        return (
            type(given) is type(found)
            and given.equals(found)
            and getattr(metadata, "metadata", None) == getattr(getattr(found, "schema", found), "metadata", None)
        )


TYPES = some.sampled_from(
    [
        pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
        pa.binary(), pa.binary(3), pa.date32(), pa.timestamp("us", "UTC"), pa.duration("ns"), pa.decimal128(10, 2),
        pa.list_(pa.int64()), pa.struct({"a": pa.int8(), "b": pa.string()}), pa.dictionary(pa.int8(), pa.string()),
        pa.string_view(), pa.map_(pa.string(), pa.int8()),
    ]
)  # fmt: skip


def values(kind: Any, count: int) -> some.SearchStrategy[Any]:
    """Return columns of a type: numbers cast to it, or what it takes."""
    inner: some.SearchStrategy[Any] = some.integers(0, 9)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        inner = some.text(max_size=5)
    elif pa.types.is_dictionary(kind):
        inner = some.sampled_from(["a", "b", "c"])
    elif pa.types.is_fixed_size_binary(kind):
        inner = some.binary(min_size=3, max_size=3)
    elif pa.types.is_binary(kind):
        inner = some.binary(max_size=5)
    elif pa.types.is_list(kind):
        inner = some.lists(some.integers(0, 9), max_size=3)
    elif pa.types.is_struct(kind):
        inner = some.fixed_dictionaries({"a": some.integers(0, 9), "b": some.text(max_size=3)})
    elif pa.types.is_map(kind):
        inner = some.dictionaries(some.text(max_size=2), some.integers(0, 9), max_size=2).map(lambda d: list(d.items()))
    elif pa.types.is_boolean(kind):
        inner = some.booleans()
    elif pa.types.is_null(kind):
        inner = some.none()
    elif pa.types.is_floating(kind):
        inner = some.floats(width=32, allow_nan=False)
    return some.lists(some.none() | inner, min_size=count, max_size=count).map(lambda each: pa.array(each, kind))


@some.composite
def tables(draw: some.DrawFn) -> Any:
    count = draw(some.integers(0, 8))
    kinds = draw(some.lists(TYPES, min_size=1, max_size=4))
    return pa.table({f"c{place}": draw(values(kind, count)) for place, kind in enumerate(kinds)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), cuts=some.lists(some.integers(0, 8), max_size=3))
def test_a_table_comes_back_however_it_is_cut(table: Any, cuts: list[int], codecs: Codecs, store: FolderStore) -> None:
    borders = sorted({0, *(each for each in cuts if each < table.num_rows), table.num_rows})
    pieces = [table.slice(start, end - start) for start, end in pairwise(borders)]
    cut = pa.concat_tables(pieces) if pieces else table
    ref = codecs.save(cut, store)
    found: Any = codecs.load(ref, store, verify=True)
    assert found.equals(table)
    assert found.schema.equals(table.schema, check_metadata=True)
    if pa.string_view() not in table.schema.types:
        assert codecs.save(table, store).identity == ref.identity


@pytest.mark.parametrize("rows", [1, 999, 5000, 20_000])
def test_a_big_table_is_cut_the_same_however_it_comes(
    rows: int, codecs: Codecs, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "BATCH_BYTES", 1 << 16)
    pieces = pa.concat_tables([BIG.slice(start, rows) for start in range(0, BIG.num_rows, rows)])
    ref = codecs.save(pieces, store)
    found: Any = codecs.load(ref, store)
    assert found.equals(BIG)
    assert found["a"].num_chunks > 1
    assert ref.digest == codecs.save(BIG, store).digest


def test_dictionaries_that_differ_from_chunk_to_chunk_are_made_one(codecs: Codecs, store: FolderStore) -> None:
    column = pa.chunked_array([pa.array(each).dictionary_encode() for each in (["a", "b"], ["c"], ["b", "c"])])
    table = pa.table({"d": column})
    found: Any = codecs.load(codecs.save(table, store), store)
    assert found["d"].to_pylist() == ["a", "b", "c", "b", "c"]
    assert found.schema == table.schema


def test_a_loaded_table_lies_in_the_store_and_cannot_be_written(codecs: Codecs, store: FolderStore) -> None:
    before = pa.total_allocated_bytes()
    found: Any = codecs.load(codecs.save(BIG, store), store)
    column = found["a"].chunk(0).to_numpy(zero_copy_only=True)
    assert pa.total_allocated_bytes() - before < 10_000
    assert not column.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1


def batches() -> Iterator[Any]:
    yield from BIG.to_batches(max_chunksize=7000)


@pytest.mark.parametrize(
    "make",
    [
        batches,
        lambda: (each for each in batches()),
        lambda: filter(len, batches()),
        lambda: pa.RecordBatchReader.from_batches(BIG.schema, batches()),
        lambda: pa.RecordBatchReader.from_batches(TABLE.schema, iter(())),
    ],
)
def test_batches_come_back_one_by_one(make: Callable[[], Any], codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(make(), store)
    assert (ref.codec, ref.type) == ("arrow-stream", "pyarrow.lib.RecordBatchReader")
    found: Any = codecs.load(ref, store, safe_only=True)
    assert [each.num_rows for each in found] == [each.num_rows for each in make()]
    assert codecs.save(codecs.load(ref, store), store).identity == ref.identity


def test_an_error_of_the_users_generator_is_the_users(codecs: Codecs, store: FolderStore) -> None:
    def broken() -> Iterator[Any]:
        yield TABLE.to_batches()[0]
        raise ZeroDivisionError("in the stage's own code")

    with pytest.raises(ZeroDivisionError, match="own code"):
        codecs.save(broken(), store)
    assert list(store.strays()) == []


def _broken(column: pa.Array, *offsets: int) -> pa.Table:
    """A table of three values whose offsets were changed where they lay, as in a damaged file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema({"a": column.type})) as writer:
        writer.write_table(pa.table({"a": column}))
    raw, right = sink.getvalue().to_pybytes(), np.array([0, 2, 4, 6], np.int32).tobytes()
    assert raw.count(right) == 1
    return pa.ipc.open_file(pa.py_buffer(raw.replace(right, np.array(offsets, np.int32).tobytes()))).read_all()


SHAPES: dict[str, Callable[[pa.Table], object]] = {
    "a table": lambda table: table,
    "a table of chunks": lambda table: pa.concat_tables([table, table]),
    "a batch": lambda table: table.to_batches()[0],
    "a column": lambda table: table["a"],
    "an array": lambda table: table["a"].chunk(0),
    "batches one by one": lambda table: (batch for batch in table.to_batches()),
    "a reader": lambda table: table.to_reader(),
    "a list of tables": lambda table: [table],
    "a frame of pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "a frame with two columns of one name": lambda table: pd.concat(
        [table.to_pandas(types_mapper=pd.ArrowDtype)] * 2, axis=1
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("column", [["ab", "cd", "ef"], [[1, 2], [3, 4], [5, 6]]], ids=["texts", "lists"])
@pytest.mark.parametrize("offsets", [(0, 2, 4, 10**8), (0, 2, 4, -6), (-10, 2, 4, 6), (100, 2, 4, 6)])
def test_data_of_impossible_offsets_is_called_broken_and_neither_pickled_nor_written(
    offsets: tuple[int, ...], column: list[Any], shape: str, codecs: Codecs, store: FolderStore
) -> None:
    value = SHAPES[shape](_broken(pa.array(column), *offsets))
    with pytest.raises(CodecError, match=r" can't be saved: (its column `a`|it) is broken: "):
        codecs.save(value, store)


def test_a_generator_of_other_things_is_refused(codecs: Codecs, store: FolderStore) -> None:
    with pytest.raises(CodecError, match=r"it yields a `builtins\.int`") as caught:
        codecs.save((each for each in [1, 2]), store)
    assert "list" in (caught.value.hint or "")


def test_batches_of_unlike_schema_are_refused(codecs: Codecs, store: FolderStore) -> None:
    unlike = (each.to_batches()[0] for each in (TABLE, BIG.drop(["b"])))
    with pytest.raises(CodecError, match="arrow-stream"):
        codecs.save(unlike, store)
