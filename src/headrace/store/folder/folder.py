"""A store in a folder, on one machine or on a shared file system.

    blobs/ab/abcdef….NONCE   the blobs, read-only; each put writes a generation of its own, with a new nonce
    tmp/                     drafts, on the same file system, so that a rename can move them to `blobs/`
    spool/RUN/NAME           reports that workers spill while they have no driver
    logs/RUN/NAME            the output of attempts

A put never reuses a blob that is already in `blobs/`, even if the bytes are equal. That blob may be incomplete,
damaged, or about to be deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from headrace.errors import NO_PLACE, StoreError, StoreUnreachable
from headrace.store.blob import Blob, Found, Stray
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.errors import damaged, missing, trouble
from headrace.store.folder.digest_folders import DigestFolders, scan
from headrace.store.folder.fsync import sync
from headrace.store.folder.logs import FolderLogs
from headrace.store.folder.nfs import LAG_S, SILLY, is_gone, remove
from headrace.store.folder.spool import Spool
from headrace.store.folder.write_batch import Batch

SETTLED_NS = 50_000_000
"""If at least this many nanoseconds pass between two writes, the file system certainly gives the second write a later
time."""


class FolderStore:
    """A store of blobs in a folder, by digest and nonce. The folder is made at the first write.

    `local` is a folder on this machine for logs, scratch files and similar files (None: the store's folder).
    """

    def __init__(self, path: str | os.PathLike[str], *, local: Path | None = None) -> None:
        self.root = Path(path).absolute()
        self.url = str(self.root)
        self.local = local or self.root
        self.spool = Spool(self.root / "spool")
        self.logs = FolderLogs(self.root / "logs", own=self.local == self.root)
        self._folders = DigestFolders(self.root / "blobs")
        self._tmp = self.root / "tmp"
        self._made = False

    def batch(self) -> Batch:
        """Return a batch. Its blobs are durable when the batch has ended without an error."""
        if not self._made:
            self._make()
        return Batch(self._tmp, self._folders)

    def draft(self) -> Draft:
        """Return a draft, a file to write to. When its `keep` returns, the blob is durable."""
        if not self._made:
            self._make()
        return Draft(self._tmp / os.urandom(8).hex(), self._keep)

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Store these bytes durably and return their blob."""
        with self.batch() as batch:
            return batch.put(data)

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Return the path of a blob's file, for reading. If `verify`, first compare the file's bytes with the digest.

        Raises:
            BlobMissing: the store doesn't have the blob.
            BlobDamaged: `verify` is true, and the bytes have another digest.
        """
        path = self._folders.place(digest, nonce)
        if self._folders.size(path, patience_s=LAG_S) is None:
            raise missing(digest, nonce, self.url)
        if verify:
            self.verify(digest, nonce)
        return path

    def held(self, digest: str, nonce: str) -> None:
        """Return None, because a folder store keeps no blobs in memory: their files are on this machine."""

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Do nothing: the files of a folder store need no fetching."""

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Return a blob's file, open for reading."""
        return self.path(digest, nonce).open("rb")

    def size(self, digest: str, nonce: str) -> int | None:
        """Return the size of a blob in bytes, or None if the store doesn't have it."""
        return self._folders.size(self._folders.place(digest, nonce))

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was written, in Unix seconds by the file system's clock, or None if it doesn't exist."""
        try:
            return self._folders.place(digest, nonce).stat().st_mtime
        except OSError as error:
            if is_gone(error):
                return None
            raise

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Return the sizes of many blobs in the given order. The size of a missing blob is None."""
        return [self.size(digest, nonce) for digest, nonce in generations]

    def verify(self, digest: str, nonce: str) -> None:
        """Read a whole blob and compare its bytes with its digest.

        Raises:
            BlobMissing: the store doesn't have the blob.
            BlobDamaged: the bytes have another digest, or can't be read.
        """
        try:
            descriptor = os.open(self.path(digest, nonce), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing(digest, nonce, self.url) from error
        try:
            actual = digest_of(descriptor)
        except OSError as error:
            if is_gone(error):
                raise missing(digest, nonce, self.url) from error
            raise damaged(digest, nonce, f"it can't be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if actual != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{actual[:12]}`")

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return a stamp that changes with each write to a blob's file, or None if there is no reliable stamp.

        There is no stamp if the file doesn't exist. There is no reliable stamp if the file was written a moment ago,
        because a second write could get the same time.
        """
        try:
            state = os.stat(self._folders.place(digest, nonce))
        except OSError:
            return None
        settled = time.time_ns() - state.st_ctime_ns > SETTLED_NS
        return (state.st_ino, state.st_size, state.st_ctime_ns) if settled else None

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob. It is no error if the store doesn't have it."""
        remove(self._folders.place(digest, nonce))

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs, one after another."""
        for generation in generations:
            self.delete(*generation)

    def blobs(self) -> Iterator[Found]:
        """Return an iterator over all blobs, in no particular order. Files not named like a blob are ignored."""
        return self._folders.blobs()

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Yield the unfinished drafts. `now` isn't needed, because the times of drafts and blobs are by the same
        clock."""
        del now
        for entry in scan(self._tmp):
            if entry.name.startswith(SILLY):
                continue
            try:
                state = entry.stat()
            except OSError as error:
                if is_gone(error):
                    continue
                raise
            yield Stray(name=entry.name, size=state.st_size, modified=state.st_mtime)

    def discard(self, stray: Stray) -> None:
        """Delete a draft. Its writer must be gone."""
        remove(self._tmp / stray.name)

    def now(self) -> float:
        """Return the time in Unix seconds by the file system's clock."""
        with self.draft() as draft:
            return os.fstat(draft.file.fileno()).st_mtime

    def _keep(self, path: Path) -> Blob:
        with self.batch() as batch:
            return batch.keep(path)

    def _make(self) -> None:
        try:
            for folder in (self._folders.path, self._tmp):
                folder.mkdir(parents=True, exist_ok=True)
            sync(self.root)
            sync(self.root.parent)
        except OSError as error:
            kind = StoreUnreachable if error.errno in NO_PLACE else StoreError
            raise trouble(error, self._tmp / "draft") or kind(
                f"the store `{self.root}` can't be made: {error.strerror}",
                hint="check that its path is a folder, or can become one",
            ) from error
        self._made = True
