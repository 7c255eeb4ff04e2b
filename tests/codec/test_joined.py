"""Tables in parts: kept as parts, those that are artifacts already not written again, given as one table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from headrace.codec.builtin.tables import JoinedCodec, SliceCodec
from headrace.codec.codecs import Codecs
from headrace.codec.joined import Joined, Slice
from headrace.errors import CodecError
from headrace.spec.artifact import Piece, Ref, fused, gather, slice_of
from headrace.store.folder.folder import FolderStore
from headrace.testing.codec_contract import CodecContract

BIG = pa.table({"a": np.arange(20_000), "b": [f"row {each}" for each in range(20_000)]})
SMALL = pa.table({"a": [1, None], "b": ["x", None]})


class TestJoined(CodecContract):
    codec = JoinedCodec()
    values = (
        Joined([BIG, SMALL, BIG.slice(5, 9000)]),
        Joined([SMALL]),
        Joined([SMALL.slice(0, 0)]),
        Joined([SMALL, SMALL.slice(0, 0), SMALL]),
        Joined([pa.table({"d": pa.array(each).dictionary_encode()}) for each in (["a", "b"], ["c", "a"])]),
    )

    def same(self, given: Any, found: Any) -> bool:
        return type(found) is pa.Table and given.table.equals(found)

    def test_the_loaded_value_can_be_saved_again(self, value: Any, tmp_path: Path) -> None:
        again = self._save(self._load(self._save(value, tmp_path), tmp_path), tmp_path)
        assert self._load(again, tmp_path).to_pylist() == value.table.to_pylist()  # its dictionaries are made one


def written(store: FolderStore) -> int:
    """Count the blobs of a store."""
    return sum(1 for each in (store.root / "blobs").rglob("*") if each.is_file())


def cut(table: Any, borders: Sequence[int]) -> list[Any]:
    whole = sorted({0, *(each for each in borders if each < table.num_rows), table.num_rows})
    return [table.slice(start, end - start) for start, end in pairwise(whole)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    first=some.lists(some.integers(1, 2000), max_size=4),
    then=some.lists(some.integers(0, 300), min_size=1, max_size=4),
)
def test_what_grows_writes_only_what_is_new(first: list[int], then: list[int], tmp_path_factory: Any) -> None:
    store = FolderStore(tmp_path_factory.mktemp("grown") / "store")
    codecs = Codecs()
    parts = cut(BIG.slice(0, 2001), first)
    ref = codecs.save(Joined(parts), store)
    whole = BIG.slice(0, 2001)
    for count in then:
        before = {each.digest: each for each in ref.parts or ()}
        loaded: Any = Codecs().load(ref, store)
        assert loaded.equals(whole)
        codecs = Codecs()
        held: Any = codecs.load(ref, store)
        new = BIG.slice(whole.num_rows, count)
        ref = codecs.save(Joined([held, new]), store)
        assert all(each is before[each.digest] or each == before[each.digest] for each in (ref.parts or ())[:-1])
        assert len(ref.parts or ()) == len(before) + bool(count)
        whole = pa.concat_tables([whole, new])
    assert Codecs().load(ref, store, verify=True).equals(whole)  # type: ignore[attr-defined]


def test_nothing_is_written_for_a_table_that_is_an_artifact_already(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(BIG, store)
    held: Any = codecs.load(ref, store)
    count = written(store)
    assert codecs.save(held, store) == ref
    assert codecs.save([held, {"table": held}], store).parts[0] == ref  # type: ignore[index]
    joined = codecs.save(Joined([held, BIG]), store)
    assert joined.parts == (ref, ref), "the one that was saved is known as well"
    assert written(store) == count


def test_one_table_given_out_twice_is_written_once(codecs: Codecs, store: FolderStore) -> None:
    new = BIG.slice(1)
    ref = codecs.save({"all": Joined([BIG, new]), "new": new}, store)
    assert written(store) == 2
    whole, only = ref.parts or ()
    assert (whole.parts or ())[1] == only


def test_what_was_forgotten_or_lies_in_another_store_is_written_again(
    codecs: Codecs, store: FolderStore, tmp_path: Path
) -> None:
    ref = codecs.save(BIG, store)
    there = FolderStore(tmp_path / "there")
    assert codecs.save(BIG, there).digest == ref.digest
    assert written(there) == 1
    codecs.forget()
    again = codecs.save(BIG, store)
    assert again.identity == ref.identity
    assert again.nonce != ref.nonce


def test_what_was_not_kept_is_not_known(codecs: Codecs, store: FolderStore) -> None:
    with pytest.raises(CodecError):
        codecs.save([BIG, lambda: None], store)
    assert written(store) == 0
    ref = codecs.save(BIG, store)
    assert codecs.load(ref, store).equals(BIG)  # type: ignore[attr-defined]


def test_a_table_that_is_gone_is_not_taken_for_another(codecs: Codecs, store: FolderStore) -> None:
    for start in range(200):
        table = BIG.slice(start, 2)
        found: Any = codecs.load(codecs.save(table, store), store)
        assert found.equals(table)
        del table, found


def test_equal_parts_are_the_same_artifact_and_empty_ones_do_not_count(codecs: Codecs, store: FolderStore) -> None:
    parts = cut(BIG, [7000, 9000])
    ref = codecs.save(Joined(parts), store)
    held: Any = codecs.load(ref, store)
    for same in (cut(BIG, [7000, 9000]), [BIG.slice(0, 0), *parts, BIG.slice(3, 0)], [held], [held, SMALL.slice(0, 0)]):
        assert Codecs().save(Joined(parts), store).identity == codecs.save(Joined(same), store).identity
    assert codecs.save(Joined(cut(BIG, [7000])), store).identity != ref.identity


def test_columns_are_read_of_each_part_and_no_others(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Joined(cut(BIG, [15_000])), store)
    found: Any = codecs.load(ref, store, columns=["b"])
    assert found.equals(BIG.select(["b"]))
    with pytest.raises(CodecError, match="no column `c`"):
        codecs.load(ref, store, columns=["c"])


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([], "no tables"),
        ([SMALL, SMALL.select(["a"])], "columns `a`, `b`, another `a`"),
        ([SMALL, SMALL.set_column(0, "a", pa.array([1.0, 2.0]))], "column `a` is `int64` in one, `double` in another"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables: list[Any], told: str) -> None:
    with pytest.raises(CodecError, match=told) as caught:
        Joined(tables)
    assert caught.value.hint


class TestSlice(CodecContract):
    codec = SliceCodec()
    values = (Slice(BIG, 5, 9000), Slice(BIG, 0, 0), Slice(SMALL, 1, 1), Slice(SMALL, 0, 2))

    def same(self, given: Any, found: Any) -> bool:
        return type(found) is pa.Table and given.whole.slice(given.start, given.count).equals(found)


def test_a_table_is_stored_once_for_all_of_its_slices_and_read_once(tmp_path: Path) -> None:
    store, codecs = FolderStore(tmp_path), Codecs()
    refs = [codecs.save(Slice(BIG, start, 100), store) for start in range(0, 20_000, 100)]
    assert written(store) == 1
    found = Codecs().load(gather(refs), store)
    assert isinstance(found, list)
    assert pa.concat_tables(found).equals(BIG)
    addresses = {each.column("a").chunks[0].buffers()[1].address for each in found}
    assert len(addresses) == 1, "the file was mapped once"


def test_columns_of_joined_slices_are_read_alone(tmp_path: Path) -> None:
    store, codecs = FolderStore(tmp_path), Codecs()
    whole = codecs.load(codecs.save(BIG, store), store)
    pieces = [codecs.load(codecs.save(Slice(whole, start, 7), store), store) for start in (3, 50)]
    ref = codecs.save(Joined([*pieces, SMALL]), store)
    assert written(store) == 1, "the table that was there is named, not written again"
    wanted = pa.concat_tables([BIG.slice(3, 7), BIG.slice(50, 7), SMALL]).select(["b"])
    assert codecs.load(ref, store, columns=["b"]).equals(wanted)  # type: ignore[attr-defined]


@given(counts=some.lists(some.integers(0, 5), max_size=6), others=some.sets(some.integers(0, 6)))
def test_slices_that_follow_each_other_are_put_together_and_no_others(counts: list[int], others: set[int]) -> None:
    wholes = [Ref(digest=each * 64, size=9, codec="arrow", type="pyarrow.lib.Table", nonce="n") for each in "ab"]
    starts = [sum(counts[:place]) for place in range(len(counts))]
    refs = [
        gather(
            [wholes[place in others]],
            codec="slice",
            type="pyarrow.lib.Table",
            names=(Piece(start=start, count=count, of=30).name,),
        )
        for place, (start, count) in enumerate(zip(starts, counts, strict=True))
    ]

    def rows(refs: list[Ref]) -> list[tuple[str, int]]:
        pieces = [found for ref in refs if (found := slice_of(ref)) is not None]
        return [(whole.digest, row) for whole, each in pieces for row in range(each.start, each.start + each.count)]

    found = fused(refs)
    assert rows(found) == rows(refs)
    turns = sum((place in others) != (place + 1 in others) for place in range(len(counts) - 1))
    assert len(found) == min(len(counts), 1 + turns)


@pytest.mark.parametrize("name", ["0+3/2", "1+2/2", "0+1/3", "x", "-1+2/2", "", "0+1/2/3", "\u0663+1/4"])
def test_a_forged_slice_is_refused(name: str, tmp_path: Path) -> None:
    store, codecs = FolderStore(tmp_path), Codecs()
    forged = msgspec.structs.replace(codecs.save(Slice(SMALL, 0, 1), store), names=(name,))
    with pytest.raises(CodecError, match="damaged, or forged"):
        codecs.load(forged, store)
