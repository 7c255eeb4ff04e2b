"""A draft: bytes written aside, which become a blob when they are kept and leave nothing behind when they are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import BinaryIO, Self

from headrace.errors import StoreError
from headrace.store.blob import Blob
from headrace.store.digest import digest_of
from headrace.store.trouble import trouble

SYNC_ASIDE_BYTES = 1 << 20
"""From this size on, the digest is computed while the disk is written; below, a thread costs more than it gives."""


class Draft:
    """Write to `file`, or let a library write to `path`; then `keep()` makes it a blob."""

    def __init__(self, path: Path, place: Callable[[Path, str], str]) -> None:
        self.path = path
        self._place = place
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = None
        if error is not None and not isinstance(error, StoreError):
            cause = trouble(error, self.path)  # asked while the draft still takes its room
        with suppress(OSError):  # what can't be flushed or removed is a stray
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        if cause is not None:
            raise cause from error

    @property
    def file(self) -> BinaryIO:
        """The draft as a binary file, open for writing."""
        if self._file is None:
            self._file = self.path.open("xb")
        return self._file

    def keep(self) -> Blob:
        """Make what was written durable and give the blob that it is now."""
        if self._file is not None:
            self._file.close()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StoreError(
                "nothing was written to the draft",
                hint="write to its `file` or to its `path` before it is kept",
            ) from error
        try:
            os.fchmod(descriptor, 0o444)
            size = os.fstat(descriptor).st_size
            digest = _digest_and_sync(descriptor, size)
        finally:
            os.close(descriptor)
        return Blob(digest=digest, size=size, nonce=self._place(self.path, digest))


def _digest_and_sync(descriptor: int, size: int) -> str:
    if size < SYNC_ASIDE_BYTES:
        os.fsync(descriptor)
        return digest_of(descriptor)
    failures: list[OSError] = []

    def sync() -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            failures.append(error)

    syncing = Thread(target=sync, name="headrace-sync")
    syncing.start()
    try:
        digest = digest_of(descriptor)
    finally:
        syncing.join()
    if failures:
        raise failures[0]
    return digest
