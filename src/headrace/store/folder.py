"""A store in a folder: of one machine, or of a file system that many share.

    blobs/ab/abcdef….NONCE   the blobs, read-only; each put is a generation of its own, under a nonce of its own
    tmp/                     drafts, aside but on the same file system, so that a rename brings them in
    spool/RUN/NAME           what workers spill while no driver listens

A put never trusts what it sees in `blobs/`: an equal blob may be half gone, or damaged, or about to be deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import BlobDamaged, BlobMissing, StoreError
from headrace.store.blob import Blob, Found, Stray
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.spool import Spool
from headrace.store.sync import sync_folder
from headrace.store.trouble import trouble

NONCE_BYTES = 4


class FolderStore:
    """Blobs by digest and nonce in a folder, which is made at the first write."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = Path(path).absolute()
        self.spool = Spool(self.root / "spool")
        self._blobs = self.root / "blobs"
        self._tmp = self.root / "tmp"
        self._shelves: set[str] = set()  # folders of `blobs/` whose own entry is known to be durable
        self._made = False

    def draft(self) -> Draft:
        """Give a draft to write to; used as a context manager, it leaves nothing behind unless it is kept."""
        if not self._made:
            self._make()
        return Draft(self._tmp / os.urandom(8).hex(), self._place)

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes; what is returned has reached the disk."""
        with self.draft() as draft:
            draft.file.write(data)
            return draft.keep()

    def path(self, digest: str, nonce: str) -> Path:
        """Give the path of a blob's file, to read."""
        path = self._path(digest, nonce)
        if not path.exists():
            raise _missing(digest, nonce, self.root)
        return path

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        try:
            return self._path(digest, nonce).stat().st_size
        except FileNotFoundError:
            return None

    def verify(self, digest: str, nonce: str) -> None:
        """Read a blob whole and hold its bytes against its digest."""
        try:
            descriptor = os.open(self._path(digest, nonce), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(digest, nonce, self.root) from error
        try:
            found = digest_of(descriptor)
        except OSError as error:
            raise _damaged(digest, nonce, f"it can't be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if found != digest:
            raise _damaged(digest, nonce, f"its bytes have the digest `{found[:12]}`")

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob; one that is gone already is no error."""
        self._path(digest, nonce).unlink(missing_ok=True)

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, shelf by shelf; what isn't named like a blob is passed over."""
        for shelf in _scan(self._blobs):
            for entry in _scan(shelf):
                digest, dot, nonce = entry.name.partition(".")
                if not dot or not _is_named(digest, nonce) or digest[:2] != shelf.name:
                    continue
                try:
                    state = entry.stat()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                yield Found(digest=digest, nonce=nonce, size=state.st_size, modified=state.st_mtime)

    def strays(self) -> Iterator[Stray]:
        """Go over the drafts that are neither kept nor thrown away yet."""
        for entry in _scan(self._tmp):
            try:
                state = entry.stat()
            except FileNotFoundError:
                continue
            yield Stray(name=entry.name, size=state.st_size, modified=state.st_mtime)

    def discard(self, stray: Stray) -> None:
        """Delete a draft whose writer is gone."""
        (self._tmp / stray.name).unlink(missing_ok=True)

    def _path(self, digest: str, nonce: str) -> Path:
        if not _is_named(digest, nonce):
            raise StoreError(f"`{digest}.{nonce}` names no blob")
        return self._blobs / digest[:2] / f"{digest}.{nonce}"

    def _make(self) -> None:
        try:
            for folder in (self._blobs, self._tmp):
                folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.root)
            sync_folder(self.root.parent)
        except OSError as error:
            raise trouble(error, self._tmp / "draft") or StoreError(
                f"the store `{self.root}` can't be made: {error.strerror}",
                hint="check that its path is a folder, or can become one",
            ) from error
        self._made = True

    def _place(self, draft: Path, digest: str) -> str:
        """Rename a synced draft in, make that durable, and give the nonce of the new generation."""
        shelf = digest[:2]
        if shelf not in self._shelves:
            self._make_shelf(shelf)
        nonce = os.urandom(NONCE_BYTES).hex()
        folder = self._blobs / shelf
        os.rename(draft, folder / f"{digest}.{nonce}")
        sync_folder(folder)
        return nonce

    def _make_shelf(self, shelf: str) -> None:
        """Make a shelf; that another process made it says nothing about whether it would survive a power cut."""
        (self._blobs / shelf).mkdir(exist_ok=True)
        there = {each.name for each in _scan(self._blobs)}
        sync_folder(self._blobs)
        self._shelves |= there


def _scan(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_named(digest: str, nonce: str) -> bool:
    return len(digest) == 64 and digest.isalnum() and bool(nonce) and nonce.isalnum()


def _missing(digest: str, nonce: str, root: Path) -> BlobMissing:
    return BlobMissing(
        f"the store `{root}` holds no blob `{digest[:12]}` (generation `{nonce}`)",
        hint="run what made it again; `headrace fsck` lists what else is missing",
    )


def _damaged(digest: str, nonce: str, why: str) -> BlobDamaged:
    return BlobDamaged(
        f"the blob `{digest[:12]}` (generation `{nonce}`) is damaged: {why}",
        hint="run what made it again; `headrace fsck` lists what else is damaged",
    )
