"""The folders of a folder store's blobs: 256 folders, named by the first two hex digits of the digest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.errors import StoreError
from headrace.store.blob import Blob, Found
from headrace.store.folder.fsync import sync, sync_all
from headrace.store.folder.nfs import appears, is_gone, is_shared, size_of


class DigestFolders:
    """The folders of a store's blobs: gives the path of each blob, and moves synced files into the folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[str] = set()  # folders whose own directory entry is known to be durable

    def place(self, digest: str, nonce: str) -> Path:
        """Return the path of a blob's file. Raise `StoreError` if the digest or the nonce isn't valid."""
        if not is_named(digest, nonce):
            raise StoreError(f"`{digest}.{nonce}` is not the name of a blob")
        return self.path / digest[:2] / f"{digest}.{nonce}"

    def take_in(self, files: Iterable[tuple[Path, Blob]]) -> None:
        """Move synced files to the paths of their blobs, and wait until their names have reached the disk."""
        folders: set[Path] = set()
        for path, blob in files:
            self._make(blob.digest[:2])
            place = self.place(blob.digest, blob.nonce)
            try:
                os.rename(path, place)
            except FileNotFoundError:  # the client may have repeated a rename whose answer was lost
                if size_of(place) != blob.size:
                    raise
            folders.add(place.parent)
        sync_all(folders)

    def size(self, path: Path, *, patience_s: float = 0.0) -> int | None:
        """Return the size of a blob's file, or None if there is no such file.

        On a shared file system, a file that seems missing is looked for again, for up to `patience_s` seconds.
        """
        size = size_of(path)
        if size is None and is_shared(self.path) and appears(path, patience_s=patience_s):
            return size_of(path)
        return size

    def blobs(self) -> Iterator[Found]:
        """Yield all blobs, folder by folder. Files that aren't named like a blob are ignored."""
        for folder in scan(self.path):
            for entry in scan(folder):
                digest, dot, nonce = entry.name.partition(".")
                if not dot or not is_named(digest, nonce) or digest[:2] != folder.name:
                    continue
                try:
                    state = entry.stat()
                except OSError as error:
                    if is_gone(error):
                        continue  # deleted meanwhile
                    raise
                yield Found(digest=digest, nonce=nonce, size=state.st_size, modified=state.st_mtime)

    def _make(self, folder: str) -> None:
        """Make a folder and wait until its name has reached the disk.

        This is done even if the folder exists: if another process has just made it, its name may not have reached the
        disk.
        """
        if folder in self._known:
            return
        (self.path / folder).mkdir(exist_ok=True)
        there = {entry.name for entry in scan(self.path)}
        sync(self.path)
        self._known |= there


def scan(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, or an empty list if the folder doesn't exist."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if is_gone(error):
            return []
        raise


def is_named(digest: str, nonce: str) -> bool:
    """Return whether a digest and a nonce are valid as the name of a generation."""
    return len(digest) == 64 and digest.isalnum() and bool(nonce) and nonce.isalnum()
