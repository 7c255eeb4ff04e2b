"""A worker's line to its driver: messages down, numbered reports up, which are kept until they are acknowledged."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from headrace.run.events import Event, encode_event
from headrace.run.wire import Ack, Down, Frames, Report, decode_down, frame

FLUSH_S = 0.001
_READ_BYTES = 1 << 16


class Gone(Exception):
    """The driver listens no more."""


class Link:
    """Reads what the driver says and reports to it. Once the driver is gone, what it never stored is spilled."""

    def __init__(self, line: socket.socket, spill: Callable[[bytes], None]) -> None:
        self._line = line
        self._spill = spill
        self._frames = Frames()
        self._read_into = memoryview(bytearray(_READ_BYTES))  # one for all: to make and free one each time costs 30 us
        self._heard: deque[Down] = deque()
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._unsent = bytearray()
        self._sent_at = 0.0
        self._seq = 0
        self.gone = False

    def next(self) -> Down:
        """Wait for the next message, sending first what is unsent.

        Raises:
            Gone: the driver has left.
        """
        while not self._heard:
            self.flush()
            self._read()
        return self._heard.popleft()

    def look(self) -> Down | None:
        """Give the next message that has arrived without waiting, and leave it in place; None if there is none."""
        try:
            self._line.setblocking(False)
            self._read()
        except (BlockingIOError, Gone):
            pass
        finally:
            self._line.setblocking(True)
        return self._heard[0] if self._heard else None

    def take(self, kind: type[Struct]) -> Down | None:
        """Give the first message of a kind that has arrived, out of turn, or None."""
        self.look()
        for message in self._heard:
            if isinstance(message, kind):
                self._heard.remove(message)
                return message
        return None

    def report(self, event: Event, *, now: bool = False) -> None:
        """Report an event under the next number; within a millisecond, unless another follows at once."""
        body = encode_event(event)
        self._seq += 1
        self._unacknowledged.append((self._seq, body))
        self._unsent += frame(Report(self._seq, body))
        if now or not self._heard or time.monotonic() - self._sent_at > FLUSH_S:
            self.flush()

    def send(self, message: Struct) -> None:
        """Send a message that is no event, at once."""
        self._unsent += frame(message)
        self.flush()

    def flush(self) -> None:
        """Send what is unsent; where nobody listens, keep it for the spill."""
        if self._unsent and not self.gone:
            self._sent_at = time.monotonic()
            try:
                self._line.sendall(self._unsent)
            except OSError:
                self.gone = True
        self._unsent.clear()

    def spill(self) -> None:
        """Append every report that was never acknowledged to the spool."""
        if self._unacknowledged:
            self._spill(b"".join(frame(Report(seq, body)) for seq, body in self._unacknowledged))

    def _read(self) -> None:
        try:
            count = self._line.recv_into(self._read_into)
        except ConnectionError:
            count = 0
        if count == 0:
            self.gone = True
            raise Gone
        for body in self._frames.feed(self._read_into[:count]):
            message = decode_down(body)
            if isinstance(message, Ack):
                self._acknowledge(message.seq)
            else:
                self._heard.append(message)

    def _acknowledge(self, seq: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
