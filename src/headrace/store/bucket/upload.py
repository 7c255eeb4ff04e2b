"""Uploads: batches of blobs that are sent in parallel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from blake3 import blake3

from headrace.errors import StoreError
from headrace.store.blob import Blob
from headrace.store.bucket.bucket import PART_BYTES, Bucket
from headrace.store.cache.cache import Cache
from headrace.store.cache.memory import SMALL_BYTES, Memory
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.errors import damaged, trouble
from headrace.store.store import new_nonce

AT_ONCE = 16
"""How many small blobs are sent at once. Most of the time of a request is spent waiting for the server's answer."""

HELD = 1 << 10
"""The most small blobs whose bytes wait in memory until the batch ends. The bytes of further blobs wait in files."""

BIG_BYTES = 2 * PART_BYTES
"""A blob of at least this size is sent in parts as soon as it is added to a batch. Smaller blobs are sent when the
batch ends."""


def upload(bucket: Bucket, name: str, path: Path, size: int, *, replace: bool) -> None:
    """Write an object with the bytes of a file, in one request or (from `BIG_BYTES` on) in parts."""
    if size < BIG_BYTES:
        bucket.put(name, path.read_bytes(), replace=replace)
    else:
        bucket.put_file(name, path, size)


class ObjectBatch:
    """A batch of blobs for an object store.

    After the batch has ended, its blobs are in the bucket and in this machine's cache. If the batch ends with an error,
    they are not in the cache, and those already sent are deleted from the bucket, except for replicas.
    """

    def __init__(
        self, bucket: Bucket, cache: Cache, memory: Memory, aside: Callable[[], Path], name: Callable[[Blob], str]
    ) -> None:
        self._bucket = bucket
        self._cache = cache
        self._memory = memory
        self._aside = aside
        self._name = name
        self._kept: list[tuple[Path, Blob]] = []
        self._small: list[tuple[Path, Blob]] = []
        self._replicas: set[Blob] = set()
        self._held: list[tuple[bytes, Blob]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[Blob, Future[None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = False
        try:
            if error is None:
                self._commit()
                done = True
        except OSError as failure:
            raise trouble(failure, self._cache.tmp / "draft", "cache") or StoreError(
                f"the cache `{self._cache.folder}` failed: {failure.strerror}", hint="check its disk"
            ) from failure
        finally:
            self._clear(done=done)

    def draft(self) -> Draft:
        """Return a draft, a file to write to. As a context manager, it deletes its file unless `keep` was called."""
        return Draft(self._aside(), self.keep, "cache")

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Add these bytes to the batch and return their blob. The bytes of small blobs wait in memory until the batch
        ends."""
        if len(data) <= SMALL_BYTES and len(self._held) < HELD:
            data = bytes(data)
            blob = Blob(digest=blake3(data).hexdigest(), size=len(data), nonce=new_nonce())
            self._held.append((data, blob))
            return blob
        with self.draft() as draft:
            draft.file.write(data)
            return draft.keep()

    def replicate(self, digest: str, nonce: str, source: BinaryIO) -> Blob:
        """Add a copy of another store's blob, with the same digest and nonce. `source` is a file with its bytes.

        Raises:
            BlobDamaged: the bytes have another digest. Then the blob is not added, and the batch can still be used.
        """
        with Draft(self._aside(), lambda path: self._replica(path, digest, nonce), "cache") as draft:
            shutil.copyfileobj(source, draft.file, PART_BYTES)
            return draft.keep()

    def keep(self, path: Path) -> Blob:
        """Add a finished draft's file to the batch and return its blob."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            blob = Blob(digest=digest_of(descriptor), size=size, nonce=new_nonce())
        finally:
            os.close(descriptor)
        self._take(path, blob)
        return blob

    def _replica(self, path: Path, digest: str, nonce: str) -> Blob:
        with path.open("rb") as file:
            size, actual = os.fstat(file.fileno()).st_size, digest_of(file.fileno())
        if actual != digest:
            raise damaged(digest, nonce, f"the bytes that arrived have the digest `{actual[:12]}`")
        blob = Blob(digest=digest, size=size, nonce=nonce)
        self._replicas.add(blob)
        self._take(path, blob)
        return blob

    def _take(self, path: Path, blob: Blob) -> None:
        self._name(blob)  # raises an error for an invalid name, before anything is kept
        self._kept.append((path, blob))
        if blob.size < BIG_BYTES:
            self._small.append((path, blob))
        else:
            self._start(blob, self._send, path, blob)

    def _commit(self) -> None:
        if len(self._small) + len(self._held) == 1 and self._pool is None:
            for path, blob in self._small:
                self._send(path, blob)
            for data, blob in self._held:
                self._send_held(data, blob)
        else:
            for path, blob in self._small:
                self._start(blob, self._send, path, blob)
            for data, blob in self._held:
                self._start(blob, self._send_held, data, blob)
        for future in self._under_way.values():
            future.result()
        for path, blob in self._kept:
            try:
                self._cache.take_in(path, blob.digest)
            except OSError:  # the blob is in the bucket, only its copy in the cache is missing
                path.unlink(missing_ok=True)

    def _start(self, blob: Blob, act: Callable[..., None], *args: Any) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, "headrace-upload")
        self._under_way[blob] = self._pool.submit(act, *args)

    def _send(self, path: Path, blob: Blob) -> None:
        upload(self._bucket, self._name(blob), path, blob.size, replace=blob in self._replicas)

    def _send_held(self, data: bytes, blob: Blob) -> None:
        self._bucket.put(self._name(blob), data)
        self._memory.keep(data, blob.digest)

    def _clear(self, *, done: bool) -> None:
        """Wait for the uploads that have begun. If the batch has failed (`done` is False), also delete its files on
        this machine, and the blobs that have already been sent to the bucket, except for replicas."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if done:
            return
        for path, _ in self._kept:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        arrived = [
            self._name(blob)
            for blob, sent in self._under_way.items()
            if not sent.cancelled() and sent.exception() is None and blob not in self._replicas
        ]
        if arrived:
            with suppress(StoreError):  # no row will name these blobs, so the collector deletes them later
                self._bucket.delete(*arrived)
