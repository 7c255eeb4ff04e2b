"""A table from outside is whole, or refused: no offset in it is followed out of its own bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.app.drafting import draft_from_file
from headrace.codec.codecs import Codecs
from headrace.codec.refs import inline
from headrace.errors import CodecError, HeadraceError
from headrace.spec.artifact import Ref
from headrace.stages.ingest.formats import Source, read_table
from headrace.store.folder import FolderStore

TABLE = pa.table(
    {
        "a": [1, None, 3, 4],
        "b": ["x", "yy", None, "z"],
        "c": [[1], [], [2, 3], None],
        "d": pa.array(["u", "v", "u", None]).dictionary_encode(),
    }
)


def written(table: Any = TABLE, *, stream: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def mutated(data: bytes, seed: int, rounds: int) -> Iterator[bytes]:
    """Give files of which a number or a bit was changed; each is made of its round alone."""
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


def test_what_a_stage_hands_on_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr("headrace.codec.builtin.arrow.look_into", looked.append)
    store, codecs = FolderStore(tmp_path), Codecs()
    ref = codecs.save(pa.table({"a": range(100_000)}), store)
    codecs.load(ref, store, safe_only=False)
    assert looked == [], "a handoff within a run"
    codecs.load(ref, store, safe_only=False, verify=True)
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
