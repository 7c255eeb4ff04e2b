"""The prediction log of a host: a folder with a folder for each writer."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import LogError
from headrace.serve.predictions.segment import NO_END, Contents, read
from headrace.serve.predictions.writer import CLOSED, Settled, Writer

_LOCK = "writer.lock"
"""A file in each writer's folder that is locked as long as the writer lives."""
_UNBORN = "."
"""The name of a writer's folder begins with this until the writer has its lock."""


class PredictionLog:
    """The prediction log in a folder. Writers of several processes may use it at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: list[int] = []

    def writer(
        self,
        settled: Callable[[Sequence[Settled]], None],
        *,
        is_buffered: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> Writer:
        """Return a new writer for this process. `settled` and `say` are called in the writer's thread. See `Writer` for
        them, and for `is_buffered`.

        Raises:
            LogError: the folder can't be made.
        """
        name = secrets.token_hex(6)
        unborn, folder = self._folder / f"{_UNBORN}{name}", self._folder / name
        try:
            unborn.mkdir(mode=0o700, parents=True)
            self._locks.append(_locked(unborn / _LOCK))
            unborn.rename(folder)  # so that nobody sees it without its lock, and takes the writer for a dead one
        except OSError as error:
            raise _trouble(self._folder, error) from error
        return Writer(folder, name, settled, is_buffered=is_buffered, say=say)

    def closed(self) -> Iterator[Path]:
        """Yield the segments that no writer writes to any more: closed segments, and all segments of writers that have
        ended for whatever reason. In each writer's folder, the oldest segment comes first.

        Raises:
            LogError: a writer's folder can't be read, because it belongs to another user, for example. All segments of
                the other writers are yielded before this error is raised.
        """
        failed = list[LogError]()
        for folder in self._writers():
            try:
                yield from self._closed_in(folder)
            except LogError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _closed_in(self, folder: Path) -> list[Path]:
        paths = _segments(folder)  # before the look at the lock: what comes later has a living writer
        is_gone = _is_free(folder / _LOCK)
        if is_gone and not _segments(folder):  # it logged nothing; a writer that lived before may have, by now
            shutil.rmtree(folder, ignore_errors=True)
        return [each for each in paths if is_gone or each.suffix == CLOSED]

    def begun_before(self, when: float) -> bool:
        """Return whether any segment, closed or not, was begun before the time `when` (Unix seconds).

        Raises:
            LogError: a segment can't be read.
        """
        return any(each.begun < when for each in self.contents(first=NO_END))

    def contents(self, *, first: int = 0) -> Iterator[Contents]:
        """Yield the contents of all segments, closed or not, with the predictions from the offset `first` on. A segment
        that is sealed meanwhile is left out.

        Raises:
            LogError: a segment can't be read.
        """
        for folder in self._writers():
            for path in _segments(folder):
                try:
                    yield read(path, first=first)
                except LogError:
                    if path.exists():
                        raise
                    if (closed := path.with_suffix(CLOSED)).exists():  # it was closed just now
                        yield read(closed, first=first)

    @contextmanager
    def claimed(self, path: Path) -> Iterator[bool]:
        """Yield True if the caller may seal a segment; nobody else can seal it meanwhile. Yield False if another
        process or thread is sealing the segment, or has just sealed it.

        Raises:
            LogError: the segment can't be opened.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        except OSError as error:
            raise _trouble(path, error) from error
        try:
            yield _takes_lock(descriptor) and os.fstat(descriptor).st_nlink > 0  # 0: it was dropped
        finally:
            os.close(descriptor)

    def drop(self, path: Path) -> None:
        """Delete a segment whose predictions are stored elsewhere by now. If the segment's writer has ended and its
        folder is empty then, also delete the folder."""
        for beside in ("", "-wal", "-shm"):  # a segment without its log of changes would lack its last predictions
            with suppress(FileNotFoundError):
                path.with_name(path.name + beside).unlink()
        folder = path.parent
        if _is_free(folder / _LOCK) and not _segments(folder):
            shutil.rmtree(folder, ignore_errors=True)  # another process may do the same

    def close(self) -> None:
        """Release the locks of this process's writers, so that they count as ended. Call this when they are closed."""
        while self._locks:
            os.close(self._locks.pop())

    def _writers(self) -> list[Path]:
        try:
            return sorted(filter(_is_writers, self._folder.iterdir())) if self._folder.is_dir() else []
        except OSError as error:
            raise _trouble(self._folder, error) from error


def _is_writers(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(_UNBORN)


def _segments(folder: Path) -> list[Path]:
    """Return the segments in a writer's folder, oldest first; none if the folder has just been removed.

    Raises:
        LogError: the folder can't be read.
    """
    try:
        return sorted(each for each in folder.iterdir() if each.suffix in (".db", CLOSED))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _trouble(folder, error) from error


def _trouble(path: Path, error: OSError) -> LogError:
    return LogError(
        f"the prediction log `{path}` can't be used: {error.strerror}",
        hint="check the folder's rights and the free space of its disk",
    )


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _takes_lock(descriptor: int) -> bool:
    """Lock a segment's file. Return False if someone else has locked it. SQLite's own locks are of another kind, so the
    two don't affect each other."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(path: Path) -> bool:
    """Return whether a file exists, and no process has locked it.

    Raises:
        LogError: the file can't be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # the folder has just been removed
    except OSError as error:
        raise _trouble(path.parent, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
