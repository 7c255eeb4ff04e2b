"""A bucket as a store: the contract on a real server, and what only a bucket can do or suffer."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import polars as pl
import pyarrow as pa
import pytest
from msgspec import structs
from obstore.store import S3Store

from headrace.codec.codecs import Codecs
from headrace.codec.values import File
from headrace.errors import BlobDamaged, ConfigError
from headrace.spec.address import StoreAddress
from headrace.store.blob import Blob
from headrace.store.bucket.ranges import AHEAD_BYTES, RangeFile
from headrace.store.cache.memory import Memory
from headrace.store.open_store import open_store
from headrace.testing.store_contract import StoreContract
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import KEY, S3, SECRET


def behind(address: StoreAddress) -> S3Store:
    """Return the bucket itself, to change it behind the store's back."""
    _, _, rest = address.url.partition("://")
    name, _, prefix = rest.partition("/")
    return S3Store(
        name,
        prefix=prefix,
        endpoint=address.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )


def name(blob: Blob) -> str:
    return f"blobs/{blob.digest[:2]}/{blob.digest}.{blob.nonce}"


class TestObjectStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _address(self, address: StoreAddress) -> None:
        self.address = address

    def make(self, folder: Path) -> Any:
        return open_store(self.address, local=folder)

    def change(self, store: Any, blob: Blob, how: Callable[[bytes], bytes]) -> None:
        bucket = behind(self.address)
        obstore.put(bucket, name(blob), how(bytes(obstore.get(bucket, name(blob)).bytes())))


def test_what_is_deleted_is_in_the_cache_no_more_whoever_deleted_the_object(
    address: StoreAddress, tmp_path: Path
) -> None:
    store = open_store(address, local=tmp_path)
    data = b"what anna said" * 10_000
    one, other = store.put(data), store.put(b"the rest" * 10_000)
    for blob in (one, other):
        store.path(blob.digest, blob.nonce)
    obstore.delete(behind(address), name(one))
    store.delete_all([(one.digest, one.nonce)])
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and b"anna" in path.read_bytes()] == []
    store.delete(other.digest, other.nonce)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name == other.digest] == []


def test_of_a_table_only_the_columns_asked_for_are_fetched(address: StoreAddress, tmp_path: Path) -> None:
    names = [f"c{each:02}" for each in range(20)]
    rows = 200_000
    table = pa.table({each: np.random.default_rng(place).random(rows) for place, each in enumerate(names)})
    frames = {
        "arrow": table,
        "pandas": table.to_pandas(),
        "polars": pl.DataFrame(pl.from_arrow(table)),
    }
    for kind, value in frames.items():
        ref = Codecs().save(value, open_store(address, local=tmp_path / "one"))
        store = Watched(open_store(address, local=tmp_path / "other" / kind))
        found = Codecs().load(ref, store, columns=["c03", "c17"])
        assert np.array_equal(np.asarray(found["c03"]), np.asarray(table["c03"]))
        assert np.array_equal(np.asarray(found["c17"]), np.asarray(table["c17"]))
        (file,) = store.files
        # of each record batch (here two) the ends of each column lie in pieces that are read ahead, and so does its
        # head, which tells first what it becomes, as the file's end tells where it is
        assert 2 * 8 * rows <= file.fetched <= 2 * 8 * rows + (2 * 5 + 2) * AHEAD_BYTES
        assert ref.size > 8 * file.fetched
        assert list((tmp_path / "other" / kind).rglob("*")) == []


