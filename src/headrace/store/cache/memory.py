"""The small blobs that an object store keeps in memory. A file for each small blob would cost more than fetching the
blob again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

SMALL_BYTES = 1 << 16
"""Blobs up to this size are kept in memory. Larger blobs are files of the cache."""

LIMIT_BYTES = 1 << 25
"""The size limit for all small blobs together, in each process."""


class Memory:
    """Bytes by digest. When their total size exceeds the limit, the least recently used ones are dropped."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._total = 0
        self._lock = Lock()

    def find(self, digest: str) -> bytes | None:
        """Return the bytes with this digest and mark them as used, or None if they aren't in memory."""
        with self._lock:
            data = self._held.get(digest)
            if data is not None:
                self._held.move_to_end(digest)
        return data

    def keep(self, data: bytes, digest: str) -> None:
        """Keep bytes in memory. `digest` must be the digest of these bytes."""
        with self._lock:
            if digest not in self._held:
                self._held[digest] = data
                self._total += len(data)
            while self._total > self._limit:
                _, gone = self._held.popitem(last=False)
                self._total -= len(gone)
