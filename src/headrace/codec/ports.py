"""What the codecs need of a store."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self


class Kept(Protocol):
    """A blob that a store has made durable."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def nonce(self) -> str: ...


class Draft(Protocol):
    """Bytes written aside: through `file`, or by a library to `path`. On exit it is gone, unless it was kept."""

    @property
    def path(self) -> Path: ...
    @property
    def file(self) -> BinaryIO: ...
    def keep(self) -> Kept: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Batch(Protocol):
    """Drafts that become durable together when the batch is left without an error."""

    def draft(self) -> Draft: ...
    def put(self, data: bytes) -> Kept: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Blobs(Protocol):
    """Where values go that are too big for a ledger's row. `path` raises `BlobMissing`, `verify` `BlobDamaged`."""

    def batch(self) -> Batch: ...
    def path(self, digest: str, nonce: str) -> Path: ...
    def verify(self, digest: str, nonce: str) -> None: ...
