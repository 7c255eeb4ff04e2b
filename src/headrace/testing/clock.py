"""A fake clock for tests: its time changes only when a test advances it."""

from __future__ import annotations


class FakeClock:
    """A clock whose time passes only when `advance` is called (implements `run.ports.Clock`). The method `jitter`
    returns the number `chance`."""

    def __init__(self, now: float = 1_795_600_000.0, chance: float = 0.5) -> None:
        self._now = now
        self._monotonic = 0.0
        self.chance = chance

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the clock was made. They never go back."""
        return self._monotonic

    def jitter(self) -> float:
        """Return the number `chance`, from 0 to 1."""
        return self.chance

    def advance(self, seconds: float) -> None:
        """Advance the time by `seconds`."""
        self._now += seconds
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Set the time of `now` back, as happens when a clock is corrected. `monotonic` stays the same."""
        self._now -= seconds
