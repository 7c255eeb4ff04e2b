"""Parts of a stream: how it is cut, that their bytes are those of the tables, and what happens when it breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.codec.builtin import arrow
from headrace.codec.codecs import Codecs
from headrace.define.attempt import Alone
from headrace.define.ports import running
from headrace.errors import StoreError
from headrace.stages.tables import parts
from headrace.stages.tables.parts import kept
from headrace.store.folder.folder import FolderStore

AT_ONCE = 1024
"""As many rows as a record batch has in these tests: the least there is."""


class Keeping(Alone):
    """An attempt that has a store."""

    def __init__(self, folder: Path) -> None:
        self.codecs, self.store = Codecs(), FolderStore(folder)

    def stored(self, value: Any) -> Any:
        return self.codecs.load(self.codecs.save(value, self.store), self.store, verify=True)


class Full(Keeping):
    """One whose disk is full from the second part on."""

    count = 0

    def stored(self, value: Any) -> Any:
        self.count += 1
        if self.count > 1:
            raise StoreError("the disk is full")
        return super().stored(value)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(parts, "BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(parts, "PART_BYTES", 1 << 18)


def table(rows: int, *, words: bool = False) -> Any:
    numbers = pa.array([None if each % 7 == 0 else each * 0.5 for each in range(rows)], pa.float64())
    flags = pa.array([each % 3 == 0 for each in range(rows)], pa.bool_())
    columns = {"a": numbers, "b": flags, "c": pa.array([str(each) for each in range(rows)])}
    if words:
        columns["d"] = pa.array(["ab"[each % 2] for each in range(rows)]).dictionary_encode()
    return pa.table(columns)


def batches(whole: Any, length: int) -> Iterator[Any]:
    yield from whole.to_batches(max_chunksize=length)


def in_a_run(attempt: Any, *arguments: Any) -> list[Any]:
    token = running.set(attempt)
    try:
        return kept(*arguments)
    finally:
        running.reset(token)


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("rows", [None, 1000, 3000])
@pytest.mark.parametrize("length", [100, 1024, 1500, 20_000])
def test_parts_kept_while_they_are_made_have_the_bytes_of_their_tables(
    rows: int | None, length: int, words: bool, tmp_path: Path
) -> None:
    whole = table(9000, words=words)
    here = Keeping(tmp_path / "store")
    found = in_a_run(here, whole.schema, batches(whole, length), rows)
    assert pa.concat_tables(found).equals(whole)
    assert [each.num_rows for each in found] == [min(rows or 4096, 9000 - at) for at in range(0, 9000, rows or 4096)]
    other = FolderStore(tmp_path / "other")
    borders = [*range(0, 9000, rows or 4096), 9000]
    for part, (start, end) in zip(found, pairwise(borders), strict=True):
        known = here.codecs.save(part, here.store)
        assert known.digest == Codecs().save(whole.slice(start, end - start), other).digest


def test_a_piece_alone_is_not_kept(tmp_path: Path) -> None:
    whole = table(1024)
    (found,) = in_a_run(Keeping(tmp_path / "store"), whole.schema, batches(whole, 1000))
    assert found.equals(whole)
    assert not (tmp_path / "store").exists()


def test_a_part_alone_is_kept_while_it_is_made(tmp_path: Path) -> None:
    whole = table(1025)
    here = Keeping(tmp_path / "store")
    (found,) = in_a_run(here, whole.schema, batches(whole, 1000))
    assert found.equals(whole)
    (blob,) = here.store.blobs()
    assert here.codecs.save(found, here.store).digest == blob.digest


@given(rows=some.integers(0, 9000), length=some.integers(50, 5000), most=some.none() | some.integers(1000, 5000))
def test_outside_of_a_run_the_parts_are_cut_alike(rows: int, length: int, most: int | None) -> None:
    whole = table(9000).slice(0, rows)
    found = kept(whole.schema, batches(whole, length), most)
    assert pa.concat_tables(found).equals(whole)
    assert all(each.num_rows == (most or 4096) for each in found[:-1])


def test_wide_rows_end_a_part_early() -> None:
    whole = pa.table({"a": ["x" * 1000] * 1500})
    found = kept(whole.schema, batches(whole, 100))
    assert [each.num_rows for each in found] == [300] * 5


@pytest.mark.parametrize("at", [5000, 8192, 20_000])
def test_a_stream_that_breaks_off_leaves_nothing_half_kept(at: int, tmp_path: Path) -> None:
    whole = table(at)

    def breaking() -> Iterator[Any]:
        yield from batches(whole, 700)
        raise ZeroDivisionError

    here = Keeping(tmp_path / "store")
    with pytest.raises(ZeroDivisionError):
        in_a_run(here, whole.schema, breaking())
    assert not list(here.store.strays())


def test_a_disk_that_is_full_ends_the_stream(tmp_path: Path) -> None:
    whole = table(60_000)
    with pytest.raises(StoreError, match="the disk is full"):
        in_a_run(Full(tmp_path / "store"), whole.schema, batches(whole, 1000))
