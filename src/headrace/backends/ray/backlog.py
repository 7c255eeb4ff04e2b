"""The backlog of a worker on Ray: the messages that its driver has not yet received, and the reports that its driver
has not yet stored."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from headrace.backends.ray.messages import Heard
from headrace.run.ports import Died

BEAT_S = 0.5
"""The least time in seconds between two answers that carry nothing but a heartbeat."""


class Backlog:
    """The numbered messages of a worker that its driver hasn't received, and its reports that the driver hasn't
    acknowledged.

    Reports are kept until the driver acknowledges them, because the next driver may need them. `acknowledged` is the
    number of the last acknowledged report. `died` says how the worker ended, or is None while it is alive.
    """

    def __init__(self) -> None:
        self.died: Died | None = None
        self.acknowledged = 0
        self._bell = asyncio.Event()
        self._said: deque[tuple[int, int, bytes]] = deque()  # number, number of the report (0: not a report), body
        self._numbers = 0
        self._beat: tuple[int, float, float] | None = None
        self._beaten = 0.0

    def say(self, body: bytes, seq: int = 0) -> None:
        """Add the body of a worker's message. If the message is a report, `seq` is the number of the report, otherwise
        0."""
        self._numbers += 1
        self._said.append((self._numbers, seq, body))
        self._bell.set()

    def beat(self, done: int, since: float, memory_gib: float) -> None:
        """Keep the worker's last heartbeat. The heartbeat is sent with the next messages, or alone if none come within
        `BEAT_S`.

        `done` counts the attempts that have ended, `since` is when the current one began (Unix seconds), and
        `memory_gib` is the memory in use.
        """
        self._beat = done, since, memory_gib
        if time.monotonic() - self._beaten >= BEAT_S:
            self._bell.set()

    def die(self, died: Died) -> None:
        """Record that the worker has died."""
        self.died = died
        self._bell.set()

    def wake(self) -> None:
        """Wake all calls of `wait`, so that they return."""
        self._bell.set()

    async def wait(self, after: int, wait_s: float) -> bool:
        """Drop the messages up to number `after`, since the driver has received them, but keep reports that the driver
        hasn't acknowledged. Then wait up to `wait_s` for further messages.

        Return False if there were further messages already, and True if this method had to wait.
        """
        while self._said and self._said[0][0] <= after and self._said[0][1] <= self.acknowledged:
            self._said.popleft()
        late = self._beat is not None and time.monotonic() - self._beaten >= BEAT_S
        if self._numbers > after or self.died is not None or late:
            return False
        self._bell.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), wait_s)
        return True

    async def death(self) -> None:
        """Wait until the worker has died."""
        while self.died is None:
            self._bell.clear()
            await self._bell.wait()

    def news(self, after: int) -> Heard:
        """Return the messages after number `after`, the last heartbeat unless it was returned before, and the worker's
        death if the worker has died."""
        messages = [(number, body) for number, _, body in self._said if number > after]
        beat, self._beat = self._beat, None
        self._beaten = time.monotonic() if beat is not None else self._beaten
        died = None if self.died is None else (self.died.kind, self.died.why, self.died.hint)
        return Heard(messages[0][0] if messages else self._numbers + 1, [body for _, body in messages], beat, died)
