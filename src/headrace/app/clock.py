"""The real clock and real chance, for the drive loop."""

from __future__ import annotations

import os
import time


class SystemClock:
    """The machine's clock (`run.ports.Clock`)."""

    def now(self) -> float:
        """Give the time (Unix seconds)."""
        return time.time()

    def monotonic(self) -> float:
        """Give seconds that never go back."""
        return time.monotonic()

    def jitter(self) -> float:
        """Give a number from 0 to 1."""
        return int.from_bytes(os.urandom(6)) / (1 << 48)
