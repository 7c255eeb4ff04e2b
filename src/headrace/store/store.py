"""A store as everyone outside of this package sees it: blobs of one region, by digest and nonce."""

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
    """Give the nonce of a new generation."""
    return os.urandom(NONCE_BYTES).hex()


class Batch(Protocol):
    """Gives drafts. What they keep becomes durable when the batch ends: or, after an error, is gone."""

    def draft(self) -> Draft:
        """Give a draft to write to; used as a context manager, it leaves nothing behind unless it is kept."""
        ...

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes."""
        ...

    def replicate(self, digest: str, nonce: str, source: BinaryIO) -> Blob:
        """Keep a blob of another store under the digest and the nonce that it has there, from a file that gives its
        bytes. A blob of that name that is there already is replaced. Raises `BlobDamaged` where the bytes that arrive
        don't have the digest: nothing of it is kept then, and the batch may go on."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Spool(Protocol):
    """What the workers of a run spill while no driver listens, outside of all digests."""

    def spill(self, run: str, name: str, data: bytes) -> None:
        """Add to what this name spilled; on return it is durable."""
        ...

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]:
        """Go over what was spilled, by name: each name with its bytes in their order."""
        ...

    def runs(self) -> list[str]:
        """Name the runs that have spilled."""
        ...

    def forget(self, run: str) -> None:
        """Delete all that a run has spilled."""
        ...


class Logs(Protocol):
    """What the attempts of runs printed: bytes `start` to `end` of the log of this name, which a worker wrote."""

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Keep what an attempt printed, from its place in the log on."""
        ...

    def read(self, run: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Go over what an attempt printed; over nothing, where it wasn't kept."""
        ...

    def forget(self, run: str) -> None:
        """Delete all that a run has printed."""
        ...


class Store(Protocol):
    """Keeps immutable bytes.

    A put never trusts what is there already: each writes a generation of its own, named by the BLAKE3 digest of its
    bytes and a nonce. What is asked for and isn't there raises `BlobMissing`, what doesn't have its digest
    `BlobDamaged`, and a store that can't be read or written `StoreError`.
    """

    @property
    def url(self) -> str:
        """Where it is, without any secret."""
        ...

    @property
    def local(self) -> Path:
        """A folder of this machine for what lies beside blobs: logs, scratch, bundles, notes of workers, caches."""
        ...

    @property
    def spool(self) -> Spool:
        """What workers spill."""
        ...

    @property
    def logs(self) -> Logs:
        """What attempts printed."""
        ...

    def batch(self) -> Batch:
        """Give a batch: what is kept within it becomes durable when it ends without an error."""
        ...

    def draft(self) -> Draft:
        """Give a draft to write to; what it keeps is durable at once."""
        ...

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes; what is returned is durable."""
        ...

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Give the path of a file of this machine with a blob's bytes, to read at once: later it may be gone. With
        `verify`, or where they came from far away, the bytes have been held against the digest."""
        ...

    def held(self, digest: str, nonce: str) -> bytes | None:
        """Give the bytes of a small blob that the store would rather hold in memory than lay into a file; else None.
        They have the digest."""
        ...

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Say that many blobs (each digest, nonce and size) will be asked for: what is far away comes side by side."""
        ...

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Give a blob as a file that can seek: what is far away is fetched by the ranges that are read."""
        ...

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        ...

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was put, by the clock of `now`, or None if it isn't there."""
        ...

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Give the sizes of many blobs (each digest and nonce), in their order: asked side by side where that pays."""
        ...

    def verify(self, digest: str, nonce: str) -> None:
        """Read a blob whole, from where it is kept, and hold its bytes against its digest."""
        ...

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return what changes whenever somebody writes to a blob's file, or None where nothing tells so for sure."""
        ...

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob; one that is gone already is no error."""
        ...

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete some thousand blobs at most (each digest and nonce), all in one go where that pays."""
        ...

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, in no order; what isn't named like a blob is passed over."""
        ...

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Go over what is being written and neither kept nor thrown away yet; dated by the clock of `now`, where it is
        told what that says."""
        ...

    def discard(self, stray: Stray) -> None:
        """Delete a stray whose writer is gone."""
        ...

    def now(self) -> float:
        """Give the time by the clock that dates what is kept here, in seconds since the epoch."""
        ...
