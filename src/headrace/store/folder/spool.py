"""The spool of a folder store: while a run has no driver, its workers append their reports to these files. The next
driver reads them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import StoreError
from headrace.store.errors import trouble
from headrace.store.folder.digest_folders import scan
from headrace.store.folder.fsync import sync, sync_open
from headrace.store.folder.nfs import is_gone, is_shared, refresh


class Spool:
    """Append-only files, with one folder for each run. The last record of a file may be incomplete after a crash.

    The spool knows nothing of records: their format is up to the writer.
    """

    def __init__(self, path: Path) -> None:
        self._root = path

    def spill(self, run: str, name: str, data: bytes) -> None:
        """Append bytes to the file `name` of a run. When this method returns, the bytes have reached the disk."""
        path = self._path(run, name)
        try:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                descriptor = self._create(path)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                sync_open(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise trouble(error, path) or StoreError(f"can't append to `{path}`: {error.strerror}") from error

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]:
        """Yield each file of a run, in the order of the names: its name and its bytes."""
        folder = self._folder(run)
        if is_shared(self._root):
            for parent in (self._root, folder):
                refresh(parent)  # so that a file is seen that another machine has just made
        for name in _names(folder):
            try:
                data = (folder / name).read_bytes()
            except OSError as error:
                if is_gone(error):
                    continue  # deleted meanwhile
                raise
            yield name, data

    def runs(self) -> list[str]:
        """Return the ids of the runs that have files in the spool, sorted."""
        return _names(self._root)

    def forget(self, run: str) -> None:
        """Delete all files of a run."""
        shutil.rmtree(self._folder(run), ignore_errors=True)

    def _create(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for folder in (path.parent, self._root, self._root.parent):
            sync(folder)
        return descriptor

    def _folder(self, run: str) -> Path:
        return self._root / plain(run)

    def _path(self, run: str, name: str) -> Path:
        return self._folder(run) / plain(name)


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted. Hidden files are left out, because `nfs.refresh` makes such files for a
    moment."""
    return sorted(entry.name for entry in scan(folder) if not entry.name.startswith("."))


def plain(name: str) -> str:
    """Return `name` if it is valid as the name of one file or folder. Otherwise raise `StoreError`."""
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise StoreError(f"`{name}` is not a name for a file of the spool")
    return name
