"""A draft: bytes written aside, which become a blob when they are kept and leave nothing behind when they are not."""

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
"""So much is written at once. For more, Linux takes memory in blocks of 2 MiB, which a virtual machine may have given
back to its host: to get those again took ten times as long as the write itself (256 MB: 0.53 s, not 0.055)."""


class Draft:
    """Write to `file`, or let a library write to `path`; then `keep()` makes it a blob."""

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
            cause = trouble(error, self.path, self._place)  # asked while the draft still takes its room
        with suppress(OSError):  # what can't be flushed or removed is a stray
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
        """Return the blob that this becomes: at once durable, or when the batch ends that the draft is part of."""
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
    """A file to which much is written step by step."""

    def write(self, data: Any) -> int:
        """Write all of it; return its length in bytes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += super().write(view[done : done + STEP_BYTES])
        return done
