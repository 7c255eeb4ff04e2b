"""Reads text files as UTF-8: decodes and checks them piece by piece, so that a file may be of any length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from headrace.errors import DefinitionError, SourceError

CHUNK_BYTES = 1 << 20
LINE_BYTES = 16 << 20
"""The default for the longest line allowed, in bytes. A much longer line means that the file is broken."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def check_encoding(name: str | None) -> None:
    """Raise DefinitionError if Python doesn't know an encoding."""
    try:
        codecs.lookup(name or "utf-8")
    except LookupError as error:
        raise DefinitionError(f"encoding={name!r} is not known", hint='write "utf-8", "latin-1", "cp1252"') from error


def line_bytes_of(line_mib: float) -> int:
    """Return the longest line allowed, in bytes.

    Raises:
        DefinitionError: `line_mib` is 0 or less, or is 2**30 or more.
    """
    if not 0 < line_mib < 2**30:
        raise DefinitionError(f"line_mib={line_mib!r} is not a size", hint="give a number of MiB")
    return max(int(line_mib * 2**20), 1)


class Utf8(io.RawIOBase):
    """A file's text as UTF-8, without the byte order mark at the beginning.

    Reading raises SourceError at the first byte that isn't valid in the encoding, and at a line of more than
    `line_bytes` bytes. The error names the byte's place in the file. A line that is too long isn't read to its end.
    """

    def __init__(self, file: BinaryIO, name: str, *, encoding: str | None = None, line_bytes: int = LINE_BYTES) -> None:
        self._pieces = _decoded(file, name, encoding, line_bytes)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _decoded(file: BinaryIO, name: str, encoding: str | None, line_bytes: int) -> Iterator[bytes]:
    start = file.read(4)
    mark, told = next(((each, told) for each, told in _MARKS if start.startswith(each)), (b"", None))
    if encoding is not None and told is not None and not _same(encoding, told):
        mark, told = b"", None  # these bytes look like a mark, but are letters in the user's encoding
    found = codecs.lookup(told or encoding or "utf-8").name
    decoder = codecs.getincrementaldecoder(found)()
    is_utf8 = found == "utf-8"
    place, piece, line = len(mark), start[len(mark) :] + file.read(CHUNK_BYTES), 0
    while True:
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, not piece)
        except UnicodeDecodeError as error:
            at = place - held + error.start
            bad = error.object[error.start : error.start + 1]
            raise SourceError(
                f"`{name}`: byte {at:,} (0x{bad.hex()}) is not valid {found.upper()}",
                hint='give its encoding, such as `encoding="latin-1"` or `"cp1252"`; if encodings are mixed, correct '
                "the file at that byte",
            ) from error
        made = text.encode("utf-8", "surrogatepass") if not is_utf8 or held or len(text) != len(piece) else piece
        line = _longest(made, line, line_bytes, name)
        if made:
            yield made
        if not piece:
            return
        place += len(piece)
        piece = file.read(CHUNK_BYTES)


def _longest(piece: bytes, line: int, limit: int, name: str) -> int:
    """Return the length of the unfinished line at the end of a piece, and refuse lines of more than `limit` bytes.

    `line` is the length of the unfinished line before the piece.
    """
    if limit >= CHUNK_BYTES * 4 or len(piece) <= limit:
        # any longer line covers whole pieces
        first = piece.find(b"\n")
        ends = line + (len(piece) if first < 0 else first)
        line = line + len(piece) if first < 0 else len(piece) - piece.rfind(b"\n") - 1
        longest = max(ends, line)
    else:
        parts = piece.split(b"\n")
        parts[0] = b" " * line + parts[0]
        longest, line = max(map(len, parts)), len(parts[-1])
    if longest > limit:
        raise SourceError(
            f"`{name}` has a line of more than {limit / 2**20:,.3g} MiB",
            hint="it may be damaged, or not be a text file; if such long lines are right, raise `line_mib`",
        )
    return line


def _same(encoding: str, told: str) -> bool:
    name = codecs.lookup(encoding).name
    return name == told or told.startswith(name) or (name == "utf-8-sig" and told == "utf-8")
