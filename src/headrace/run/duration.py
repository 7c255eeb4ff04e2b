"""How long drivers worked on a run, without the time between one driver and the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.run.events import (
    Cancelled,
    Closed,
    Expired,
    Failed,
    Launched,
    Logged,
    Moved,
    Opened,
    Submitted,
    Succeeded,
    Taken,
    Woke,
)


class Duration:
    """Computes from a run's events how long drivers worked on it. Times are Unix seconds.

    If a driver died, or left a run that waits, no event says when its work ended. Then its time counts up to the last
    moment that its events mention. The time that the pipeline's body took after this moment isn't counted. If an
    attempt continued without its driver, the attempt's time counts too, until the attempt ended or the next driver
    began.
    """

    def __init__(self) -> None:
        self.sessions: list[tuple[float, float]] = []
        """The start and end of each earlier driver's time (Unix seconds)."""
        self.since = self._heard = 0.0
        self._is_taken = False

    def hear(self, event: object) -> None:
        """Take note of the time of an event."""
        if self.sessions and isinstance(event, Succeeded | Moved | Failed) and event.started:
            self._fill(event.started, event.started + event.seconds)
        if isinstance(event, Taken):
            if self._is_taken:
                self.sessions.append((self.since, self._heard))
                self.since = self._heard = event.at
            self._is_taken = True
        elif (when := _WHEN.get(type(event))) is not None and (at := when(event)) > self._heard:
            self._heard = at
            self.since = self.since or at

    def _fill(self, started: float, ended: float) -> None:
        """Count the part of an attempt's time during which there was no driver."""
        until = [since for since, _ in self.sessions[1:]] + [self.since]
        for place, ((since, to), taken) in enumerate(zip(self.sessions, until, strict=True)):
            if started < taken:
                self.sessions[place] = since, max(to, min(ended, taken))

    def seconds(self, until: float | None = None) -> float:
        """Return how many seconds drivers worked up to the moment `until` (Unix seconds). If `until` is None, count up
        to the last moment in the events."""
        end = self._heard if until is None else until
        return sum(max(0.0, to - since) for since, to in self.sessions) + max(0.0, end - self.since)

    def at(self, moment: float) -> float:
        """Return how many seconds drivers had worked on the run by a certain moment (Unix seconds). If the moment is
        between two drivers, count up to the end of the earlier driver."""
        total = 0.0
        for since, to in self.sessions:
            if moment < to:
                return total + max(0.0, moment - since)
            total += max(0.0, to - since)
        return total + max(0.0, moment - self.since)


def _failed_at(event: Failed) -> float:
    if event.started or event.failure.kind == "lost":  # `at` may be when the next driver heard of it
        return event.started + event.seconds
    return event.at


def _end(event: Succeeded | Moved) -> float:
    return event.started + event.seconds


def _at(event: Any) -> float:
    return float(event.at)


_WHEN: dict[type, Callable[[Any], float]] = {
    Succeeded: _end,
    Launched: _at,
    Moved: _end,
    Logged: _at,
    Failed: _failed_at,
    Woke: _at,
    Submitted: _at,
    Expired: _at,
    Opened: _at,
    Cancelled: _at,
    Closed: _at,
}
