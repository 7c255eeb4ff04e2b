"""The stores of all regions as one store. Reads use the first store that has the blob; writes go to the home store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from headrace.errors import BlobMissing, HeadraceError
from headrace.store.blob import Blob, Found, Stray
from headrace.store.draft import Draft
from headrace.store.store import Batch, Logs, Spool, Store


class Everywhere:
    """Several stores used as one (implements `store.Store`). The first of them is the home store.

    The replicas of a blob have the same name in all stores, so any replica can be read. If no store has a blob, the
    home store's error is passed to `why`, and the error that `why` returns is raised.
    """

    def __init__(
        self, stores: Sequence[Store], why: Callable[[BlobMissing], HeadraceError] = lambda error: error
    ) -> None:
        self._stores = stores
        self._why = why
        self._home = stores[0]

    @property
    def url(self) -> str:
        """The URL of the home store."""
        return self._home.url

    @property
    def local(self) -> Path:
        """The home store's folder on this machine."""
        return self._home.local

    @property
    def spool(self) -> Spool:
        """The spool of the home store."""
        return self._home.spool

    @property
    def logs(self) -> Logs:
        """The logs of the home store."""
        return self._home.logs

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Return the path of a file on this machine with a blob's bytes. If `verify`, the bytes have been compared with
        the digest."""
        with self._explaining():
            return self._having(digest, nonce).path(digest, nonce, verify=verify)

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Return the bytes of a blob if it is small and its store keeps small blobs in memory. Otherwise return
        None."""
        with self._explaining():
            return self._having(digest, nonce).held(digest, nonce)

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Fetch blobs that are read soon. If there are several stores, do nothing: which of them has a blob isn't known
        until the blob is read."""
        if len(self._stores) == 1:
            self._home.prefetch(generations)

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Return a blob as an open file that can seek."""
        with self._explaining():
            return self._having(digest, nonce).reader(digest, nonce)

    def size(self, digest: str, nonce: str) -> int | None:
        """Return the size of a blob in bytes, or None if no store has it."""
        return next((size for store in self._stores if (size := store.size(digest, nonce)) is not None), None)

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was written, in Unix seconds by the clock of the store that has the blob. Return None if
        no store has it."""
        return self._having(digest, nonce).modified(digest, nonce)

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Return the sizes of many blobs (each digest and nonce) in the given order. The size is None if no store has
        the blob."""
        asked = list(generations)
        sizes: list[int | None] = [None] * len(asked)
        for store in self._stores:
            left = [place for place, size in enumerate(sizes) if size is None]
            for place, size in zip(left, store.sizes([asked[place] for place in left]), strict=True):
                sizes[place] = size
        return sizes

    def verify(self, digest: str, nonce: str) -> None:
        """Read a whole blob and compare its bytes with its digest. Raise `BlobMissing` if no store has the blob, and
        `BlobDamaged` if its bytes are damaged."""
        with self._explaining():
            self._having(digest, nonce).verify(digest, nonce)

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return a stamp that changes with each write to a blob's file, or None if there is no reliable stamp."""
        return self._having(digest, nonce).stamp(digest, nonce)

    def batch(self) -> Batch:
        """Return a batch of the home store."""
        return self._home.batch()

    def draft(self) -> Draft:
        """Return a draft of the home store."""
        return self._home.draft()

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Store these bytes in the home store and return their blob."""
        return self._home.put(data)

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob in all stores."""
        for store in self._stores:
            store.delete(digest, nonce)

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs in all stores."""
        for store in self._stores:
            store.delete_all(generations)

    def blobs(self) -> Iterator[Found]:
        """Yield all replicas of all blobs: a blob that several stores have is yielded once for each of these stores."""
        for store in self._stores:
            yield from store.blobs()

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Return an iterator over the unfinished files of the home store."""
        return self._home.strays(now)

    def discard(self, stray: Stray) -> None:
        """Delete an unfinished file of the home store."""
        self._home.discard(stray)

    def now(self) -> float:
        """Return the time in Unix seconds by the clock of the home store."""
        return self._home.now()

    def _having(self, digest: str, nonce: str) -> Store:
        """Return the first store that has a blob. If no store has it, return the home store, which then raises the
        error."""
        if len(self._stores) == 1:
            return self._home
        return next((store for store in self._stores if store.size(digest, nonce) is not None), self._home)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Return a context that passes a `BlobMissing` error to `why`, and raises the error that `why` returns."""
        try:
            yield
        except BlobMissing as error:
            raise self._why(error) from error.__cause__
