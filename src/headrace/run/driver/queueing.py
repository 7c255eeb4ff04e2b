"""Decides whether a run is queued. A queued run could go on, but its pools have no room for any of its tasks."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import listed
from headrace.run.machine.machine import Machine

QUIET_S = 1.0
"""A run counts as queued once nothing has happened in it for this many seconds."""


class Queueing:
    """Says why a run is queued. `why` is the reason, or empty if the run isn't queued. `told` is the reason in the
    run's row."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._stored = 0.0
        self.why = self.told = ""

    @property
    def is_news(self) -> bool:
        """Whether the run's row has to be written again."""
        return self.why != self.told

    def look(self, now: float, pools: Sequence[str]) -> None:
        """Find out whether the run is queued in its pools. `now` is the time on the monotonic clock. The run may have
        many tasks, so they are looked at only after nothing has happened for `QUIET_S` seconds."""
        machine = self._machine
        if self.why or now - self._stored < QUIET_S or not (machine.may_launch and machine.ready):
            return
        if not machine.running():
            needs = [need for pool in pools for need, _ in machine.wanted(pool)]
            what = f": the next task needs {needs[0]}" if needs else ""
            self.why = f"waits for room in pool {listed(pools)}{what}"

    def go_on(self) -> None:
        """Note that something has happened in the run."""
        self.why = ""

    def stored(self, now: float) -> None:
        """Note that the run's row is stored, at this time on the monotonic clock."""
        self.told, self._stored = self.why, now
