"""The worker's side of a takeover: the worker gets the connection to the next driver from its zygote."""

from __future__ import annotations

import select
import socket
from collections import deque

import msgspec
from msgspec import Struct

from headrace.run.wire import Frames
from headrace.work.adoption.journal import Journal
from headrace.work.limits.shared_status import SharedStatus

PATIENCE_S = 5.0
"""How long an idle worker waits for the next driver, in seconds, before it leaves."""
DECIDED_S = 10.0
"""How long a zygote may take, in seconds, to hand over a worker after it has announced the takeover. Normally it takes
much less."""
_READ_BYTES = 1 << 16


class Given(Struct, frozen=True, array_like=True, tag="given"):
    """A zygote's message to a worker: a new driver has taken over the worker. The connection to this driver is sent
    along.

    `takeover` is the number of the takeover. `attempt` is the attempt (task, number) that the worker runs, as the
    zygote told the driver, or None. The worker may run no other attempt that an earlier driver gave to it.
    """

    takeover: int
    attempt: tuple[str, int] | None


_decode = msgspec.msgpack.Decoder(Given).decode


class Successor:
    """The connection of a worker to its zygote, over which the connections to the run's next drivers arrive."""

    def __init__(self, side: socket.socket, board: SharedStatus, journal: Journal) -> None:
        self.journal = journal
        self._side = side
        self._board = board
        self._frames = Frames()
        self._lines: deque[socket.socket] = deque()
        self._seen = 0
        self._closed = False

    @property
    def is_near(self) -> bool:
        """Whether a takeover has been announced, and this worker doesn't have the connection to the new driver yet."""
        return self._board.takeovers() != self._seen

    def wait(self, patience_s: float) -> tuple[socket.socket, Given] | None:
        """Return the connection to the newest driver, with the zygote's message about the takeover. Wait for them up to
        `patience_s` seconds; return None if they don't arrive."""
        if patience_s:
            poll = select.poll()
            poll.register(self._side, select.POLLIN)
            poll.poll(patience_s * 1000)
        return self._newest()

    def refuse(self) -> tuple[socket.socket, Given] | None:
        """Accept no more connections, because this worker exits. If one has arrived already, return it (see `wait`)."""
        self._side.shutdown(socket.SHUT_RD)
        return self._newest()

    def _newest(self) -> tuple[socket.socket, Given] | None:
        found: tuple[socket.socket, Given] | None = None
        while not self._closed:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._side, _READ_BYTES, 1)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            self._closed = not data
            self._lines.extend(map(_own, descriptors))
            for body in self._frames.feed(data):
                if found is not None:
                    found[0].close()
                found = self._lines.popleft(), _decode(body)
                self._seen = found[1].takeover
        return found


def _own(descriptor: int) -> socket.socket:
    """Return a socket for a descriptor that has arrived. Programs that a stage starts don't inherit it."""
    line = socket.socket(fileno=descriptor)
    line.set_inheritable(False)
    return line
