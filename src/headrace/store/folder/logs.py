"""What attempts printed, in a folder that others than their machine may see: outside of all digests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.errors import StoreError
from headrace.store.errors import trouble
from headrace.store.folder.spool import plain

PIECE_BYTES = 8 << 20
"""What an attempt printed is kept in pieces of this size, from where it begins in its worker's log."""


def unreadable(path: Path, error: OSError) -> StoreError:
    """Return the error of a log that may not, or can't, be read."""
    return StoreError(
        f"`{path}` can't be read: {error.strerror}",
        hint="it belongs to who ran the worker: ask them for the right to read it",
    )


class FolderLogs:
    """Logs in a folder, `RUN/NAME`. Workers that see it write there themselves; what others printed is copied."""

    def __init__(self, path: Path, *, own: bool) -> None:
        self._root = path
        self._own = own

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Copy what was printed to its place, unless the worker's own log is the one here."""
        if self._own:
            return
        path = self._root / plain(run) / plain(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                for piece in data:
                    start += os.pwrite(file, piece, start)
            finally:
                os.close(file)
        except OSError as error:
            raise trouble(error, path) or StoreError(f"can't write `{path}`: {error.strerror}") from error

    def read(self, run: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Go over what an attempt printed."""
        path = self._root / plain(run) / plain(name)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(start)
                while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
                    start += len(piece)
                    yield piece
        except FileNotFoundError:
            return
        except OSError as error:
            raise unreadable(path, error) from error

    def forget(self, run: str) -> None:
        """Delete all that a run has printed."""
        shutil.rmtree(self._root / plain(run), ignore_errors=True)
