"""A store in a bucket. It uses Amazon's protocol. The same code can use Google's or Azure's protocol (not tested yet).

    blobs/ab/abcdef….NONCE        the blobs; each put writes a generation of its own
    spool/RUN/NAME/NUMBER         reports that workers spill while they have no driver
    logs/RUN/NAME/START           the output of attempts

All transfers are checked. Each request is signed with the SHA-256 digest of its bytes, which the server checks. If a
blob was sent in one request, the server's tag (ETag) must be the MD5 digest of the bytes. If the tag is another one,
the blob is read back and compared. If a blob was sent in parts, its size must be right. Fetched bytes are compared with
their BLAKE3 digest before they are used.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from blake3 import blake3

from headrace.errors import NO_PLACE, StoreError, StoreUnreachable
from headrace.spec.address import StoreAddress
from headrace.store.blob import Blob, Found, Stray
from headrace.store.bucket.bucket import PATIENCE_S, Absent, Bucket
from headrace.store.bucket.download import download
from headrace.store.bucket.logs import ObjectLogs
from headrace.store.bucket.ranges import RangeFile
from headrace.store.bucket.spool import ObjectSpool
from headrace.store.bucket.unfinished_uploads import Uploads
from headrace.store.bucket.upload import AT_ONCE, ObjectBatch
from headrace.store.cache.cache import Cache
from headrace.store.cache.memory import SMALL_BYTES, Memory
from headrace.store.draft import Draft
from headrace.store.errors import FULL, damaged, missing, trouble
from headrace.store.folder.digest_folders import is_named, scan
from headrace.store.store import new_nonce

GIB = 1 << 30
UPLOAD = "upload"
"""The name of an unfinished file (`Stray`) begins with this if the file is an upload in parts."""


class ObjectStore:
    """A store of blobs in a bucket, with a cache of the recently used blobs in the folder `local`.

    Opening the store makes no request. The same store can't be used in both the parent and the child of a fork.
    """

    def __init__(
        self,
        address: StoreAddress,
        *,
        local: Path,
        environment: Mapping[str, str] = os.environ,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.url = address.url
        self.local = local
        self._bucket = Bucket(address, environment=environment, patience_s=patience_s)
        self._cache = Cache(local / "cache", int(address.cache_gib * GIB))
        self._memory = Memory()
        self._uploads = Uploads(address, environment) if address.url.startswith("s3://") else None
        self.spool = ObjectSpool(self._bucket)
        self.logs = ObjectLogs(self._bucket)

    def batch(self) -> ObjectBatch:
        """Return a batch, which stores several blobs together. The blobs are in the bucket when the batch has ended
        without an error."""
        return ObjectBatch(self._bucket, self._cache, self._memory, aside=self._aside, name=_name_of)

    def draft(self) -> Draft:
        """Return a draft, a file to write to. When its `keep` returns, the blob is in the bucket."""
        return Draft(self._aside(), self._keep, "cache")

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Store these bytes in the bucket and return their blob."""
        with self.batch() as batch:
            return batch.put(data)

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Return the path of a file with a blob's bytes, from the cache or fetched now.

        Fetched bytes are always compared with the digest. Bytes from the cache are compared again if `verify` is true.
        """
        name = _name(digest, nonce)
        if (cached := self._cache.find(digest, verify=verify)) is not None:
            return cached
        if (data := self._memory.find(digest)) is not None:
            return self._laid(data, digest)
        with self._cache.alone(digest):
            if (cached := self._cache.find(digest)) is not None:
                return cached
            return self._fetch(name, digest, nonce)

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Return the bytes of a small blob, or None if the blob is too big. The bytes are in memory already, or are
        fetched now.

        The bytes have been compared with the digest.
        """
        name = _name(digest, nonce)
        if (data := self._memory.find(digest)) is not None:
            return data
        try:
            start, size = self._bucket.begin(name, SMALL_BYTES)
        except Absent as error:
            raise missing(digest, nonce, self.url) from error
        if size > SMALL_BYTES:
            return None
        data = bytes(start)
        if (other := blake3(data).hexdigest()) != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{other[:12]}`")
        self._memory.keep(data, digest)
        return data

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Fetch blobs (each digest, nonce and size) into memory or the cache, in parallel."""
        rest = list(dict.fromkeys(generations))
        if len(rest) > 1:
            with ThreadPoolExecutor(min(AT_ONCE, len(rest)), "headrace-prefetch") as pool:
                deque(pool.map(self._prefetch, rest), maxlen=0)

    def _prefetch(self, generation: tuple[str, str, int]) -> None:
        digest, nonce, size = generation
        if size > SMALL_BYTES or self.held(digest, nonce) is None:
            self.path(digest, nonce)

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Return a blob as an open file. If the blob isn't in the cache, each range of the file is fetched when it is
        read.

        Ranges that are fetched this way aren't compared with the digest.
        """
        name = _name(digest, nonce)
        if (cached := self._cache.find(digest)) is not None:
            with suppress(FileNotFoundError):
                return cached.open("rb")
        size = self._bucket.head(name)
        if size is None:
            raise missing(digest, nonce, self.url)
        return cast("BinaryIO", RangeFile(self._bucket, name, size))

    def size(self, digest: str, nonce: str) -> int | None:
        """Return the size of a blob in bytes, or None if the store doesn't have it."""
        return self._bucket.head(_name(digest, nonce))

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was written, in Unix seconds by the server's clock, or None if it doesn't exist."""
        head = self._bucket.look(_name(digest, nonce))
        return None if head is None else head.modified

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Return the sizes of many blobs in the given order, with parallel requests. The size of a missing blob is
        None."""
        names = [_name(digest, nonce) for digest, nonce in generations]
        if len(names) < 2:
            return [self._bucket.head(name) for name in names]
        with ThreadPoolExecutor(min(AT_ONCE, len(names)), "headrace-sizes") as pool:
            return list(pool.map(self._bucket.head, names))

    def verify(self, digest: str, nonce: str) -> None:
        """Fetch a blob from the bucket and compare its bytes with its digest.

        Raises:
            BlobMissing: the bucket doesn't have the blob.
            BlobDamaged: the bytes have another digest.
        """
        try:
            actual, _ = download(self._bucket, _name(digest, nonce), None)
        except Absent as error:
            raise missing(digest, nonce, self.url) from error
        if actual != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{actual[:12]}`")

    def stamp(self, digest: str, nonce: str) -> None:
        """Return None. A stamp would be a value that changes with each write to a blob. But reading a file in the cache
        changes the file's times, so the times say nothing about writes."""

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob, also from this machine's cache. It is no error if the store doesn't have it."""
        self.delete_all([(digest, nonce)])

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs, with one request for each thousand blobs, also from this machine's cache."""
        for digest, _ in generations:
            self._cache.forget(digest)
        if generations:
            self._bucket.delete(*(_name(*generation) for generation in generations))

    def blobs(self) -> Iterator[Found]:
        """Yield all blobs of the store, in no particular order. Objects that aren't named like a blob are ignored."""
        for entry in self._bucket.objects("blobs/"):
            _, _, rest = entry.name.partition("blobs/")
            prefix, _, name = rest.partition("/")
            digest, dot, nonce = name.partition(".")
            if dot and is_named(digest, nonce) and digest[:2] == prefix:
                yield Found(digest=digest, nonce=nonce, size=entry.size, modified=entry.modified)

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Yield the unfinished uploads in parts, and the unfinished drafts on this machine.

        If `now` (the server's time) is given, the times of drafts are converted to the server's clock.
        """
        ahead_s = 0.0 if now is None else time.time() - now
        for entry in scan(self._cache.tmp):
            with suppress(FileNotFoundError):
                state = entry.stat()
                yield Stray(name=entry.name, size=state.st_size, modified=state.st_mtime - ahead_s)
        for upload in self._uploads.begun() if self._uploads is not None else ():
            yield Stray(name=f"{UPLOAD} {upload.id} {upload.key}", size=0, modified=upload.modified)

    def discard(self, stray: Stray) -> None:
        """Delete a draft, or end an upload in parts. Its writer must be gone."""
        kind, _, rest = stray.name.partition(" ")
        if kind == UPLOAD and self._uploads is not None:
            number, _, key = rest.partition(" ")
            self._uploads.end(key, number)
            return
        (self._cache.tmp / stray.name).unlink(missing_ok=True)

    def now(self) -> float:
        """Return the time in Unix seconds by the server's clock. To find it out, write an object and read its date."""
        name = f"clock/{new_nonce()}{new_nonce()}"
        self._bucket.put(name, b"")
        try:
            return max(entry.modified for entry in self._bucket.objects("clock/"))
        finally:
            self._bucket.delete(name)

    def _keep(self, path: Path) -> Blob:
        with self.batch() as batch:
            return batch.keep(path)

    def _aside(self) -> Path:
        try:
            return self._cache.aside()
        except OSError as error:
            kind = StoreUnreachable if error.errno in NO_PLACE else StoreError
            raise trouble(error, self._cache.tmp / "draft", "cache") or kind(
                f"the cache `{self._cache.folder}` can't be made: {error.strerror}",
                hint="check that its path is a folder, or can become one",
            ) from error

    def _laid(self, data: bytes, digest: str) -> Path:
        aside = self._aside()
        aside.write_bytes(data)
        return self._cache.take_in(aside, digest)

    def _fetch(self, name: str, digest: str, nonce: str, *, full: bool = False) -> Path:
        aside = self._aside()
        try:
            actual, _ = download(self._bucket, name, aside)
            if actual != digest:
                raise damaged(digest, nonce, f"its bytes have the digest `{actual[:12]}`")
            return self._cache.take_in(aside, digest)
        except Absent as error:
            raise missing(digest, nonce, self.url) from error
        except OSError as error:
            if error.errno in FULL and not full:
                self._cache.evict(down_to=0)
                return self._fetch(name, digest, nonce, full=True)
            raise trouble(error, aside, "cache") or StoreError(
                f"the cache `{self._cache.folder}` can't be written to: {error.strerror}", hint="check its disk"
            ) from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def _name(digest: str, nonce: str) -> str:
    if not is_named(digest, nonce):
        raise StoreError(f"`{digest}.{nonce}` is not the name of a blob")
    return f"blobs/{digest[:2]}/{digest}.{nonce}"


def _name_of(blob: Blob) -> str:
    return _name(blob.digest, blob.nonce)
