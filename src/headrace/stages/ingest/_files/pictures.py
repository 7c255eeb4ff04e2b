"""Finds the format and the size of a picture from its header, without decoding the picture."""

from __future__ import annotations

import struct

from headrace.errors import SourceError


def picture(data: bytes, name: str) -> tuple[str, int, int]:
    """Return the format, width and height (pixels) of a PNG, JPEG, GIF or WebP; `name` is its name in errors.

    Raises:
        SourceError: the data is in none of these formats, or is cut off.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ("png", *struct.unpack(">II", data[16:24]))
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return ("gif", *struct.unpack("<HH", data[6:10]))
        if data.startswith(b"\xff\xd8"):
            return ("jpeg", *_jpeg(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return ("webp", *_webp(data))
    except (struct.error, IndexError) as error:
        raise SourceError(f"`{name}` is cut off", hint="copy it again") from error
    raise SourceError(f"`{name}` is no PNG, JPEG, GIF or WebP", hint="leave it out of the pattern")


def _jpeg(data: bytes) -> tuple[int, int]:
    """Return a JPEG's width and height, read from the start-of-frame segment (ITU T.81, B.1.1.3)."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise IndexError
        kind = data[at + 1]
        if kind in (0xFF, 0x01) or 0xD0 <= kind <= 0xD7:  # padding, and markers without a length
            at += 1 if kind == 0xFF else 2
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def _webp(data: bytes) -> tuple[int, int]:
    """Return the width and height of a WebP: lossy, lossless or extended (RFC 9649, 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
