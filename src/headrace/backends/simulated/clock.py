"""Virtual time: it passes only when a simulation advances it."""

from __future__ import annotations

import random

START = 1_795_600_000.0


class VirtualClock:
    """The clock of a simulation, for the driver and the workers (implements `run.ports.Clock`).

    The same seed gives the same random numbers.
    """

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
        """Return a random number from 0 to 1."""
        return self._chance.random()

    def advance(self, to: float) -> None:
        """Set the time to `to` seconds since the simulation began. Do nothing if that time has passed."""
        self._passed = max(self._passed, to)
