"""The driver's end of a channel to a worker. Data that can't be sent at once are kept, so neither side blocks."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from headrace.run.wire import Frames

_READ_BYTES = 1 << 16


class Channel:
    """A socket that never blocks. After sending has failed, messages that have arrived can still be read."""

    def __init__(self, line: socket.socket) -> None:
        self.socket = line
        self._frames = Frames()
        self._read_into = memoryview(bytearray(_READ_BYTES))  # used for all reads: a new buffer for each costs 30 us
        self._unsent = bytearray()
        self._deaf = False
        self.closed = False
        line.setblocking(False)

    @property
    def waits(self) -> bool:
        """Whether there are data left to send."""
        return bool(self._unsent) and not self._deaf

    def send(self, data: bytes) -> None:
        """Send as much of `data` as the socket takes now, and keep the rest for `push`. Never block."""
        if self._deaf:
            return
        if self._unsent:
            self._unsent += data
            self.push()
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._deaf = True
            return
        self._unsent += data[sent:]

    def push(self) -> None:
        """Send as much as the socket takes now of the data that `send` kept."""
        try:
            sent = self.socket.send(self._unsent)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._deaf = True

    def read(self) -> Iterator[bytes]:
        """Yield the bodies of the messages that have arrived. Set `closed` if the other side has closed the socket."""
        while not self.closed:
            try:
                count = self.socket.recv_into(self._read_into)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count == 0:
                self.closed = True
                return
            yield from self._frames.feed(self._read_into[:count])
            if count < _READ_BYTES:
                return
