"""Logs that are renamed, copied, truncated and packed while they are read: each is known by its content.

What is known of a log is a digest of its first bytes, and one of the last bytes before the place up to which it was
read. Whatever it is called later, and however it is packed, it is that log if both are found there; what follows them
is new. A copy that is being made beside its original is the beginning of it, and is left alone.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from blake3 import blake3

from headrace.errors import SourceError
from headrace.spec.noun import Row
from headrace.stages.ingest._files.locations import stamp_of

HEAD_BYTES = 1024
TAIL_BYTES = 256
CHUNK_BYTES = 1 << 20

_OPENERS: dict[str, Any] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    # Arrow closes what it was given
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(os.fdopen(os.dup(file.fileno()), "rb")), "zstd"),
}
_NUMBERED = re.compile(r"[._-]\d[\dT:_-]*(?=\.|$)")
BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What unpacking raises where a file is cut off, or is none of that kind."""


class Moving(Exception):
    """The logs changed in the middle: look at all of them anew."""


class Broken(Exception):
    """A packed log can't be unpacked: it is still being written, or is no such file."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why


class Known(Row, frozen=True):
    """How far a log has been read: `offset` bytes (unpacked), `line` whole lines. `size` (as it lay there), `modified`
    and `inode` say by a look whether anything has happened to it since."""

    group: str
    head: str
    head_bytes: int
    tail: str
    tail_bytes: int
    offset: int
    line: int
    inode: int
    path: str
    size: int
    modified: int


def group_of(path: str) -> str:
    """Return the name that a log has before it is rotated: only logs of one group can be the same one.

    >>> [group_of(each) for each in ("a/app.log", "a/app.log.2.gz", "a/app.log-20260131", "a/app-2026-01-31.log")]
    ['a/app.log', 'a/app.log', 'a/app.log', 'a/app.log']
    """
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    return os.path.join(folder, _NUMBERED.sub("", stem if suffix in _OPENERS else name))


class Log:
    """A log that is open: its bytes, unpacked, from the beginning. What is written after it was opened is not seen."""

    def __init__(self, path: str, place: Path) -> None:
        try:
            self._raw: BinaryIO = place.open("rb")
        except FileNotFoundError as error:
            raise Moving(path) from error
        except OSError as error:
            hint = "raise the limit by `ulimit -n`" if error.errno == errno.EMFILE else "give the user the right to"
            raise SourceError(f"`{path}` can't be read: {error.strerror}", hint=hint) from error
        found = os.fstat(self._raw.fileno())
        self.path = path
        self.group = group_of(path)
        self.inode = found.st_ino
        self.modified = found.st_mtime_ns
        self.stamp = stamp_of(found)
        self.packed = os.path.splitext(path)[1] in _OPENERS
        self._size = found.st_size
        self.at = 0
        self._stream: Any = None
        self._recent = b""
        self.rewind()
        self.head = self.read(HEAD_BYTES)
        self.rewind()

    def __len__(self) -> int:
        """The bytes that it had when it was opened; of a packed one, those that are packed."""
        return self._size

    def rewind(self) -> None:
        """Go to the beginning."""
        self._raw.seek(0)
        self.at = 0
        self._recent = b""
        self._stream = _OPENERS[os.path.splitext(self.path)[1]](self._raw) if self.packed else self._raw

    def read(self, count: int) -> bytes:
        """Return the next bytes, as many as that if there are."""
        if not self.packed:
            count = min(count, max(0, self._size - self.at))
        try:
            found = self._stream.read(count)
            while 0 < len(found) < count and (piece := self._stream.read(count - len(found))):
                found += piece
        except BROKEN as error:
            raise Broken(self.path, str(error) or type(error).__name__) from error
        self.at += len(found)
        self._recent = found[-TAIL_BYTES:] if len(found) >= TAIL_BYTES else (self._recent + found)[-TAIL_BYTES:]
        return bytes(found)

    def go(self, offset: int) -> bool:
        """Go to an offset; return whether there are so many bytes."""
        if not self.packed:
            self._raw.seek(offset)
            self.at = offset
            self._recent = b""
            return offset <= self._size
        if offset < self.at:
            self.rewind()
        while self.at < offset and self.read(min(CHUNK_BYTES, offset - self.at)):
            pass
        return self.at == offset

    def is_as_it_was(self) -> bool:
        """Return whether what was read still stands there: it wasn't truncated, and written anew, meanwhile."""
        if self.packed:
            return True
        same = os.pread(self._raw.fileno(), len(self.head), 0) == self.head
        return same and os.fstat(self._raw.fileno()).st_size >= self.at

    def continues(self, known: Known) -> bool:
        """Return whether it is the log that is known, and go to where that was read up to."""
        if known.group != self.group or _digest(self.head[: known.head_bytes]) != known.head:
            return False
        if len(self.head) < known.head_bytes or not self.go(known.offset - known.tail_bytes):
            return False
        return _digest(self.read(known.tail_bytes)) == known.tail and self.at == known.offset

    def begins(self, other: Log) -> bool:
        """Return whether another log begins with all that this one holds."""
        if not other.head.startswith(self.head):
            return False
        self.rewind()
        other.rewind()
        while piece := self.read(CHUNK_BYTES):
            if other.read(len(piece)) != piece:
                return False
        return True

    def known(self, offset: int, line: int) -> Known:
        """Return how far it has been read."""
        tail_bytes = min(TAIL_BYTES, offset)
        tail = self._recent
        if self.at != offset or len(tail) != tail_bytes:
            self.go(offset - tail_bytes)
            tail = self.read(tail_bytes)
        head = self.head[:offset]
        return Known(
            group=self.group,
            head=_digest(head),
            head_bytes=len(head),
            tail=_digest(tail),
            tail_bytes=tail_bytes,
            offset=offset,
            line=line,
            inode=self.inode,
            path=self.path,
            size=self._size,
            modified=self.modified,
        )

    def is_unchanged(self, known: Known) -> bool:
        """Tell by a look whether nothing has happened to it since it was read."""
        told = (known.path, known.inode, known.size, known.modified)
        return told == (self.path, self.inode, self._size, self.modified)

    def close(self) -> None:
        self._raw.close()


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()[:32]


def assigned(logs: Sequence[Log], known: Iterable[Known]) -> list[tuple[Log, Known | None]]:
    """Say of each log which known one it is, None for a new one; copies of others are left out.

    The result is in the order in which lines were written: of each group the log that was written to last comes last.
    """
    rest = {id(log): log for log in logs if log.head}
    found: list[tuple[Log, Known | None]] = []
    for each in known:
        still = next((log for log in rest.values() if log.is_unchanged(each)), None)
        if still is not None:
            del rest[id(still)]
            found.append((still, each))
            continue
        same = [log for log in rest.values() if log.continues(each)]
        if not same:
            continue
        # the longest has all that the others have; among those of one length the one that it was
        best = max(same, key=lambda log: (not log.packed, len(log), log.inode == each.inode))
        mine = next((log for log in same if log.inode == each.inode and not log.packed), None)
        if mine is not None and mine is not best and not mine.begins(best):
            best = mine  # the other one began alike, and is another
        del rest[id(best)]
        for copy in same:
            if copy is not best and copy.begins(best):
                del rest[id(copy)]
        found.append((best, each))
    for log in sorted(rest.values(), key=lambda log: (log.packed, -len(log))):
        others = [other for other, _ in found if other.group == log.group]
        if not any(log.begins(other) for other in others):
            found.append((log, None))
    return sorted(found, key=lambda pair: (pair[0].group, pair[0].modified, pair[0].path))
