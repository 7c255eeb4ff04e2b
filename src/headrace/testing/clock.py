"""A clock that stands still, for tests."""

from __future__ import annotations


class FakeClock:
    """Time that passes when it is told to (`run.ports.Clock`). `chance` is what `jitter` gives."""

    def __init__(self, now: float = 1_795_600_000.0, chance: float = 0.5) -> None:
        self._now = now
        self._monotonic = 0.0
        self.chance = chance

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic

    def jitter(self) -> float:
        """Return a number from 0 to 1, always the same."""
        return self.chance

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._now += seconds
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Set the time of day back, as happens to clocks that are corrected."""
        self._now -= seconds
