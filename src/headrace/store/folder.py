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
from headrace.store.batch import Batch
from headrace.store.blob import Blob, Found, Stray
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.shelves import Shelves, scan
from headrace.store.spool import Spool
from headrace.store.sync import sync
from headrace.store.trouble import trouble


class FolderStore:
    """Blobs by digest and nonce in a folder, which is made at the first write."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = Path(path).absolute()
        self.spool = Spool(self.root / "spool")
        self._shelves = Shelves(self.root / "blobs")
        self._tmp = self.root / "tmp"
        self._made = False

    def batch(self) -> Batch:
        """Give a batch: what is kept within it becomes durable when it ends without an error."""
        if not self._made:
            self._make()
        return Batch(self._tmp, self._shelves)

    def draft(self) -> Draft:
        """Give a draft to write to; what it keeps is durable at once."""
        if not self._made:
            self._make()
        return Draft(self._tmp / os.urandom(8).hex(), self._keep)

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Keep these bytes; what is returned has reached the disk."""
        with self.batch() as batch:
            return batch.put(data)

    def path(self, digest: str, nonce: str) -> Path:
        """Give the path of a blob's file, to read."""
        path = self._shelves.place(digest, nonce)
        if not path.exists():
            raise _missing(digest, nonce, self.root)
        return path

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        try:
            return self._shelves.place(digest, nonce).stat().st_size
        except FileNotFoundError:
            return None

    def verify(self, digest: str, nonce: str) -> None:
        """Read a blob whole and hold its bytes against its digest."""
        try:
            descriptor = os.open(self._shelves.place(digest, nonce), os.O_RDONLY | os.O_CLOEXEC)
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
        self._shelves.place(digest, nonce).unlink(missing_ok=True)

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, in no order; what isn't named like a blob is passed over."""
        return self._shelves.blobs()

    def strays(self) -> Iterator[Stray]:
        """Go over the drafts that are neither kept nor thrown away yet."""
        for entry in scan(self._tmp):
            try:
                state = entry.stat()
            except FileNotFoundError:
                continue
            yield Stray(name=entry.name, size=state.st_size, modified=state.st_mtime)

    def discard(self, stray: Stray) -> None:
        """Delete a draft whose writer is gone."""
        (self._tmp / stray.name).unlink(missing_ok=True)

    def _keep(self, path: Path) -> Blob:
        with self.batch() as batch:
            return batch.keep(path)

    def _make(self) -> None:
        try:
            for folder in (self._shelves.path, self._tmp):
                folder.mkdir(parents=True, exist_ok=True)
            sync(self.root)
            sync(self.root.parent)
        except OSError as error:
            raise trouble(error, self._tmp / "draft") or StoreError(
                f"the store `{self.root}` can't be made: {error.strerror}",
                hint="check that its path is a folder, or can become one",
            ) from error
        self._made = True


def _missing(digest: str, nonce: str, root: Path) -> BlobMissing:
    return BlobMissing(
        f"the store `{root}` holds no blob `{digest[:12]}` (generation `{nonce}`)",
        hint="`headrace fsck --repair` keeps it from being reused: then run again",
        generation=f"{digest}.{nonce}",
    )


def _damaged(digest: str, nonce: str, why: str) -> BlobDamaged:
    return BlobDamaged(
        f"the blob `{digest[:12]}` (generation `{nonce}`) is damaged: {why}",
        hint="`headrace fsck --deep --repair` keeps it from being reused: then run again",
        generation=f"{digest}.{nonce}",
    )
