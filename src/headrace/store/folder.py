"""A store in a folder: of one machine, or of a file system that many share.

    blobs/ab/abcdef….NONCE   the blobs, read-only; each put is a generation of its own, under a nonce of its own
    tmp/                     drafts, aside but on the same file system, so that a rename brings them in
    spool/RUN/NAME           what workers spill while no driver listens
    logs/RUN/NAME            what attempts printed

A put never trusts what it sees in `blobs/`: an equal blob may be half gone, or damaged, or about to be deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from headrace.errors import StoreError
from headrace.store.batch import Batch
from headrace.store.blob import Blob, Found, Stray
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.logs import FolderLogs
from headrace.store.shared import LAG_S, SILLY, is_gone, remove
from headrace.store.shelves import Shelves, scan
from headrace.store.spool import Spool
from headrace.store.sync import sync
from headrace.store.trouble import damaged, missing, trouble

SETTLED_NS = 50_000_000
"""So long after a write the clock of a file system has moved on for sure."""


class FolderStore:
    """Blobs by digest and nonce in a folder, which is made at the first write and is its own `local` when not told."""

    def __init__(self, path: str | os.PathLike[str], *, local: Path | None = None) -> None:
        self.root = Path(path).absolute()
        self.url = str(self.root)
        self.local = local or self.root
        self.spool = Spool(self.root / "spool")
        self.logs = FolderLogs(self.root / "logs", own=self.local == self.root)
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

    def path(self, digest: str, nonce: str, *, verify: bool = False) -> Path:
        """Give the path of a blob's file, to read; with `verify`, once its bytes were held against its digest."""
        path = self._shelves.place(digest, nonce)
        if self._shelves.size(path, patience_s=LAG_S) is None:
            raise missing(digest, nonce, self.url)
        if verify:
            self.verify(digest, nonce)
        return path

    def held(self, digest: str, nonce: str) -> None:
        """Hold nothing in memory: blobs are here."""

    def prefetch(self, generations: Iterable[tuple[str, str, int]]) -> None:
        """Do nothing: blobs are here."""

    def reader(self, digest: str, nonce: str) -> BinaryIO:
        """Give a blob's file, open to read."""
        return self.path(digest, nonce).open("rb")

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        return self._shelves.size(self._shelves.place(digest, nonce))

    def modified(self, digest: str, nonce: str) -> float | None:
        """Return when a blob was put, by the file system's clock, or None if it isn't there."""
        try:
            return self._shelves.place(digest, nonce).stat().st_mtime
        except OSError as error:
            if is_gone(error):
                return None
            raise

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Give the sizes of many blobs, in their order."""
        return [self.size(digest, nonce) for digest, nonce in generations]

    def verify(self, digest: str, nonce: str) -> None:
        """Read a blob whole and hold its bytes against its digest."""
        try:
            descriptor = os.open(self.path(digest, nonce), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing(digest, nonce, self.url) from error
        try:
            found = digest_of(descriptor)
        except OSError as error:
            if is_gone(error):
                raise missing(digest, nonce, self.url) from error
            raise damaged(digest, nonce, f"it can't be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if found != digest:
            raise damaged(digest, nonce, f"its bytes have the digest `{found[:12]}`")

    def stamp(self, digest: str, nonce: str) -> tuple[int, ...] | None:
        """Return what changes whenever somebody writes to a blob's file; None if it was written to just now: by the
        next moment it may be again, and the clock of the file system not have moved on."""
        try:
            found = os.stat(self._shelves.place(digest, nonce))
        except OSError:
            return None
        settled = time.time_ns() - found.st_ctime_ns > SETTLED_NS
        return (found.st_ino, found.st_size, found.st_ctime_ns) if settled else None

    def delete(self, digest: str, nonce: str) -> None:
        """Delete a blob; one that is gone already is no error."""
        remove(self._shelves.place(digest, nonce))

    def delete_all(self, generations: Sequence[tuple[str, str]]) -> None:
        """Delete blobs, one after the other."""
        for generation in generations:
            self.delete(*generation)

    def blobs(self) -> Iterator[Found]:
        """Go over all blobs, in no order; what isn't named like a blob is passed over."""
        return self._shelves.blobs()

    def strays(self, now: float | None = None) -> Iterator[Stray]:
        """Go over the drafts that are neither kept nor thrown away yet; the file system dates them as it does blobs."""
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
        """Delete a draft whose writer is gone."""
        remove(self._tmp / stray.name)

    def now(self) -> float:
        """Give the time by the file system's clock."""
        with self.draft() as draft:
            return os.fstat(draft.file.fileno()).st_mtime

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
