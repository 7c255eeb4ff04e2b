"""A store in a bucket: of Amazon's protocol, or of Google's or Azure's by the same code (which nobody has tried yet).

    blobs/ab/abcdef….NONCE        the blobs; each put is a generation of its own
    spool/RUN/NAME/NUMBER         what workers spill while no driver listens
    logs/RUN/NAME/START           what attempts printed

Nothing is trusted on its way. What is sent is signed with its digest, which the server checks (SHA-256); of a blob sent
whole, the tag that comes back must be its MD5, or it is read back; one sent in parts must have its size. What is
fetched is held against its BLAKE3 digest before anyone sees it.
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

from headrace.errors import StoreError
from headrace.spec.address import StoreAddress
from headrace.store.blob import Blob, Found, Stray
from headrace.store.bucket import PATIENCE_S, Absent, Bucket
from headrace.store.cache import Cache
from headrace.store.download import download
from headrace.store.draft import Draft
from headrace.store.memory import SMALL_BYTES, Memory
from headrace.store.objectlogs import ObjectLogs
from headrace.store.objectspool import ObjectSpool
from headrace.store.ranges import RangeFile
from headrace.store.shelves import is_named, scan
from headrace.store.store import new_nonce
from headrace.store.trouble import FULL, damaged, missing, trouble
from headrace.store.upload import AT_ONCE, ObjectBatch
from headrace.store.uploads import Uploads

GIB = 1 << 30
UPLOAD = "upload"
"""What the names of strays begin with that are uploads in parts."""


class ObjectStore:
    """Blobs by digest and nonce in a bucket, with copies of the last used ones in `local`.

    Opening it asks nothing of the server. It is not for use on both sides of a fork.
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
        """Give a batch: what is kept within it is in the bucket when it ends without an error."""
        return ObjectBatch(self._bucket, self._cache, self._memory, aside=self._aside, name=_name_of)

    def draft(self) -> Draft:
        """Give a draft to write to; what it keeps is in the bucket at once."""
        return Draft(self._aside(), self._keep, "cache")

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes; what is returned is in the bucket."""
        with self.batch() as batch:
            return batch.put(data)

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Give a file with a blob's bytes, from the cache or fetched now: fetched bytes have the digest in any case,
        those of the cache are held against it once more with `verify`."""
        name = _name(digest, nonce)
        if (found := self._cache.find(digest, verify=verify)) is not None:
            return found
        if (data := self._memory.find(digest)) is not None:
            return self._laid(data, digest)
        with self._cache.alone(digest):
            if (found := self._cache.find(digest)) is not None:
                return found
            return self._fetch(name, digest, nonce)

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Give the bytes of a small blob, from memory or fetched now; they have the digest. None of one too big."""
        name = _name(digest, nonce)
        if (data := self._memory.find(digest)) is not None:
            return data
        try:
            found, size = self._bucket.begin(name, SMALL_BYTES)
        except Absent as error:
            raise missing(digest, nonce, self.url) from error
        if size > SMALL_BYTES:
            return None
        data = bytes(found)
        if (other := blake3(data).hexdigest()) != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{other[:12]}`")
        self._memory.keep(data, digest)
        return data

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Bring blobs into memory or the cache, side by side."""
        rest = list(dict.fromkeys(generations))
        if len(rest) > 1:
            with ThreadPoolExecutor(min(AT_ONCE, len(rest)), "headrace-prefetch") as pool:
                deque(pool.map(self._prefetch, rest), maxlen=0)

    def _prefetch(self, generation: tuple[str, str, int]) -> None:
        digest, nonce, size = generation
        if size > SMALL_BYTES or self.held(digest, nonce) is None:
            self.path(digest, nonce)

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Give a blob as a file: the cache's, or one that fetches what is read, whose bytes nobody has held against
        the digest."""
        name = _name(digest, nonce)
        if (found := self._cache.find(digest)) is not None:
            with suppress(FileNotFoundError):
                return found.open("rb")
        size = self._bucket.head(name)
        if size is None:
            raise missing(digest, nonce, self.url)
        return cast("BinaryIO", RangeFile(self._bucket, name, size))

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        return self._bucket.head(_name(digest, nonce))

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was put, by the server's clock, or None if it isn't there."""
        found = self._bucket.look(_name(digest, nonce))
        return None if found is None else found.modified

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Give the sizes of many blobs, in their order, asked side by side."""
        names = [_name(digest, nonce) for digest, nonce in generations]
        if len(names) < 2:
            return [self._bucket.head(name) for name in names]
        with ThreadPoolExecutor(min(AT_ONCE, len(names)), "headrace-sizes") as pool:
            return list(pool.map(self._bucket.head, names))

    def verify(self, digest: str, nonce: str) -> None:
        """Fetch a blob from the bucket and hold its bytes against its digest."""
        try:
            found, _ = download(self._bucket, _name(digest, nonce), None)
        except Absent as error:
            raise missing(digest, nonce, self.url) from error
        if found != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{found[:12]}`")

    def stamp(self, digest: str, nonce: str) -> None:
        """Return nothing: a file of the cache is touched by each that reads it."""

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob; one that is gone already is no error."""
        self._bucket.delete(_name(digest, nonce))

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs in one request for each thousand."""
        if generations:
            self._bucket.delete(*(_name(*generation) for generation in generations))

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, in no order; what isn't named like a blob is passed over."""
        for each in self._bucket.objects("blobs/"):
            _, _, rest = each.name.partition("blobs/")
            shelf, _, name = rest.partition("/")
            digest, dot, nonce = name.partition(".")
            if dot and is_named(digest, nonce) and digest[:2] == shelf:
                yield Found(digest=digest, nonce=nonce, size=each.size, modified=each.modified)

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Go over what is neither kept nor thrown away yet: uploads in parts, and the drafts of this machine, whose
        clock may be another than the server's."""
        ahead_s = 0.0 if now is None else time.time() - now
        for entry in scan(self._cache.tmp):
            with suppress(FileNotFoundError):
                state = entry.stat()
                yield Stray(name=entry.name, size=state.st_size, modified=state.st_mtime - ahead_s)
        for each in self._uploads.begun() if self._uploads is not None else ():
            yield Stray(name=f"{UPLOAD} {each.id} {each.key}", size=0, modified=each.modified)

    def discard(self, stray: Stray) -> None:
        """Delete a draft, or end an upload, whose writer is gone."""
        kind, _, rest = stray.name.partition(" ")
        if kind == UPLOAD and self._uploads is not None:
            number, _, key = rest.partition(" ")
            self._uploads.end(key, number)
            return
        (self._cache.tmp / stray.name).unlink(missing_ok=True)

    def now(self) -> float:
        """Give the time by the server's clock, which dates an object that is made for it."""
        name = f"clock/{new_nonce()}{new_nonce()}"
        self._bucket.put(name, b"")
        try:
            return max(each.modified for each in self._bucket.objects("clock/"))
        finally:
            self._bucket.delete(name)

    def _keep(self, path: Path) -> Blob:
        with self.batch() as batch:
            return batch.keep(path)

    def _aside(self) -> Path:
        try:
            return self._cache.aside()
        except OSError as error:
            raise trouble(error, self._cache.tmp / "draft", "cache") or StoreError(
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
            found, _ = download(self._bucket, name, aside)
            if found != digest:
                raise damaged(digest, nonce, f"its bytes have the digest `{found[:12]}`")
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
        raise StoreError(f"`{digest}.{nonce}` names no blob")
    return f"blobs/{digest[:2]}/{digest}.{nonce}"


def _name_of(blob: Blob) -> str:
    return _name(blob.digest, blob.nonce)
