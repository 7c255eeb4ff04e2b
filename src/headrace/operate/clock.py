"""The system's clock and random numbers, for the drive loop."""

from __future__ import annotations

import os
import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on Linux it also counts while the machine sleeps


class SystemClock:
    """A clock (`run.ports.Clock`) that reads the machine's clock once, when this object is created.

    From then on the time advances evenly, even if the machine's clock is set back or forward during a run. So timed
    waits keep their length.
    """

    def __init__(self) -> None:
        self._began = time.time() - time.clock_gettime(_STEADY)

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self._began + time.clock_gettime(_STEADY)

    def monotonic(self) -> float:
        """Return a time in seconds that never goes back."""
        return time.monotonic()

    def jitter(self) -> float:
        """Return a random number from 0 to 1."""
        return int.from_bytes(os.urandom(6)) / (1 << 48)
