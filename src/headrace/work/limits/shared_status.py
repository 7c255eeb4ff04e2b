"""A page of memory that a worker and its parent share. From this page the parent can read, however busy the worker is,
how many attempts have ended, and since when the present attempt runs. If the worker couldn't start, the page says why.
"""

from __future__ import annotations

import mmap
import struct

import msgspec

_FORM = struct.Struct("<qd")
_REFUSAL = struct.Struct("<H")
_NUMBER = struct.Struct("<q")
_WRITER_AT = mmap.PAGESIZE - _NUMBER.size
_TAKEOVERS_AT = _WRITER_AT - _NUMBER.size
_MOST = 500
"""The most characters of a message or hint that are kept. So both fit in the page, whatever characters they consist
of."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str | None]).decode


class SharedStatus:
    """A page with the number of attempts that a worker has finished, and the time since which the present attempt runs
    (0 if no attempt runs)."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._done = 0

    def begin(self, at: float) -> None:
        """Record that an attempt begins at this time (Unix seconds)."""
        _FORM.pack_into(self._page, 0, self._done, at)

    def end(self) -> None:
        """Record that the attempt has ended."""
        self._done += 1
        _FORM.pack_into(self._page, 0, self._done, 0.0)

    def read(self) -> tuple[int, float]:
        """Return the number of finished attempts, and the time since which the present attempt runs (Unix seconds; 0 if
        no attempt runs)."""
        done, since = _FORM.unpack_from(self._page)
        return done, since

    def refuse(self, message: str, hint: str | None) -> None:
        """Record why the worker can't start, and what to do about it."""
        body = _encode((message[:_MOST], hint and hint[:_MOST]))
        start = _FORM.size + _REFUSAL.size
        self._page[start : start + len(body)] = body
        _REFUSAL.pack_into(self._page, _FORM.size, len(body))

    def refusal(self) -> tuple[str, str | None] | None:
        """Return the reason why the worker could not start, and a hint. Return None if the worker did start, or if it
        ended without recording a reason."""
        (size,) = _REFUSAL.unpack_from(self._page, _FORM.size)
        start = _FORM.size + _REFUSAL.size
        return _decode(self._page[start : start + size]) if size else None

    def name_writer(self, pid: int) -> None:
        """Record the id of the process that writes the worker's output, if the worker doesn't write it itself."""
        _NUMBER.pack_into(self._page, _WRITER_AT, pid)

    def writer(self) -> int:
        """Return the id of the process that writes the worker's output, or 0 if the worker writes it itself."""
        (pid,) = _NUMBER.unpack_from(self._page, _WRITER_AT)
        return int(pid)

    def announce(self) -> None:
        """Record that one more driver takes over the worker. The parent calls this."""
        _NUMBER.pack_into(self._page, _TAKEOVERS_AT, self.takeovers() + 1)

    def takeovers(self) -> int:
        """Return how many takeovers were announced."""
        (count,) = _NUMBER.unpack_from(self._page, _TAKEOVERS_AT)
        return int(count)
