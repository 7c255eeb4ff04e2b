"""Tables that are opened later: given on by the artifact that they are, and opened only when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.codec.joined import Joined
from headrace.codec.later import Later
from headrace.errors import BlobMissing
from headrace.spec.artifact import Ref, blobs
from headrace.store.folder.folder import FolderStore

PARTS = [pa.table({"a": np.arange(start, start + 5000)}) for start in (0, 5000, 10_000)]


def kept(store: FolderStore) -> Ref:
    return Codecs().save([Later.of(each) for each in PARTS], store)


def test_what_is_opened_later_is_the_table(store: FolderStore) -> None:
    found: Any = Codecs().load(kept(store), store, verify=True)
    assert [each.num_rows for each in found] == [5000] * 3
    for later, table in zip(found, PARTS, strict=True):
        assert later.open().equals(table)
        assert later.open() is later.open()


def test_what_nobody_asks_for_is_neither_opened_nor_written_again(store: FolderStore) -> None:
    ref = kept(store)
    codecs = Codecs()
    held: Any = codecs.load(ref, store)
    for each in store.blobs():
        store.delete(each.digest, each.nonce)
    assert codecs.save(held, store) == ref
    assert next(store.blobs(), None) is None
    with pytest.raises(BlobMissing):
        held[0].open()


def test_joined_they_are_one_table_of_the_parts_themselves(store: FolderStore) -> None:
    ref = kept(store)
    codecs = Codecs()
    held: Any = codecs.load(ref, store)
    new = pa.table({"a": [1, 2]})
    joined = codecs.save(Joined([*held, new]), store)
    assert [each.codec for each in joined.parts or ()] == ["arrow"] * 4
    assert list(blobs(joined)) == list(blobs(ref))
    assert joined.identity == Codecs().save(Joined([*PARTS, new]), store).identity
    assert Codecs().load(joined, store).equals(pa.concat_tables([*PARTS, new]))  # type: ignore[attr-defined]
    assert Joined([*held, new]).table.num_rows == 15_002


def test_a_table_that_is_kept_for_later_and_given_out_is_written_once(codecs: Codecs, store: FolderStore) -> None:
    table = PARTS[0].slice(1)
    codecs.save([Later.of(table)], store)
    codecs.save(Joined([table, PARTS[1]]), store)
    assert len(list(store.blobs())) == 2
