"""The spool of an object store: the reports that workers wrote to the store because no driver was there.

Each call of `spill` writes a new numbered object, because nothing can be appended to an object.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.store.bucket.bucket import Absent, Bucket
from headrace.store.folder.spool import plain

DIGITS = 8
"""How many digits an object's number has in the object's name. Because of leading zeros, names sort in the order of
their numbers."""


class ObjectSpool:
    """Reports in objects `spool/RUN/NAME/NUMBER`. Each NAME has only one writer, which numbers its objects. After a
    crash, no object is incomplete: a bucket has an object as a whole, or not at all."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._next: dict[tuple[str, str], int] = {}

    def spill(self, run: str, name: str, data: bytes) -> None:
        """Add bytes to the spill `name`. When this method returns, the bytes are in the bucket."""
        key = plain(run), plain(name)
        folder = f"spool/{run}/{name}"
        if key not in self._next:
            numbers = [int(entry.name.rpartition("/")[2]) for entry in self._bucket.objects(f"{folder}/")]
            self._next[key] = max(numbers, default=-1) + 1
        self._bucket.put(f"{folder}/{self._next[key]:0{DIGITS}}", data)
        self._next[key] += 1

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]:
        """Yield the spills of a run in the order of their names: each name with all its bytes."""
        names: dict[str, list[str]] = {}
        for entry in self._bucket.objects(f"spool/{plain(run)}/"):
            names.setdefault(entry.name.split("/")[-2], []).append(entry.name)
        for name in sorted(names):
            yield name, b"".join(self._read(entry) for entry in sorted(names[name]))

    def runs(self) -> list[str]:
        """Return the ids of the runs that have spills, sorted."""
        return sorted({entry.name.split("/")[-3] for entry in self._bucket.objects("spool/")})

    def forget(self, run: str) -> None:
        """Delete all spills of a run."""
        names = [entry.name for entry in self._bucket.objects(f"spool/{plain(run)}/")]
        if names:
            self._bucket.delete(*names)

    def _read(self, name: str) -> bytes:
        try:
            data, size = self._bucket.begin(name, 1 << 20)
            rest = self._bucket.range(name, len(data), size - len(data)) if size > len(data) else b""
            return bytes(data) + bytes(rest)
        except Absent:
            return b""  # deleted meanwhile
