"""The shelves of a folder store: 256 folders, by the first two digits of the digest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.errors import StoreError
from headrace.store.blob import Blob, Found
from headrace.store.folder.fsync import sync, sync_all
from headrace.store.folder.nfs import appears, is_gone, is_shared, size_of


class Shelves:
    """Where each blob lies, and how synced files get there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[str] = set()  # shelves whose own entry is known to be durable

    def place(self, digest: str, nonce: str) -> Path:
        """Give the path of a blob; raise `StoreError` for what names none."""
        if not is_named(digest, nonce):
            raise StoreError(f"`{digest}.{nonce}` names no blob")
        return self.path / digest[:2] / f"{digest}.{nonce}"

    def take_in(self, files: Iterable[tuple[Path, Blob]]) -> None:
        """Rename synced files in, and wait until their names have reached the disk."""
        shelves: set[Path] = set()
        for path, blob in files:
            self._make(blob.digest[:2])
            place = self.place(blob.digest, blob.nonce)
            try:
                os.rename(path, place)
            except FileNotFoundError:  # a server may have done it, and been asked again when its answer was lost
                if size_of(place) != blob.size:
                    raise
            shelves.add(place.parent)
        sync_all(shelves)

    def size(self, path: Path, *, patience_s: float = 0.0) -> int | None:
        """Give the size of a blob's file, or None if it isn't there; on a shared file system, at a second look."""
        found = size_of(path)
        if found is None and is_shared(self.path) and appears(path, patience_s=patience_s):
            return size_of(path)
        return found

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, shelf by shelf; what isn't named like a blob is passed over."""
        for shelf in scan(self.path):
            for entry in scan(shelf):
                digest, dot, nonce = entry.name.partition(".")
                if not dot or not is_named(digest, nonce) or digest[:2] != shelf.name:
                    continue
                try:
                    state = entry.stat()
                except OSError as error:
                    if is_gone(error):
                        continue  # deleted meanwhile
                    raise
                yield Found(digest=digest, nonce=nonce, size=state.st_size, modified=state.st_mtime)

    def _make(self, shelf: str) -> None:
        """Make a shelf. That another process made it says nothing about whether it would survive a loss of power."""
        if shelf in self._known:
            return
        (self.path / shelf).mkdir(exist_ok=True)
        there = {each.name for each in scan(self.path)}
        sync(self.path)
        self._known |= there


def scan(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """List a folder; one that isn't there is empty."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if is_gone(error):
            return []
        raise


def is_named(digest: str, nonce: str) -> bool:
    """Tell whether these name a generation."""
    return len(digest) == 64 and digest.isalnum() and bool(nonce) and nonce.isalnum()
