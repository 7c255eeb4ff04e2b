"""Recognizes logs by their content, even if they are renamed, copied, truncated or packed while they are read.

For each log, two digests are stored: one of its first bytes, and one of the last bytes before the offset up to which
the log was read. If a file's bytes at these two places have the same digests, the file is the same log, even if its
name or its packing has changed. The bytes after that offset are new. A file that is only the beginning of another log
is a copy of that log, perhaps an unfinished one, and isn't read.
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
    # Arrow closes the file that it gets, so it gets a duplicate
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(os.fdopen(os.dup(file.fileno()), "rb")), "zstd"),
}
_NUMBERED = re.compile(r"[._-]\d[\dT:_-]*(?=\.|$)")
BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""The exceptions that unpacking raises if the file is cut off, or isn't packed in the expected format."""


class Moving(Exception):
    """Raised if a log was renamed or truncated while the logs were read; all logs must then be read again."""


class Broken(Exception):
    """Raised if a packed log can't be unpacked: it is still being written, or isn't in the expected format."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why


class Known(Row, frozen=True):
    """How far a log has been read: `offset` bytes (unpacked) and `line` complete lines.

    `head` and `tail` are digests of its first `head_bytes` bytes and of the last `tail_bytes` bytes before `offset`.
    `size` (packed), `modified` and `inode` show whether the file has changed since it was read, so an unchanged file
    isn't read again.
    """

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
    """Return the path that a log has before it is rotated: the log's group. Only files of one group can be the same
    log.

    >>> [group_of(each) for each in ("a/app.log", "a/app.log.2.gz", "a/app.log-20260131", "a/app-2026-01-31.log")]
    ['a/app.log', 'a/app.log', 'a/app.log', 'a/app.log']
    """
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    return os.path.join(folder, _NUMBERED.sub("", stem if suffix in _OPENERS else name))


class Log:
    """An open log, unpacked while it is read. Bytes that are written after it was opened aren't read."""

    def __init__(self, path: str, place: Path) -> None:
        try:
            self._raw: BinaryIO = place.open("rb")
        except FileNotFoundError as error:
            raise Moving(path) from error
        except OSError as error:
            hint = (
                "raise the limit by `ulimit -n`"
                if error.errno == errno.EMFILE
                else "give the user the right to read it"
            )
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
        """The size in bytes when the log was opened; for a packed log, its packed size."""
        return self._size

    def rewind(self) -> None:
        """Move to the beginning of the log."""
        self._raw.seek(0)
        self.at = 0
        self._recent = b""
        self._stream = _OPENERS[os.path.splitext(self.path)[1]](self._raw) if self.packed else self._raw

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end; raise Broken if the log can't be unpacked."""
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
        """Move to an offset, and return whether the log has that many bytes."""
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
        """Return whether the log still holds the bytes that were read from it. False means that it was truncated or
        overwritten."""
        if self.packed:
            return True
        same = os.pread(self._raw.fileno(), len(self.head), 0) == self.head
        return same and os.fstat(self._raw.fileno()).st_size >= self.at

    def continues(self, known: Known) -> bool:
        """Return whether this is the log in `known`; if so, move to the offset up to which that log was read."""
        if known.group != self.group or _digest(self.head[: known.head_bytes]) != known.head:
            return False
        if len(self.head) < known.head_bytes or not self.go(known.offset - known.tail_bytes):
            return False
        return _digest(self.read(known.tail_bytes)) == known.tail and self.at == known.offset

    def begins(self, other: Log) -> bool:
        """Return whether the log `other` begins with all bytes of this log."""
        if not other.head.startswith(self.head):
            return False
        self.rewind()
        other.rewind()
        while piece := self.read(CHUNK_BYTES):
            if other.read(len(piece)) != piece:
                return False
        return True

    def known(self, offset: int, line: int) -> Known:
        """Return the record of how far this log has been read: `offset` bytes and `line` lines."""
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
        """Return whether the log's path, inode, size and time are those in `known`."""
        told = (known.path, known.inode, known.size, known.modified)
        return told == (self.path, self.inode, self._size, self.modified)

    def close(self) -> None:
        self._raw.close()


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()[:32]


def assigned(logs: Sequence[Log], known: Iterable[Known]) -> list[tuple[Log, Known | None]]:
    """Return each log with its record in `known`, or with None if it is new. Copies of other logs are left out.

    Logs that had the same path before rotation are in the order of their last change, so that their lines come in the
    order in which they were written.
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
        # the longest holds all that the others hold; among equally long ones, take the one with the known inode
        best = max(same, key=lambda log: (not log.packed, len(log), log.inode == each.inode))
        mine = next((log for log in same if log.inode == each.inode and not log.packed), None)
        if mine is not None and mine is not best and not mine.begins(best):
            best = mine  # the longest is another log with the same beginning
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
