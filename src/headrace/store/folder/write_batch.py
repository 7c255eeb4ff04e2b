"""A batch of blobs that become durable together, so that the store waits for the disk only once."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from headrace.errors import BlobDamaged, StoreError
from headrace.store.blob import Blob
from headrace.store.digest import digest_of
from headrace.store.draft import Draft
from headrace.store.errors import trouble
from headrace.store.folder.digest_folders import DigestFolders
from headrace.store.folder.fsync import THREADS, Syncing, sync_all
from headrace.store.store import new_nonce

SYNC_ASIDE_BYTES = 1 << 20
"""A file of at least this size is synced at once, while its digest is computed. Smaller files are synced when the batch
ends."""

COPY_BYTES = 1 << 20


class Batch:
    """A batch of blobs for a folder store. When the batch has ended, its blobs are durable. If the `with` block
    raises an error, no blob is stored. If storing fails midway, some blobs may stay in the store."""

    def __init__(self, tmp: Path, folders: DigestFolders) -> None:
        self._tmp = tmp
        self._folders = folders
        self._kept: list[tuple[Path, Blob]] = []
        self._small: list[Path] = []
        self._syncing: list[Syncing] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
        except OSError as failure:
            raise trouble(failure, self._tmp / "draft") or StoreError(
                f"the store `{self._tmp.parent}` failed: {failure.strerror}", hint="check its disk"
            ) from failure
        finally:
            self._clear()

    def draft(self) -> Draft:
        """Return a draft, a file to write to. As a context manager, it deletes its file unless `keep` was called."""
        return Draft(self._tmp / os.urandom(8).hex(), self.keep)

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Add these bytes to the batch and return their blob."""
        with self.draft() as draft:
            draft.file.write(data)
            return draft.keep()

    def replicate(self, digest: str, nonce: str, source: BinaryIO) -> Blob:
        """Add a copy of another store's blob, with the same digest and nonce. `source` is a file with its bytes.

        Raises:
            BlobDamaged: the bytes have another digest. Then the blob is not added, and the batch can still be used.
        """
        with Draft(self._tmp / os.urandom(8).hex(), lambda path: self._take(path, digest, nonce)) as draft:
            shutil.copyfileobj(source, draft.file, COPY_BYTES)
            return draft.keep()

    def keep(self, path: Path) -> Blob:
        """Add a finished draft's file to the batch and return its blob. The file must be on the same file system."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o444)
            size = os.fstat(descriptor).st_size
            if size < SYNC_ASIDE_BYTES:
                self._small.append(path)
            else:
                self._start(path)
            blob = Blob(digest=digest_of(descriptor), size=size, nonce=new_nonce())
        finally:
            os.close(descriptor)
        self._kept.append((path, blob))
        return blob

    def _take(self, path: Path, digest: str, nonce: str) -> Blob:
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o444)
            actual = digest_of(file.fileno())
            blob = Blob(digest=digest, size=os.fstat(file.fileno()).st_size, nonce=nonce)
        if actual != digest:
            raise BlobDamaged(
                f"the bytes that arrived for blob `{digest[:12]}` have the digest `{actual[:12]}`",
                hint="try again; `headrace fsck --deep` says whether they are damaged at their source",
                generation=f"{digest}.{nonce}",
            )
        self._folders.place(digest, nonce)  # raises an error if the digest or the nonce isn't valid
        self._small.append(path)
        self._kept.append((path, blob))
        return blob

    def _start(self, path: Path) -> None:
        if len(self._syncing) >= THREADS:
            self._syncing.pop(0).finish()
        syncing = Syncing([path])
        syncing.start()
        self._syncing.append(syncing)

    def _commit(self) -> None:
        while self._syncing:
            self._syncing.pop(0).finish()
        sync_all(self._small)
        self._folders.take_in(self._kept)

    def _clear(self) -> None:
        """Delete the batch's temporary files. If the batch has succeeded, there are none: all were moved to the paths
        of their blobs."""
        for thread in self._syncing:
            thread.join()
        for path, _ in self._kept:
            with suppress(OSError):
                path.unlink(missing_ok=True)
