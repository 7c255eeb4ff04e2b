"""A page that a worker and its parent share: what the worker is at, readable however busy it is."""

from __future__ import annotations

import mmap
import struct

_FORM = struct.Struct("<qd")


class Board:
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
        """Give how many attempts are finished, and since when the worker is at the next."""
        done, since = _FORM.unpack_from(self._page)
        return done, since
