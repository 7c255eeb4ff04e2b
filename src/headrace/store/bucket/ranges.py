"""A blob in a bucket as a file that can seek. It fetches the ranges that are read, and little more."""

from __future__ import annotations

import io
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headrace.store.bucket.bucket import PART_BYTES, PARTS_AT_ONCE, Bucket

AHEAD_BYTES = 1 << 16
"""The least number of bytes that are fetched at once, because the next read often begins where the last one ended. Each
time a read does begin there, the number is doubled."""

AT_MOST_BYTES = PART_BYTES * PARTS_AT_ONCE


class RangeFile(io.RawIOBase):
    """A read-only file of known size that fetches ranges of an object. `fetched` is the number of bytes fetched so
    far."""

    def __init__(self, bucket: Bucket, name: str, size: int) -> None:
        super().__init__()
        self.size = size
        self.fetched = 0
        self._bucket = bucket
        self._name = name
        self._at = 0
        self._start = 0
        self._window = memoryview(b"")
        self._ahead = AHEAD_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        length = min(len(target), max(0, self.size - self._at))
        if length:
            target[:length] = self._bytes(length)
            self._at += length
        return length

    def readall(self) -> bytes:
        return self.read(self.size - self._at) or b""

    def _bytes(self, length: int) -> memoryview:
        begin = self._at - self._start
        if not 0 <= begin <= len(self._window) - length:
            follows = self._at == self._start + len(self._window) and self._at > 0
            self._ahead = min(2 * self._ahead, AT_MOST_BYTES) if follows else AHEAD_BYTES
            wanted = min(max(length, self._ahead), self.size)
            self._start = min(self._at, self.size - wanted)  # at a file's end, earlier bytes are often read next
            self._window = self._fetch(self._start, wanted)
            self.fetched += wanted
            begin = self._at - self._start
        return self._window[begin : begin + length]

    def _fetch(self, start: int, length: int) -> memoryview:
        """Return a range of the object. A large range is fetched in parallel parts."""
        if length <= PART_BYTES:
            return memoryview(self._bucket.range(self._name, start, length))
        whole = memoryview(bytearray(length))

        def fetch(at: int) -> None:
            end = min(at + PART_BYTES, length)
            whole[at:end] = memoryview(self._bucket.range(self._name, start + at, end - at))

        with ThreadPoolExecutor(PARTS_AT_ONCE, "headrace-ranges") as pool:
            deque(pool.map(fetch, range(0, length, PART_BYTES)), maxlen=0)
        return whole
