"""The logs of a folder store: the printed output of attempts. Other machines may see the folder of the logs too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.errors import StoreError
from headrace.store.errors import trouble
from headrace.store.folder.spool import plain

PIECE_BYTES = 8 << 20
"""The output of an attempt is copied from the worker's log in pieces of this size."""


def unreadable(path: Path, error: OSError) -> StoreError:
    """Return the error for a log that can't be read."""
    return StoreError(
        f"`{path}` can't be read: {error.strerror}",
        hint="it belongs to the user who ran the worker: ask for the right to read it",
    )


class FolderLogs:
    """Logs as files `RUN/NAME` in a folder.

    If `own` is true, workers write their logs into this folder themselves. Otherwise `keep` copies the output there.
    """

    def __init__(self, path: Path, *, own: bool) -> None:
        self._root = path
        self._own = own

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Copy an attempt's output to the log `name`, from position `start` on.

        Do nothing if workers write their logs into this folder themselves.
        """
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
        """Yield the bytes of a log from `start` to `end`, in pieces. Yield nothing if there is no such log."""
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
        """Delete all logs of a run."""
        shutil.rmtree(self._root / plain(run), ignore_errors=True)
