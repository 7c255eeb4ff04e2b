"""The stores of all regions as one: what is read comes from whichever of them has it, what is written goes home."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from headrace.store.blob import Blob, Found, Stray
from headrace.store.draft import Draft
from headrace.store.store import Batch, Logs, Spool, Store


class Everywhere:
    """Several stores (`store.Store`), the first of which is home. Replicas have one name, so any of them will do."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self._home = stores[0]

    @property
    def url(self) -> str:
        """Where home is."""
        return self._home.url

    @property
    def local(self) -> Path:
        """The folder of this machine that goes with home."""
        return self._home.local

    @property
    def spool(self) -> Spool:
        """The spool at home."""
        return self._home.spool

    @property
    def logs(self) -> Logs:
        """The logs at home."""
        return self._home.logs

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Give the path of a file of this machine with a blob's bytes."""
        return self._having(digest, nonce).path(digest, nonce, verify=verify)

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Give the bytes of a small blob that its store would rather hold in memory than lay into a file."""
        return self._having(digest, nonce).held(digest, nonce)

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Do nothing: where each blob is comes out as it is asked for."""

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Give a blob as a file that can seek."""
        return self._having(digest, nonce).reader(digest, nonce)

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if no store has it."""
        return next((size for store in self._stores if (size := store.size(digest, nonce)) is not None), None)

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was put, by the clock of the store that has it."""
        return self._having(digest, nonce).modified(digest, nonce)

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Give the sizes of many blobs (each digest and nonce), in their order."""
        asked = list(generations)
        found: list[int | None] = [None] * len(asked)
        for store in self._stores:
            left = [place for place, size in enumerate(found) if size is None]
            for place, size in zip(left, store.sizes([asked[place] for place in left]), strict=True):
                found[place] = size
        return found

    def verify(self, digest: str, nonce: str) -> None:
        """Read a blob whole, and hold its bytes against its digest."""
        self._having(digest, nonce).verify(digest, nonce)

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return what changes whenever somebody writes to a blob's file, if that can be told."""
        return self._having(digest, nonce).stamp(digest, nonce)

    def batch(self) -> Batch:
        """Give a batch of home."""
        return self._home.batch()

    def draft(self) -> Draft:
        """Give a draft of home."""
        return self._home.draft()

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes at home."""
        return self._home.put(data)

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob everywhere."""
        for store in self._stores:
            store.delete(digest, nonce)

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs everywhere."""
        for store in self._stores:
            store.delete_all(generations)

    def blobs(self) -> Iterator[Found]:
        """Go over all replicas of all blobs."""
        for store in self._stores:
            yield from store.blobs()

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Go over what is being written at home."""
        return self._home.strays(now)

    def discard(self, stray: Stray) -> None:
        """Delete a stray of home."""
        self._home.discard(stray)

    def now(self) -> float:
        """Give the time by the clock of home."""
        return self._home.now()

    def _having(self, digest: str, nonce: str) -> Store:
        """Give the first store that has a blob; home, whose error then is the right one, if none has."""
        return next((store for store in self._stores if store.size(digest, nonce) is not None), self._home)
