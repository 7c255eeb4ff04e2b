"""A draft: a temporary file that becomes a blob when `keep` is called, and is deleted otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from headrace.errors import StoreError
from headrace.store.blob import Blob
from headrace.store.errors import Place, trouble

STEP_BYTES = 1 << 20
"""The most bytes that are written at once. For larger writes, Linux allocates memory in blocks of 2 MiB. A virtual
machine may have returned such blocks to its host. In a measurement, getting them back made the write ten times as slow
(256 MB: 0.53 s instead of 0.055 s)."""


class Draft:
    """A file that becomes a blob. Write to `file`, or let a library write to `path`, and then call `keep()`."""

    def __init__(self, path: Path, keep: Callable[[Path], Blob], place: Place = "store") -> None:
        self.path = path
        self._keep = keep
        self._place = place
        self._kept = False
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = None
        if error is not None and not isinstance(error, StoreError):
            cause = trouble(error, self.path, self._place)  # before the draft is deleted, which would free disk space
        with suppress(OSError):  # a file that can't be flushed or deleted stays as a stray
            if self._file is not None:
                self._file.close()
        if not self._kept:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        if cause is not None:
            raise cause from error

    @property
    def file(self) -> BinaryIO:
        """The draft as a binary file, open for writing."""
        if self._file is None:
            self._file = BufferedWriter(Steps(self.path, "xb"))
        return self._file

    def keep(self) -> Blob:
        """Make the draft a blob and return it. A draft of a batch is durable when the batch has ended. Any other draft
        is durable when this method returns."""
        if self._file is not None:
            self._file.close()
        if not self.path.exists():
            raise StoreError(
                "nothing was written to the draft", hint="write to its `file` or to its `path` before it is kept"
            )
        blob = self._keep(self.path)
        self._kept = True
        return blob


class Steps(FileIO):
    """A file that writes large data in steps of `STEP_BYTES`."""

    def write(self, data: Any) -> int:
        """Write all of `data` and return its length in bytes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += super().write(view[done : done + STEP_BYTES])
        return done
