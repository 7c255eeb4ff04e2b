"""The driver's end of a channel to a worker: what can't be sent at once is kept, so that neither waits on the other."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from headrace.run.wire import Frames

_READ_BYTES = 1 << 16


class Channel:
    """A socket that never blocks. That nothing can be sent any more doesn't mean that there is nothing left to read."""

    def __init__(self, line: socket.socket) -> None:
        self.socket = line
        self._frames = Frames()
        self._read_into = memoryview(bytearray(_READ_BYTES))  # one for all: to make and free one each time costs 30 us
        self._unsent = bytearray()
        self._deaf = False
        self.closed = False
        line.setblocking(False)

    @property
    def waits(self) -> bool:
        """Whether something is left to be sent."""
        return bool(self._unsent) and not self._deaf

    def send(self, data: bytes) -> None:
        """Send what can be sent now, and keep the rest."""
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
        """Send more of what is left."""
        try:
            sent = self.socket.send(self._unsent)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._deaf = True

    def read(self) -> Iterator[bytes]:
        """Yield the bodies that have arrived, until there are no more or the other side has closed."""
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
