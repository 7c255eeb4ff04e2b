"""The backlog of a worker on Ray: what was said by it or of it, and that its driver has not heard or not stored yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from headrace.backends.ray.messages import Heard
from headrace.run.ports import Died

BEAT_S = 0.5
"""How often a beat is worth an answer of its own."""


class Backlog:
    """Numbers what is said, and keeps a report until it is `acknowledged`: else the next driver has to hear it.

    `died` is how the worker ended, once it has.
    """

    def __init__(self) -> None:
        self.died: Died | None = None
        self.acknowledged = 0
        self._bell = asyncio.Event()
        self._said: deque[tuple[int, int, bytes]] = deque()  # number, that of the report (0: it is none), body
        self._numbers = 0
        self._beat: tuple[int, float, float] | None = None
        self._beaten = 0.0

    def say(self, body: bytes, seq: int = 0) -> None:
        """Add what the worker has said; `seq` is the number of a report."""
        self._numbers += 1
        self._said.append((self._numbers, seq, body))
        self._bell.set()

    def beat(self, done: int, since: float, memory_gib: float) -> None:
        """Keep the last beat, which is told along with other news, or now and then by itself."""
        self._beat = done, since, memory_gib
        if time.monotonic() - self._beaten >= BEAT_S:
            self._bell.set()

    def die(self, died: Died) -> None:
        """Say that the worker is dead."""
        self.died = died
        self._bell.set()

    def wake(self) -> None:
        """Have whoever waits for news look for himself."""
        self._bell.set()

    async def wait(self, after: int, wait_s: float) -> bool:
        """Drop what the driver has heard up to a number, and wait until there is more; return whether that took
        time."""
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
        """Wait for the worker's end."""
        while self.died is None:
            self._bell.clear()
            await self._bell.wait()

    def news(self, after: int) -> Heard:
        """Return what was said after a number, and the last beat, once."""
        said = [(number, body) for number, _, body in self._said if number > after]
        beat, self._beat = self._beat, None
        self._beaten = time.monotonic() if beat is not None else self._beaten
        died = None if self.died is None else (self.died.kind, self.died.why, self.died.hint)
        return Heard(said[0][0] if said else self._numbers + 1, [body for _, body in said], beat, died)
