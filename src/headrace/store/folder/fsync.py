"""Waiting until files and folders have reached the disk, one by one or side by side."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

from headrace.store.folder.nfs import UNSYNCED

THREADS = 8
"""So many syncs overlap. A disk that is asked for many at once writes them in a few rounds: 300 small files took 2.7 s
one after the other and 0.2 s like this."""

FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""On macOS `fsync` leaves the bytes in the disk's own cache; this does not."""


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, as they are now, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_open(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def sync_open(descriptor: int) -> None:
    """Do the same for what is open."""
    if FULL_SYNC is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, FULL_SYNC)


def sync_all(paths: Iterable[Path]) -> None:
    """Sync many, side by side; raise the first error when all have ended."""
    rest = list(paths)
    if len(rest) == 1:
        sync(rest[0])
        return
    threads = [Syncing(rest) for _ in range(min(THREADS, len(rest)))]
    for each in threads:
        each.start()
    for each in threads:
        each.finish()


class Syncing(Thread):
    """Syncs what is left on a list, which threads may share, until it is empty."""

    def __init__(self, rest: list[Path]) -> None:
        super().__init__(name="headrace-sync")
        self._rest = rest
        self._error: OSError | None = None

    def run(self) -> None:
        while self._rest and self._error is None:
            try:
                sync(self._rest.pop())
            except IndexError:
                return  # another thread was quicker
            except OSError as error:
                self._error = error

    def finish(self) -> None:
        """Wait for the end; raise the error that there was."""
        self.join()
        if self._error is not None:
            raise self._error
