"""A table from outside is whole, or refused: no offset in it is followed out of its own bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.codec.builtin.arrow_metadata import claims_of
from headrace.codec.codecs import Codecs
from headrace.codec.sink import inline
from headrace.errors import CodecError, HeadraceError
from headrace.operate.contract_draft import draft_from_file
from headrace.spec.artifact import Ref
from headrace.stages.ingest._files.formats import Source, read_table
from headrace.store.folder.folder import FolderStore

TABLE = pa.table(
    {
        "a": [1, None, 3, 4],
        "b": ["x", "yy", None, "z"],
        "c": [[1], [], [2, 3], None],
        "d": pa.array(["u", "v", "u", None]).dictionary_encode(),
    }
)


def written(table: Any = TABLE, *, stream: bool = False, packed: str | None = None) -> bytes:
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression=packed)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def mutated(data: bytes, seed: int, rounds: int) -> Iterator[bytes]:
    """Yield files of which a number or a bit was changed; each is made of its round alone."""
    for number in range(rounds):
        chance = random.Random(f"{seed} {number}")
        place = chance.randrange(len(data) // 4) * 4
        wrong = chance.choice((-1, 1, 7, 1 << 20, 2**31 - 1)).to_bytes(4, "little", signed=True)
        yield data[:place] + wrong + data[place + 4 :]


def by_codec(data: bytes, folder: Path) -> Any:
    return Codecs().load(inline("arrow", "pyarrow.lib.Table", data), FolderStore(folder))


def by_codec_from_a_store(data: bytes, folder: Path) -> Any:
    store = FolderStore(folder)
    kept = store.put(data)
    ref = Ref(digest=kept.digest, size=kept.size, nonce=kept.nonce, codec="arrow", type="pyarrow.lib.Table")
    return Codecs().load(ref, store, verify=True, safe_only=False)


def by_columns(data: bytes, folder: Path) -> Any:
    return Codecs().load(inline("arrow", "pyarrow.lib.Table", data), FolderStore(folder), columns=["b", "d"])


def by_parts(data: bytes, folder: Path) -> Any:
    part = inline("arrow", "pyarrow.lib.Table", data)
    whole = Ref(digest="0" * 64, size=1, codec="joined", type="pyarrow.lib.Table", parts=(part, part))
    return Codecs().load(whole, FolderStore(folder))


def by_ingest(data: bytes, folder: Path) -> Any:
    return read_table(Source.of_bytes("answer.arrow", data), "arrow")


WAYS = (by_codec, by_codec_from_a_store, by_columns, by_parts, by_ingest)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("rounds", [60, pytest.param(1_000, marks=pytest.mark.heavy)])
def test_a_changed_table_is_whole_or_refused(way: Callable[[bytes, Path], Any], rounds: int, tmp_path: Path) -> None:
    refused = 0
    for data in mutated(written(), 1, rounds):
        try:
            table = way(data, tmp_path)
        except HeadraceError:
            refused += 1
            continue
        table.validate(full=True)
        table.to_pylist()
    assert refused > rounds // 5


def test_an_offset_beyond_the_end_is_refused_from_a_stream_a_file_and_a_source(tmp_path: Path) -> None:
    """The one changed number with which readers went past the buffer."""
    for stream in (False, True):
        data = written(pa.table({"b": ["x", "yy", "z"]}), stream=stream)
        place = data.index(b"".join(each.to_bytes(4, "little") for each in (0, 1, 3, 4))) + 8
        bad = data[:place] + (1 << 28).to_bytes(4, "little") + data[place + 4 :]
        with pytest.raises(HeadraceError):
            read_table(Source.of_bytes("answer.arrow", bad), "arrow")
        (tmp_path / "bad.arrow").write_bytes(bad)
        with pytest.raises(HeadraceError):
            draft_from_file(tmp_path / "bad.arrow")
        if not stream:
            with pytest.raises(CodecError, match="contradict each other"):
                by_codec(bad, tmp_path)
            continue
        reader = Codecs().load(inline("arrow-stream", "pyarrow.lib.RecordBatchReader", bad), FolderStore(tmp_path))
        with pytest.raises(CodecError, match="contradict each other"):
            reader.read_all()  # type: ignore[attr-defined]


def swollen() -> dict[str, pa.Table]:
    """Tables of a few hundred bytes that become far more as soon as they are read or used."""
    one, some = pa.array([1]), pa.py_buffer(b"")
    nulls = pa.Array.from_buffers(pa.null(), VAST, [None])  # `pa.nulls` takes memory
    rows = pa.StructArray.from_buffers(pa.struct([]), VAST, [None])
    return {
        "nulls": pa.table({"a": nulls}),
        "nulls in a list": pa.table({"a": pa.FixedSizeListArray.from_arrays(nulls, VAST)}),
        "a run": pa.table({"a": pa.RunEndEncodedArray.from_arrays(pa.array([VAST]), one)}),
        "bytes of no width": pa.table({"a": pa.FixedSizeBinaryArray.from_buffers(pa.binary(0), VAST, [None, some])}),
        "rows without columns": pa.Table.from_batches([pa.RecordBatch.from_struct_array(rows)]),
        "packed zeros": pa.table({"a": np.zeros(1 << 24)}),
        "a packed dictionary": pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0]), np.zeros(1 << 24))}),
    }


VAST = 2**31 - 1
TOO_MUCH = r"unpack to|unpacks to|claims to hold"


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """The memory that pyarrow takes from here on."""
    counting = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(before)


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("name", swollen())
def test_a_table_that_becomes_far_more_than_its_bytes_is_refused_before_it_is_unpacked(
    name: str, stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: pa.MemoryPool
) -> None:
    monkeypatch.setattr("headrace.stages.ingest._files.formats.LEAST_LIMIT_BYTES", 64 << 20)
    data = written(swollen()[name], stream=stream, packed="zstd" if "packed" in name else None)
    taken = pool.max_memory()
    assert len(data) < 64 << 10
    with pytest.raises(HeadraceError, match=TOO_MUCH):
        by_ingest(data, tmp_path)
    codec, kind = ("arrow-stream", "RecordBatchReader") if stream else ("arrow", "Table")
    with pytest.raises(CodecError, match=TOO_MUCH):
        Codecs().load(inline(codec, f"pyarrow.lib.{kind}", data), FolderStore(tmp_path))
    if not stream:
        with pytest.raises(CodecError, match=TOO_MUCH):
            Codecs().load(inline("arrow", "pyarrow.lib.Table", data), FolderStore(tmp_path), columns=["a"])
        with pytest.raises(CodecError, match=TOO_MUCH):
            by_codec(b"NOTHIN" + data[6:], tmp_path)  # pyarrow looks at a file's end only
        with pytest.raises(CodecError, match=TOO_MUCH):
            Codecs().load(inline("polars", "polars.dataframe.frame.DataFrame", data), FolderStore(tmp_path))
    assert pool.max_memory() < taken + (1 << 20)


def test_a_file_whose_end_names_one_batch_twice_is_refused(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"a": np.arange(1000)})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table.slice(0, 1))
    data = sink.getvalue().to_pybytes()
    assert len(by_codec(data, tmp_path)) == 1001
    block = Struct("<qi4xq")
    for place in range(len(data) - 48):
        one, other = block.unpack_from(data, place), block.unpack_from(data, place + 24)
        if one[1] == other[1] > 0 and other[0] == one[0] + one[1] + one[2] > one[0]:
            data = data[: place + 24] + data[place : place + 24] + data[place + 48 :]
    assert len(pa.ipc.open_file(pa.py_buffer(data)).read_all()) == 2000
    with pytest.raises(CodecError, match=TOO_MUCH):
        by_codec(data, tmp_path)


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("rounds", [500, pytest.param(50_000, marks=pytest.mark.heavy)])
def test_what_a_changed_table_claims_is_told_or_refused(rounds: int, stream: bool) -> None:
    for packed in (None, "zstd"):
        data = written(stream=stream, packed=packed)
        sound = claims_of(io.BytesIO(data), is_stream=stream)
        assert sound.is_packed == (packed is not None)
        assert sound.data == claims_of(io.BytesIO(written(stream=stream)), is_stream=stream).data
        for bad in mutated(data, 3, rounds):
            with suppress(pa.ArrowInvalid):
                claims_of(io.BytesIO(bad), is_stream=stream)


@pytest.mark.parametrize("packed", [None, "zstd", "lz4"])
def test_a_table_of_which_most_columns_are_empty_is_read(packed: str | None, tmp_path: Path) -> None:
    """What real files have: hundreds of columns in which nothing was ever written."""
    table = pa.table({"id": np.arange(1_000_000)} | {f"empty {n}": pa.nulls(1_000_000) for n in range(150)})
    data = written(table, packed=packed)
    assert by_ingest(data, tmp_path).num_columns == 151
    if packed is None:
        assert by_codec(data, tmp_path).num_columns == 151


def test_a_parquet_file_of_nulls_that_no_byte_stands_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.stages.ingest._files.formats.LEAST_LIMIT_BYTES", 1 << 20)
    for column in (pa.nulls(3_000_000), pa.array([[None] * 50] * 60_000, pa.list_(pa.null()))):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"a": column}), sink, compression="zstd")
        with pytest.raises(HeadraceError, match="unpacks to more than"):
            read_table(Source.of_bytes("answer.parquet", sink.getvalue().to_pybytes()), "parquet")


def test_what_a_stage_hands_on_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr("headrace.codec.builtin.arrow.look_into", looked.append)
    store, codecs = FolderStore(tmp_path), Codecs()
    ref = codecs.save(pa.table({"a": range(100_000)}), store)
    codecs.load(ref, store, safe_only=False, verify=False)
    assert looked == [], "a handoff within a run"
    codecs.load(ref, store, safe_only=False)
    assert len(looked) == 1, "what another run has made"
    codecs.load(ref, store)
    assert len(looked) == 2, "what a command or a page reads"


def bodies() -> dict[str, tuple[str, bytes]]:
    """What a server may answer with: each a format, and bytes that are none of it, or hardly."""
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE.select(["a", "b"]), sink)
    parquet = sink.getvalue().to_pybytes()
    return {
        "nothing": ("arrow", b""),
        "a pickle": ("arrow", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00."),
        "the begin of a file": ("arrow", b"ARROW1\0\0"),
        "a message of a size that can't be": ("arrow", b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
        "half of a Parquet file": ("parquet", parquet[: len(parquet) // 2]),
        "a Parquet file whose end leads nowhere": ("parquet", parquet[:-8] + b"\xff\xff\xff\x7fPAR1"),
        "lists without end": ("json", b"[" * 100_000),
        "objects without end": ("json", b'{"a":' * 100_000),
        "the same in lines": ("jsonl", b'{"a":' * 100_000),
        "a number of a million digits": ("json", b'[{"a": ' + b"9" * 1_000_000 + b"}]"),
        "text that is none": ("json", b'[{"a": "\xff\xfe"}]'),
        "a quote that is never closed": ("csv", b'a,b\n"' + b"x" * 100_000),
        "a row of a million fields": ("csv", b"a,b\n" + b"," * 1_000_000),
        "zeros": ("csv", bytes(10_000)),
    }


@pytest.mark.parametrize("name", bodies())
def test_a_body_that_is_no_table_is_refused_or_read_as_it_stands(name: str) -> None:
    form, data = bodies()[name]
    try:
        table = read_table(Source.of_bytes("answer", data), form)
    except HeadraceError:
        pass  # refused, which is well
    else:
        table.validate(full=True)


@pytest.mark.parametrize("rounds", [60, pytest.param(20_000, marks=pytest.mark.heavy)])
def test_a_changed_parquet_file_is_read_or_refused(rounds: int) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE.select(["a", "b"]), sink)
    for data in mutated(sink.getvalue().to_pybytes(), 2, rounds):
        with suppress(HeadraceError):
            read_table(Source.of_bytes("answer.parquet", data), "parquet").validate()
