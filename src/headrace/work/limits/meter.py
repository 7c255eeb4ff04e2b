"""What an attempt uses of its machine, as the kernel reports it."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress

from headrace.run.events import Use

_PER_GIB = 2**30 if sys.platform == "darwin" else 2**20
"""One GiB in the unit of `ru_maxrss`: bytes on macOS, KiB elsewhere."""
_BLOCK_BYTES = 512


class Meter:
    """Measures what an attempt uses: the worker itself, and the processes that it started and waited for.

    The peak of memory is that of the worker's own process. It is the peak since the attempt began, if the kernel allows
    resetting the peak. Writing to the file `/proc/self/clear_refs` resets it. This file stays open, since opening it
    takes four times as long as writing to it.
    """

    def __init__(self) -> None:
        self._peak: int | None = None
        with suppress(OSError):
            self._peak = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        self._before = _taken()

    def begin(self) -> None:
        """Start measuring."""
        if self._peak is not None:
            with suppress(OSError):
                os.write(self._peak, b"5")
        self._before = _taken()

    def read(self) -> Use:
        """Return what was used since `begin`."""
        cpu_s, read, written = (now - then for now, then in zip(_taken(), self._before, strict=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_GIB
        return Use(cpu_s, peak, int(read) * _BLOCK_BYTES, int(written) * _BLOCK_BYTES)


def _taken() -> tuple[float, int, int]:
    """Return the seconds of CPU time, the number of blocks read, and the number of blocks written since this process
    began."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (
        own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        own.ru_inblock + others.ru_inblock,
        own.ru_oublock + others.ru_oublock,
    )
