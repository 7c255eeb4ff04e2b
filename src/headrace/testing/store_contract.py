"""A test suite for stores. To use it, inherit from `StoreContract` in a test module and define `make` and `change`."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from headrace.errors import BlobDamaged, BlobMissing, StoreError
from headrace.store.blob import Blob

ABSENT = "0" * 64


class StoreContract:
    """The test suite for stores. A subclass must define `make` and `change`."""

    def make(self, folder: Path) -> Any:
        """Return an empty store. It may keep its files in `folder`."""
        raise NotImplementedError

    def change(self, store: Any, blob: Blob, how: Callable[[bytes], bytes]) -> None:
        """Damage a blob: replace its stored bytes by the result of `how`, without using the store's methods."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        return self.make(tmp_path / "store")

    @pytest.mark.parametrize("size", [0, 1, 5000, (1 << 20) + 1, 3 << 20])
    def test_bytes_that_were_put_can_be_read(self, store: Any, size: int) -> None:
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        blob = store.put(data)
        assert blob.digest == blake3(data).hexdigest()
        assert blob.size == size == store.size(blob.digest, blob.nonce)
        assert store.path(blob.digest, blob.nonce).read_bytes() == data
        store.verify(blob.digest, blob.nonce)

    def test_each_put_is_a_generation_of_its_own(self, store: Any) -> None:
        first, second = store.put(b"same"), store.put(b"same")
        assert first.digest == second.digest
        assert first.nonce != second.nonce
        store.delete(first.digest, first.nonce)
        store.verify(second.digest, second.nonce)

    def test_a_blob_of_another_store_is_kept_under_its_names(self, store: Any, tmp_path: Path) -> None:
        other = self.make(tmp_path / "other")
        blobs = [other.put(b"x" * size) for size in (0, 10, 3 << 20)]
        with store.batch() as batch:
            for blob in blobs:
                with other.reader(blob.digest, blob.nonce) as file:
                    assert batch.replicate(blob.digest, blob.nonce, file) == blob
        for blob in blobs:
            store.verify(blob.digest, blob.nonce)
            assert store.size(blob.digest, blob.nonce) == blob.size

    def test_a_damaged_blob_is_replaced_by_a_replica(self, store: Any) -> None:
        blob = store.put(b"some bytes")
        self.change(store, blob, lambda data: data[:-1] + b"x")
        with store.batch() as batch:
            batch.replicate(blob.digest, blob.nonce, io.BytesIO(b"some bytes"))
        store.verify(blob.digest, blob.nonce)

    def test_bytes_that_arrive_damaged_are_not_kept(self, store: Any) -> None:
        digest = blake3(b"right").hexdigest()
        with store.batch() as batch:
            with pytest.raises(BlobDamaged):
                batch.replicate(digest, "n1", io.BytesIO(b"wrong"))
            blob = batch.put(b"the batch goes on")
        assert store.size(digest, "n1") is None
        assert store.size(blob.digest, blob.nonce) == blob.size
        assert list(store.strays()) == []

    def test_a_draft_is_written_through_its_file(self, store: Any) -> None:
        with store.draft() as draft:
            draft.file.write(b"one ")
            draft.file.write(b"two")
            blob = draft.keep()
        assert store.path(blob.digest, blob.nonce).read_bytes() == b"one two"

    def test_a_draft_is_written_by_its_path(self, store: Any) -> None:
        with store.draft() as draft:
            draft.path.write_bytes(b"by a library")
            blob = draft.keep()
        assert blob.size == 12
        assert store.path(blob.digest, blob.nonce).read_bytes() == b"by a library"

    def test_a_draft_that_is_not_kept_leaves_nothing(self, store: Any) -> None:
        with store.draft() as draft:
            draft.file.write(b"x" * 100_000)
        with suppress(ValueError), store.draft() as draft:
            draft.path.write_bytes(b"x")
            raise ValueError
        assert list(store.blobs()) == []
        assert list(store.strays()) == []

    @pytest.mark.parametrize("sizes", [(), (10,), (2 << 20,), (5, 5, 5), (1, 2 << 20) * 12])
    def test_a_batch_makes_all_its_blobs_durable_together(self, store: Any, sizes: tuple[int, ...]) -> None:
        with store.batch() as batch:
            kept = [batch.put(bytes(size)) for size in sizes]
            with batch.draft() as draft:
                draft.path.write_bytes(b"by a library")
                kept.append(draft.keep())
            with batch.draft() as draft:
                draft.file.write(b"thrown away")
        assert len({each.nonce for each in kept}) == len(sizes) + 1
        for each in kept:
            store.verify(each.digest, each.nonce)
        assert len(list(store.blobs())) == len(kept)
        assert list(store.strays()) == []

    def test_a_batch_that_fails_leaves_nothing(self, store: Any) -> None:
        with suppress(ZeroDivisionError), store.batch() as batch:
            batch.put(b"small")
            batch.put(bytes(3 << 20))
            raise ZeroDivisionError
        assert list(store.blobs()) == []
        assert list(store.strays()) == []

    def test_keeping_a_draft_that_was_never_written_is_an_error(self, store: Any) -> None:
        with pytest.raises(StoreError, match="nothing was written"), store.draft() as draft:
            draft.keep()

    def test_what_is_being_written_shows_as_a_stray_and_can_be_discarded(self, store: Any) -> None:
        with store.draft() as draft:
            draft.file.write(b"half")
            draft.file.flush()
            (stray,) = store.strays()
            assert stray.size == 4
            store.discard(stray)
            store.discard(stray)
            assert list(store.strays()) == []

    def test_a_blob_is_dated_by_the_clock_that_the_store_tells(self, store: Any) -> None:
        before = store.now()
        blob = store.put(b"dated")
        dated = store.modified(blob.digest, blob.nonce)
        assert before <= dated <= store.now()
        assert [each.modified for each in store.blobs()] == [dated]
        with store.draft() as draft:
            draft.file.write(b"x")
            (stray,) = store.strays(store.now())
            assert abs(stray.modified - dated) < 60
        assert store.modified(blob.digest, "n1") is None

    def test_a_blob_that_is_not_there_is_missing(self, store: Any) -> None:
        store.put(b"another")
        assert store.size(ABSENT, "abcd1234") is None
        for ask in (store.path, store.verify):
            with pytest.raises(BlobMissing) as caught:
                ask(ABSENT, "abcd1234")
            assert caught.value.hint

    def test_deleting_is_done_once_and_asked_as_often_as_you_like(self, store: Any) -> None:
        blob = store.put(b"gone soon")
        store.delete(blob.digest, blob.nonce)
        store.delete(blob.digest, blob.nonce)
        assert store.size(blob.digest, blob.nonce) is None
        assert list(store.blobs()) == []

    @pytest.mark.parametrize("how", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"?" + data[1:]])
    def test_a_damaged_blob_is_noticed(self, store: Any, how: Callable[[bytes], bytes]) -> None:
        blob = store.put(b"precious" * 1000)
        self.change(store, blob, how)
        with pytest.raises(BlobDamaged) as caught:
            store.verify(blob.digest, blob.nonce)
        assert caught.value.hint

    def test_a_put_never_trusts_what_it_finds(self, store: Any) -> None:
        damaged = store.put(b"precious")
        self.change(store, damaged, lambda data: data[:-1])
        whole = store.put(b"precious")
        store.verify(whole.digest, whole.nonce)

    def test_many_blobs_are_deleted_at_once(self, store: Any) -> None:
        blobs = [store.put(bytes([number])) for number in range(5)]
        store.delete(blobs[0].digest, blobs[0].nonce)
        store.delete_all([(blob.digest, blob.nonce) for blob in blobs[:4]])
        store.delete_all([])
        assert [(each.digest, each.nonce) for each in store.blobs()] == [(blobs[4].digest, blobs[4].nonce)]

    def test_all_blobs_are_listed_with_their_sizes(self, store: Any) -> None:
        kept = {store.put(bytes([each]) * (each + 1)) for each in range(20)}
        assert {Blob(digest=each.digest, size=each.size, nonce=each.nonce) for each in store.blobs()} == kept
        assert all(each.modified > 1.6e9 for each in store.blobs())

    def test_its_clock_dates_what_it_keeps(self, store: Any) -> None:
        before = store.now()
        store.put(b"dated")
        (blob,) = store.blobs()
        assert before - 1 <= blob.modified <= store.now() + 1

    def test_threads_put_side_by_side(self, store: Any) -> None:
        with ThreadPoolExecutor(8) as pool:
            kept = list(pool.map(lambda each: store.put(b"%d" % (each % 4)), range(64)))
        assert len(set(kept)) == 64
        for each in kept:
            store.verify(each.digest, each.nonce)

    @pytest.mark.parametrize("digest", ["../../etc/passwd", "", "ab/cd", "a" * 63, "A." * 32])
    def test_a_name_that_is_no_digest_is_refused(self, store: Any, digest: str) -> None:
        with pytest.raises(StoreError):
            store.path(digest, "abcd1234")
        with pytest.raises(StoreError):
            store.delete(digest, "abcd1234")

    def test_spills_are_appended_and_read_in_order_of_their_names(self, store: Any) -> None:
        spool = store.spool
        assert list(spool.spills("run-1")) == []
        assert spool.runs() == []
        spool.spill("run-1", "w2", b"b")
        spool.spill("run-1", "w1", b"a1")
        spool.spill("run-1", "w1", b"a2")
        spool.spill("run-2", "w1", b"other")
        assert list(spool.spills("run-1")) == [("w1", b"a1a2"), ("w2", b"b")]
        assert spool.runs() == ["run-1", "run-2"]
        spool.forget("run-1")
        spool.forget("run-1")
        assert spool.runs() == ["run-2"]

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
    def test_a_spill_stays_in_the_spool(self, store: Any, name: str) -> None:
        with pytest.raises(StoreError):
            store.spool.spill(name, "w1", b"")
        with pytest.raises(StoreError):
            store.spool.spill("run-1", name, b"")
