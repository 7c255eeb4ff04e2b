"""What an object store holds in memory: small blobs, of which a file each would cost more than to fetch them again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

SMALL_BYTES = 1 << 16
"""Blobs up to this size are held in memory; a bigger one is a file of the cache."""

LIMIT_BYTES = 1 << 25
"""The bound on all of them together, in each process."""


class Memory:
    """Bytes by digest, the least recently used of which go when all together pass the bound."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._total = 0
        self._lock = Lock()

    def find(self, digest: str) -> bytes | None:
        """Return the bytes with this digest, and count them as used."""
        with self._lock:
            data = self._held.get(digest)
            if data is not None:
                self._held.move_to_end(digest)
        return data

    def keep(self, data: bytes, digest: str) -> None:
        """Keep bytes that have this digest."""
        with self._lock:
            if digest not in self._held:
                self._held[digest] = data
                self._total += len(data)
            while self._total > self._limit:
                _, gone = self._held.popitem(last=False)
                self._total -= len(gone)
