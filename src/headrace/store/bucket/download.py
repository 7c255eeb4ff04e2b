"""Downloads: the ranges of an object are fetched in parallel, and its digest is computed while the ranges arrive."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from blake3 import blake3

from headrace.store.bucket.bucket import PART_BYTES, PARTS_AT_ONCE, Bucket


def download(bucket: Bucket, name: str, path: Path | None) -> tuple[str, int]:
    """Fetch an object, and return the digest and the number of its bytes. If `path` isn't None, also write the bytes to
    `path`.

    At most `PARTS_AT_ONCE` ranges are in memory at any time.

    Raises:
        Absent: there is no such object.
    """
    first, size = bucket.begin(name, PART_BYTES)
    hasher = blake3(first)
    descriptor = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if descriptor >= 0:
            _write(descriptor, first, 0)
        if size > len(first):
            _rest(bucket, name, size, hasher, descriptor)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return hasher.hexdigest(), size


def _rest(bucket: Bucket, name: str, size: int, hasher: Any, descriptor: int) -> None:
    def fetch(start: int) -> Any:
        data = bucket.range(name, start, min(PART_BYTES, size - start))
        if descriptor >= 0:
            _write(descriptor, data, start)
        return data

    starts = deque(range(PART_BYTES, size, PART_BYTES))
    under_way: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(PARTS_AT_ONCE, "headrace-download") as pool:
        try:
            while starts or under_way:
                while starts and len(under_way) < PARTS_AT_ONCE:
                    under_way.append(pool.submit(fetch, starts.popleft()))
                hasher.update(under_way.popleft().result())
        except BaseException:
            for future in under_way:
                future.cancel()
            raise


def _write(descriptor: int, data: Any, start: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, start)
        rest, start = rest[done:], start + done
