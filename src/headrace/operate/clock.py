"""The real clock and real chance, for the drive loop."""

from __future__ import annotations

import os
import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on Linux one that goes on while the machine sleeps


class SystemClock:
    """The machine's clock (`run.ports.Clock`), as it was set when this was made.

    Somebody may set it back or forward while a run goes on; here it goes on evenly, so that what waits for a time
    waits neither for an hour nor not at all.
    """

    def __init__(self) -> None:
        self._began = time.time() - time.clock_gettime(_STEADY)

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self._began + time.clock_gettime(_STEADY)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def jitter(self) -> float:
        """Return a number from 0 to 1."""
        return int.from_bytes(os.urandom(6)) / (1 << 48)