class Watched:
    """A store whose readers can be asked how much they fetched."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.files: list[RangeFile] = []

    def reader(self, digest: str, nonce: str) -> Any:
        self.files.append(self._store.reader(digest, nonce))
        return self.files[-1]

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        raise AssertionError("all of it was wanted")

    def batch(self) -> Any:
        return self._store.batch()


def test_a_reader_gives_the_same_bytes_as_a_file_would(address: StoreAddress, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3 << 20)
    blob = open_store(address, local=tmp_path / "one").put(data)
    reader = open_store(address, local=tmp_path / "other").reader(blob.digest, blob.nonce)
    plain = io.BytesIO(data)
    draw = random.Random(2)
    for _ in range(60):
        where = draw.choice(
            [(draw.randrange(len(data)), 0), (draw.randrange(-500, 500), 1), (-draw.randrange(5000), 2)]
        )
        if plain.tell() + (where[0] if where[1] == 1 else 0) < 0:
            continue
        assert reader.seek(*where) == plain.seek(*where)
        size = draw.choice([0, 1, 10, 1000, 100_000, 1 << 20])
        assert reader.read(size) == plain.read(size)
    reader.seek(0)
    assert reader.read() == data
    big = random.Random(4).randbytes(70 << 20)
    blob = open_store(address, local=tmp_path / "one").put(big)
    streamed = open_store(address, local=tmp_path / "other").reader(blob.digest, blob.nonce)
    assert b"".join(iter(lambda: streamed.read(3 << 20), b"")) == big
    assert streamed.fetched < 1.1 * len(big)  # type: ignore[attr-defined]
    local = open_store(address, local=tmp_path / "one").reader(blob.digest, blob.nonce)
    assert isinstance(local, io.BufferedReader)  # it lies in the cache of who put it
    local.close()


def test_opening_asks_nothing_of_the_server(tmp_path: Path) -> None:
    address = StoreAddress(url="s3://no-bucket/prefix", endpoint="http://no-such-host.invalid")
    store = open_store(address, local=tmp_path)
    assert store.url == "s3://no-bucket/prefix"
    assert store.local == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_the_cloud_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nonsense") as caught:
        open_store(StoreAddress(url="s3://bucket", options=(("nonsense", "1"),)), local=tmp_path)
    assert caught.value.hint


def test_what_was_put_is_not_fetched_again_on_this_machine(address: StoreAddress, s3: S3, tmp_path: Path) -> None:
    with Proxy(s3.port) as proxy:
        through = structs.replace(address, endpoint=proxy.endpoint)
        blob = open_store(through, local=tmp_path).put(b"x" * 100_000)
        proxy.requests.clear()
        assert open_store(through, local=tmp_path).path(blob.digest, blob.nonce).stat().st_size == 100_000
        assert proxy.requests == []
        elsewhere = open_store(through, local=tmp_path / "elsewhere")
        elsewhere.path(blob.digest, blob.nonce)
        elsewhere.path(blob.digest, blob.nonce)
        assert [method for method, _ in proxy.requests] == ["GET"]


def test_a_blob_damaged_on_the_server_is_noticed_before_anyone_sees_it(address: StoreAddress, tmp_path: Path) -> None:
    blob = open_store(address, local=tmp_path / "one").put(b"precious" * 1000)
    obstore.put(behind(address), name(blob), b"?recious" * 1000)
    other = open_store(address, local=tmp_path / "other")
    with pytest.raises(BlobDamaged) as caught:
        other.path(blob.digest, blob.nonce)
    assert caught.value.generation == f"{blob.digest}.{blob.nonce}"
    assert list((tmp_path / "other" / "cache" / "tmp").iterdir()) == []


def test_many_ask_for_the_same_big_blob_and_one_fetches_it(address: StoreAddress, s3: S3, tmp_path: Path) -> None:
    data = random.Random(7).randbytes((20 << 20) + 17)
    blob = open_store(address, local=tmp_path / "one").put(data)
    with Proxy(s3.port) as proxy:
        through = structs.replace(address, endpoint=proxy.endpoint)
        with ThreadPoolExecutor(6) as pool:
            paths = set(
                pool.map(
                    lambda _: open_store(through, local=tmp_path / "other").path(blob.digest, blob.nonce), range(6)
                )
            )
        assert [path.read_bytes() == data for path in paths] == [True]
        assert len(proxy.requests) == 3  # its ranges


def test_a_file_handed_to_a_stage_outlives_its_eviction(address: StoreAddress, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"x" * 10_000)
    store = open_store(address, local=tmp_path / "local")
    ref = Codecs().save(File(tmp_path / "notes.txt"), store)
    found = Codecs().load(ref, store, scratch=tmp_path / "local" / "scratch")
    assert isinstance(found, File)
    for path in (tmp_path / "local" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    assert found.path.read_bytes() == b"x" * 10_000


def test_strangers_in_the_bucket_are_passed_over(address: StoreAddress, tmp_path: Path) -> None:
    store = open_store(address, local=tmp_path)
    blob = store.put(b"x")
    bucket = behind(address)
    for stranger in ("README", "blobs/README", f"blobs/{blob.digest[:2]}/note.txt", f"blobs/00/{'f' * 64}.abcd"):
        obstore.put(bucket, stranger, b"hello")
    assert [each.digest for each in store.blobs()] == [blob.digest]


def test_a_spool_goes_on_after_its_writer_is_replaced(address: StoreAddress, tmp_path: Path) -> None:
    for data in (b"one ", b"two ", b"three"):
        open_store(address, local=tmp_path).spool.spill("run", "w1", data)
    assert list(open_store(address, local=tmp_path).spool.spills("run")) == [("w1", b"one two three")]


FOLDER_ONLY = """
import sys
import threading
from headrace.spec.address import StoreAddress
from headrace.store.cache.memory import Memory
from headrace.store.open_store import open_store
open_store(StoreAddress(url=sys.argv[1])).put(b"x" * 10_000)
assert not {"obstore", "concurrent.futures"} & set(sys.modules), "loaded on the way to a folder"
"""


def test_a_folder_needs_no_client_of_clouds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FOLDER_ONLY, str(tmp_path)], check=True)


def test_the_parts_of_a_value_are_fetched_side_by_side_and_the_small_ones_lie_in_no_file(
    address: StoreAddress, s3: S3, tmp_path: Path
) -> None:
    value = [{"a": np.arange(1000) + each, "b": f"{each}" * 5000} for each in range(30)] + [np.arange(100_000)]
    ref = Codecs().save(value, open_store(address, local=tmp_path / "one"))
    with Proxy(s3.port) as proxy:
        store = open_store(structs.replace(address, endpoint=proxy.endpoint), local=tmp_path / "other")
        found: Any = Codecs().load(ref, store, verify=True)
        assert len(proxy.requests) == 61
        Codecs().load(ref, store)
        assert len(proxy.requests) == 61
    assert all(np.array_equal(each["a"], np.arange(1000) + place) for place, each in enumerate(found[:30]))
    assert found[30][-1] == 99_999
    files = [path for path in (tmp_path / "other").rglob("*") if path.is_file() and path.parent.name != "locks"]
    assert [path.stat().st_size > 800_000 for path in files] == [True]


def test_memory_holds_small_blobs_up_to_its_bound() -> None:
    memory = Memory(limit_bytes=1000)
    for number in range(20):
        memory.keep(bytes([number]) * 100, str(number))
        memory.find("0")
    there = [number for number in range(20) if memory.find(str(number)) is not None]
    assert there == [0, *range(11, 20)]


UPLOADING = """
import sys
import threading
from pathlib import Path
from headrace.spec.address import StoreAddress
from headrace.store.bucket.object_store import ObjectStore
store = ObjectStore(StoreAddress(url=sys.argv[1], endpoint=sys.argv[2]), local=Path(sys.argv[3]))
store.put(bytes(64 << 20))
"""


def test_the_upload_of_a_writer_that_was_killed_is_a_stray_and_can_be_ended(
    address: StoreAddress, s3: S3, tmp_path: Path
) -> None:
    store = open_store(address, local=tmp_path / "here")
    with Proxy(s3.port) as proxy:
        proxy.fault = Fault("slow", share=1.0, seconds=30, methods=("PUT",))  # the parts' answers never come
        words = [sys.executable, "-c", UPLOADING, address.url, proxy.endpoint, str(tmp_path / "there")]
        writer = subprocess.Popen(words)
        while not any(method == "PUT" for method, _ in proxy.requests):
            assert writer.poll() is None
            threading.Event().wait(0.05)
        (stray,) = store.strays()
        writer.kill()
        writer.wait()
    assert stray.name.startswith("upload ")
    assert abs(stray.modified - store.now()) < 60
    store.discard(stray)
    store.discard(stray)
    assert list(store.strays()) == []
    assert list(store.blobs()) == []


FORKED = """
import os, sys
from pathlib import Path
from headrace.errors import StoreError
from headrace.spec.address import StoreAddress
from headrace.store.bucket.object_store import ObjectStore
address = StoreAddress(url=sys.argv[1], endpoint=sys.argv[2])
def refused(store):
    try:
        store.put(b"x")
    except StoreError as error:
        return "forked" in error.message and "spawn" in error.hint
store = ObjectStore(address, local=Path(sys.argv[3]))
if os.fork() == 0:
    ObjectStore(address, local=Path(sys.argv[3])).put(b"before anyone did")
    os._exit(0)
assert os.wait()[1] == 0
store.put(b"x")
if os.fork() == 0:
    os._exit(0 if refused(store) and refused(ObjectStore(address, local=Path(sys.argv[3]))) else 1)
assert os.wait()[1] == 0
"""


def test_after_a_fork_it_refuses_instead_of_waiting_for_ever(address: StoreAddress, tmp_path: Path) -> None:
    words = [sys.executable, "-c", FORKED, address.url, address.endpoint or "", str(tmp_path)]
    subprocess.run(words, check=True, timeout=60)
