"""A page that a worker and its parent share: what it is at, readable however busy it is, or why it never began."""

from __future__ import annotations

import mmap
import struct

import msgspec

_FORM = struct.Struct("<qd")
_REFUSAL = struct.Struct("<H")
_WRITER = struct.Struct("<q")
_WRITER_AT = mmap.PAGESIZE - _WRITER.size
_MOST = 500
"""So many characters of a message or a hint are noted: both fit, whatever their letters."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str | None]).decode


class SharedStatus:
    """The worker notes how many attempts it has finished, and since when it is at the next (0: at none)."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._done = 0

    def begin(self, at: float) -> None:
        """Note that an attempt begins (Unix seconds)."""
        _FORM.pack_into(self._page, 0, self._done, at)

    def end(self) -> None:
        """Note that it has ended."""
        self._done += 1
        _FORM.pack_into(self._page, 0, self._done, 0.0)

    def read(self) -> tuple[int, float]:
        """Return how many attempts are finished, and since when the worker is at the next."""
        done, since = _FORM.unpack_from(self._page)
        return done, since

    def refuse(self, message: str, hint: str | None) -> None:
        """Note why the worker can't begin, and what to do about it."""
        body = _encode((message[:_MOST], hint and hint[:_MOST]))
        start = _FORM.size + _REFUSAL.size
        self._page[start : start + len(body)] = body
        _REFUSAL.pack_into(self._page, _FORM.size, len(body))

    def refusal(self) -> tuple[str, str | None] | None:
        """Return why the worker could not begin, with a hint; None of one that did, or that ended before it could
        say."""
        (size,) = _REFUSAL.unpack_from(self._page, _FORM.size)
        start = _FORM.size + _REFUSAL.size
        return _decode(self._page[start : start + size]) if size else None

    def name_writer(self, pid: int) -> None:
        """Note the process that writes what the worker prints, where it doesn't do so itself."""
        _WRITER.pack_into(self._page, _WRITER_AT, pid)

    def writer(self) -> int:
        """Return the number of that process; 0 of none."""
        (pid,) = _WRITER.unpack_from(self._page, _WRITER_AT)
        return int(pid)
