"""Virtual time: it passes only when a simulation says so, and at once."""

from __future__ import annotations

import random

START = 1_795_600_000.0


class VirtualClock:
    """The time of a simulation, for driver and workers alike (`run.ports.Clock`). Chance repeats for the same seed."""

    def __init__(self, start: float = START, seed: int = 0) -> None:
        self._start = start
        self._passed = 0.0
        self._chance = random.Random(seed)

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Return the seconds since the simulation began."""
        return self._passed

    def jitter(self) -> float:
        """Return a number from 0 to 1."""
        return self._chance.random()

    def advance(self, to: float) -> None:
        """Set the seconds since the simulation began; they never go back."""
        self._passed = max(self._passed, to)
