"""A cache: verified copies of an object store's blobs on this machine, up to a size limit.

    cache/BOOT/ab/abcdef…    the bytes of blobs by their digest, read-only, written since this boot of the machine
    cache/tmp/               unfinished downloads, and drafts that become blobs
    cache/locks/ab           held while one process downloads, so that others don't download the same blob

Files are never synced to the disk. So a file from an earlier boot of the machine may be damaged. It is compared with
its digest before it is used again. Any number of processes can share the cache: only complete files are moved in, by a
rename. A file that is evicted while it is read stays until its last reader closes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from headrace.store.digest import digest_of
from headrace.store.folder.digest_folders import scan
from headrace.waits import locked

SPARED_S = 60.0
"""A file that was used within the last `SPARED_S` seconds isn't evicted, because its reader may not have opened it
yet."""

STALE_S = 86_400.0
"""An unfinished file that is older than this, in seconds, is deleted, because its writer must be gone."""

LOOK_SHARE = 64
"""The size of the cache is computed again each time this process has added 1/64 of the size limit."""

LOCK_S = 3600.0
"""How long to wait for another process that downloads the same blob, or one with the same lock, in seconds."""

BOOT = Path("/proc/sys/kernel/random/boot_id")


class Kept(Struct, frozen=True):
    """A file of the cache: when it was last used (Unix seconds), its size in bytes, and its path."""

    used: float
    size: int
    path: str


class Cache:
    """The cached files by digest. When their total size exceeds the limit, the least recently used ones are deleted."""

    def __init__(self, folder: Path, limit_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.tmp = folder / "tmp"
        self.limit_bytes = limit_bytes
        self._clock = clock
        self._boot = _boot()
        self._made = False
        self._added = limit_bytes  # so that all files are counted when the first one is added

    def aside(self) -> Path:
        """Return a new path in the cache's folder for temporary files."""
        if not self._made:
            for folder in (self.tmp, self.folder / "locks"):
                folder.mkdir(parents=True, exist_ok=True)
            self._made = True
        return self.tmp / os.urandom(8).hex()

    def find(self, digest: str, *, verify: bool = False) -> Path | None:
        """Return the path of the file with this digest and mark it as used, or None if the cache doesn't have it.

        If `verify`, the file's bytes are compared with the digest first, and a damaged file is deleted.
        """
        path = self._place(digest)
        try:
            os.utime(path)
        except OSError:
            return self._adopt(digest, path) if self._earlier else None
        return Path(path) if self._boot and not verify else self._checked(path, path, digest)

    def take_in(self, aside: Path, digest: str) -> Path:
        """Move the file `aside`, whose bytes have this digest, into the cache. Evict other files if needed. Return the
        file's new path."""
        size = os.stat(aside).st_size
        path = self._place(digest)
        os.chmod(aside, 0o444)
        try:
            os.replace(aside, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(aside, path)
        self._added += size
        if self._added * LOOK_SHARE >= self.limit_bytes:
            self.evict()
        return Path(path)

    def forget(self, digest: str) -> None:
        """Delete the file with this digest, whenever it was written."""
        for boot in scan(self.folder):
            if boot.name not in ("tmp", "locks"):
                with suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(f"{boot.path}/{digest[:2]}/{digest}")

    @contextmanager
    def alone(self, digest: str) -> Iterator[None]:
        """Return a context that holds the lock of a digest, so that no other process or thread downloads the same blob
        at the same time.

        Whoever has waited for `LOCK_S` seconds goes on without the lock, since its holder may be stopped. Then the blob
        may be downloaded twice.
        """
        self.aside()
        with locked(self.folder / "locks" / digest[:2], LOCK_S):
            yield

    def evict(self, *, down_to: int | None = None) -> None:
        """Delete the least recently used files until at most `down_to` bytes are left (None: the limit of the cache).

        Also delete unfinished files whose writers are gone.
        """
        limit = self.limit_bytes if down_to is None else down_to
        self._added = 0
        now = self._clock()
        for entry in scan(self.tmp):
            with suppress(OSError):
                if now - entry.stat().st_mtime > STALE_S:
                    os.unlink(entry.path)
        kept = sorted(self._files(), key=lambda file: file.used)
        total = sum(file.size for file in kept)
        for file in kept:
            if total <= limit or now - file.used < SPARED_S:
                return
            with suppress(OSError):
                os.unlink(file.path)
            total -= file.size

    def _files(self) -> Iterator[Kept]:
        for boot in scan(self.folder):
            if boot.name in ("tmp", "locks"):
                continue
            for folder in scan(boot):
                for entry in scan(folder):
                    with suppress(OSError):  # evicted by another process
                        state = entry.stat()
                        yield Kept(state.st_mtime, state.st_size, entry.path)

    @cached_property
    def _earlier(self) -> list[str]:
        """The folders of earlier boots of the machine. No folder can be added to them while this process lives."""
        known = ("tmp", "locks", self._boot or "unknown")
        return [entry.path for entry in scan(self.folder) if entry.name not in known]

    def _adopt(self, digest: str, place: str) -> Path | None:
        """If a file of an earlier boot still has the digest, move the file to `place`, and return this path. Otherwise
        return None.

        A loss of power may have damaged the file.
        """
        for boot in self._earlier:
            path = f"{boot}/{digest[:2]}/{digest}"
            if os.path.exists(path):
                return self._checked(path, place, digest)
        return None

    def _checked(self, path: str, place: str, digest: str) -> Path | None:
        """If a file's bytes have the digest, move the file to `place`, and return this path. Otherwise delete the file
        and return None."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            whole = digest_of(descriptor) == digest
        except OSError:
            whole = False
        finally:
            os.close(descriptor)
        with suppress(OSError):
            if not whole:
                os.unlink(path)
                return None
            os.utime(path)
            if path != place:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.replace(path, place)
            return Path(place)
        return None

    def _place(self, digest: str) -> str:
        return f"{self.folder}/{self._boot or 'unknown'}/{digest[:2]}/{digest}"


def _boot() -> str | None:
    """Return an id of the current boot of the machine, or None if the system gives none."""
    try:
        return BOOT.read_text().strip().replace("-", "")[:16] or None
    except OSError:
        return None
