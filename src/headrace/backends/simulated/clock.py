"""Virtual time, which passes only when a simulation advances it, and the agenda of what happens when."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

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


class Agenda:
    """The scheduled calls of a simulation, and the clock that they advance. Clusters that share an agenda are one
    simulation: a wait for one of them advances the time of all.

    `heard` has one function for each cluster: it returns whether the cluster has news for its driver.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.heard: list[Callable[[], bool]] = []
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def has_news(self) -> bool:
        """Whether a cluster has news for its driver."""
        return any(heard() for heard in self.heard)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Schedule a call of `act` at `when` seconds after the simulation began, or now if that time has passed."""
        self._count += 1
        heapq.heappush(self._calls, (max(when, self.clock.monotonic()), self._count, act))

    def run(self, until: float, *, stop: Callable[[], bool]) -> None:
        """Run the scheduled calls and advance the time, up to `until` or until `stop()` is true.

        When `stop()` becomes true, the calls that are scheduled for that moment are still run.
        """
        while self._calls and self._calls[0][0] <= until:
            if stop() and self._calls[0][0] > self.clock.monotonic():
                return
            when, _, act = heapq.heappop(self._calls)
            self.clock.advance(when)
            act()
        if not stop():
            self.clock.advance(until)
