"""The prediction log of a host: a folder with a folder for each writer."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from headrace.errors import LogError
from headrace.serve.predictions.segment import Contents, read
from headrace.serve.predictions.writer import CLOSED, Settled, Writer

_LOCK = "writer.lock"
"""A file in each writer's folder that is locked as long as the writer lives."""


class PredictionLog:
    """The prediction log in a folder. Writers of several processes may use it at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: list[int] = []

    def writer(self, settled: Callable[[Sequence[Settled]], None]) -> Writer:
        """Return a new writer for this process. `settled` is called in the writer's thread, see `Writer`.

        Raises:
            LogError: the folder can't be made.
        """
        name = secrets.token_hex(6)
        folder = self._folder / name
        try:
            folder.mkdir(mode=0o700, parents=True)
            self._locks.append(_locked(folder / _LOCK))
        except OSError as error:
            raise LogError(
                f"the prediction log `{self._folder}` can't be used: {error.strerror}",
                hint="check the folder's rights and the free space of its disk",
            ) from error
        return Writer(folder, name, settled)

    def closed(self) -> Iterator[Path]:
        """Yield the segments that nobody writes to any more, oldest first in each writer's folder: closed ones, and
        those of writers that are gone, whatever stopped them."""
        for folder in self._writers():
            paths = _segments(folder)  # before the look at the lock: what comes later has a living writer
            is_gone = _is_free(folder / _LOCK)
            yield from (each for each in paths if is_gone or each.suffix == CLOSED)

    def contents(self) -> Iterator[Contents]:
        """Yield what all segments hold, closed or not. A segment that is sealed meanwhile is left out.

        Raises:
            LogError: a segment can't be read.
        """
        for folder in self._writers():
            for path in _segments(folder):
                try:
                    yield read(path)
                except LogError:
                    if path.exists():
                        raise
                    if (closed := path.with_suffix(CLOSED)).exists():  # it was closed just now
                        yield read(closed)

    def drop(self, path: Path) -> None:
        """Delete a segment whose predictions are kept elsewhere by now; and the folder of a writer that is gone, once
        it is empty."""
        for beside in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                path.with_name(path.name + beside).unlink()
        folder = path.parent
        if _is_free(folder / _LOCK) and not _segments(folder):
            shutil.rmtree(folder, ignore_errors=True)  # another process may do the same

    def close(self) -> None:
        """Say that the writers of this process are gone. Call it once they are closed."""
        while self._locks:
            os.close(self._locks.pop())

    def _writers(self) -> list[Path]:
        return sorted(each for each in self._folder.iterdir() if each.is_dir()) if self._folder.is_dir() else []


def _segments(folder: Path) -> list[Path]:
    """Return the segments in a writer's folder, oldest first; none if the folder has just been removed."""
    with suppress(FileNotFoundError):
        return sorted(each for each in folder.iterdir() if each.suffix in (".db", CLOSED))
    return []


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_free(path: Path) -> bool:
    """Return whether no process holds the lock of this file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # the writer has made its folder, and is about to lock it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
