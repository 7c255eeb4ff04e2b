"""The interface of a store, which keeps the blobs of one region by digest and nonce."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from headrace.store.blob import Blob, Found, Stray
from headrace.store.draft import Draft

NONCE_BYTES = 4


def new_nonce() -> str:
    """Return a random nonce for a new generation."""
    return os.urandom(NONCE_BYTES).hex()


class Batch(Protocol):
    """A batch of blobs. When the batch has ended, all its blobs are durable. If it ends with an error, some of its
    blobs may stay in the store until the garbage collector deletes them."""

    def draft(self) -> Draft:
        """Return a draft, a file to write to. As a context manager, it deletes its file unless `keep` was called."""
        ...

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Add these bytes to the batch and return their blob."""
        ...

    def replicate(self, digest: str, nonce: str, source: BinaryIO) -> Blob:
        """Add a copy of another store's blob, with the same digest and nonce. `source` is a file with its bytes.

        A blob of this store with the same digest and nonce is replaced.

        Raises:
            BlobDamaged: the bytes have another digest. Then the blob is not added, and the batch can still be used.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Spool(Protocol):
    """The spilled reports of workers. While no driver is there, workers write their reports to the store (they *spill*
    them). The next driver of the run reads them."""

    def spill(self, run: str, name: str, data: bytes) -> None:
        """Append bytes to the spill `name` of a run. When this method returns, the bytes are durable."""
        ...

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]:
        """Yield the spills of a run in the order of their names: each name with all its bytes."""
        ...

    def runs(self) -> list[str]:
        """Return the ids of the runs that have spills."""
        ...

    def forget(self, run: str) -> None:
        """Delete all spills of a run."""
        ...


class Logs(Protocol):
    """The logs of workers: the printed output of each attempt is the bytes `start` to `end` of its worker's log."""

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Store the output of an attempt, which begins at position `start` of the log `name`."""
        ...

    def read(self, run: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the output of an attempt in pieces, or nothing if it wasn't stored."""
        ...

    def forget(self, run: str) -> None:
        """Delete all logs of a run."""
        ...


class Store(Protocol):
    """A store of immutable blobs.

    Each put writes a new generation, named by the BLAKE3 digest of the bytes and a nonce. A put never reuses a blob
    that the store already has. A method raises `BlobMissing` for a blob that the store doesn't have, `BlobDamaged` for
    bytes that don't have their digest, and `StoreError` if the store can't be read or written.
    """

    @property
    def url(self) -> str:
        """The URL or path of the store, without secrets."""
        ...

    @property
    def local(self) -> Path:
        """The store's folder on this machine for other files: logs, scratch, bundles, notes about workers, caches."""
        ...

    @property
    def spool(self) -> Spool:
        """The spilled reports of workers."""
        ...

    @property
    def logs(self) -> Logs:
        """The printed output of attempts."""
        ...

    def batch(self) -> Batch:
        """Return a batch. Its blobs are durable when the batch has ended without an error."""
        ...

    def draft(self) -> Draft:
        """Return a draft, a file to write to. When its `keep` returns, the blob is durable."""
        ...

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Store these bytes durably and return their blob."""
        ...

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Return the path of a file on this machine with a blob's bytes. Read the file at once, because it may be
        deleted later.

        The bytes have been compared with the digest if `verify` is true, or if they were fetched from a server.
        """
        ...

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Return the bytes of a blob if it is small and this store keeps small blobs in memory. Otherwise return None.

        The bytes have been compared with the digest.
        """
        ...

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Fetch blobs (each digest, nonce and size) in parallel, because they will be read soon.

        A store whose blobs are on this machine does nothing.
        """
        ...

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Return a blob as an open file that can seek. If the store is on a server, only the ranges that are read are
        fetched."""
        ...

    def size(self, digest: str, nonce: str) -> int | None:
        """Return the size of a blob in bytes, or None if the store doesn't have it."""
        ...

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was written, in Unix seconds by the same clock as `now`, or None if it doesn't exist."""
        ...

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Return the sizes of many blobs (each digest and nonce) in the given order. The size of a missing blob is
        None.

        A store on a server makes parallel requests.
        """
        ...

    def verify(self, digest: str, nonce: str) -> None:
        """Read a whole blob from the store itself, not from a cache, and compare its bytes with its digest."""
        ...

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return a stamp that changes with each write to a blob's file, or None if there is no reliable stamp."""
        ...

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob. It is no error if the store doesn't have it."""
        ...

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs (each digest and nonce), at most a few thousand. If the store can delete many blobs in one
        request, it does."""
        ...

    def blobs(self) -> Iterator[Found]:
        """Return an iterator over all blobs, in no particular order. Files not named like a blob are ignored."""
        ...

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Return an iterator over the unfinished files: files that are being written, or whose writer has died.

        `now` is a time that the method `now` has returned. If it is given, the times of the files are by the clock of
        that method.
        """
        ...

    def discard(self, stray: Stray) -> None:
        """Delete an unfinished file. Its writer must be gone."""
        ...

    def now(self) -> float:
        """Return the time in Unix seconds, by the clock that gives blobs their times."""
        ...
