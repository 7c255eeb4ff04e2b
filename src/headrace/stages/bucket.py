"""A bucket that a user names, to read files from or to deliver answers to. It is reached with the same client and the
same credentials as a store in a bucket, but it isn't a store: errors don't speak of headrace.toml."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from headrace.define.attempt import attempt
from headrace.errors import ConfigError, SourceError, StoreError
from headrace.spec.address import StoreAddress

PART_BYTES = 8 << 20
PATIENCE_S = 30.0
"""How long requests are repeated if the server doesn't answer, or answers with an error."""

_HINTS = (
    (r" (of|for) the store in headrace\.toml", ""),
    (r" and the options\b", ""),
    (r" \(`headrace gc`\)", ""),
    (r"set region = ", "set `region` to "),
)
"""Replacements that turn the hint for a store into a hint for a bucket."""


class bucket_errors:  # noqa: N801  a context manager, which reads as what it turns
    """A context manager that turns the errors of a bucket into `SourceError`. `names` has the option that the user sets
    for each of `url`, `endpoint` and `region`; without an entry, the option has this name."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names or {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreError | ConfigError):
            hint = error.hint or ""
            for pattern, text in _HINTS:
                hint = re.sub(pattern, text, hint)
            for name, option in self._names.items():
                hint = hint.replace(f"`{name}`", f"`{option}`")
            message = error.message.replace("the store `", "the bucket `").replace("the store's", "the bucket's")
            raise SourceError(message.replace("of the bucket `", "of `"), hint=hint) from error
        if type(error).__name__ == "Absent":
            raise SourceError("an object was removed while it was read", hint="run again") from error


def open_bucket(start: str, endpoint: str | None, region: str | None) -> Any:
    """Return the bucket `start`, such as `s3://bucket`. Names of its objects begin at the bucket's root. `endpoint` is
    the URL of the server, and `region` the cloud's name for the bucket's region; None means the client's default.

    Raises:
        ConfigError: the address isn't valid.
        StoreError: the credentials can't be read.
    """
    from headrace.store.bucket.bucket import Bucket  # noqa: PLC0415  takes 100 ms, which only buckets need to spend

    return Bucket(
        StoreAddress(url=start, endpoint=endpoint, region=region),
        environment={**os.environ, **attempt().credentials},
        patience_s=PATIENCE_S,
    )


def open_object(bucket: Any, name: str, size: int, errors: bucket_errors, at_once: int = PART_BYTES) -> BinaryIO:
    """Return an object of a bucket as a file. Each request fetches about `at_once` bytes, and `errors` turns its
    errors."""
    return io.BufferedReader(_Ranges(bucket, name, size, errors), at_once)


class _Ranges(io.RawIOBase):
    """An object in a bucket as a file. Each read requests a range of bytes."""

    def __init__(self, bucket: Any, name: str, size: int, errors: bucket_errors) -> None:
        self._bucket, self._object, self._size, self._errors, self._at = bucket, name, size, errors, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(0, self._size - self._at))
        if count:
            with self._errors:
                buffer[:count] = memoryview(self._bucket.range(self._object, self._at, count))
        self._at += count
        return count
