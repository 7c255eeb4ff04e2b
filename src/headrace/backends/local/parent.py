"""A zygote as the local backend sees it: the process that starts the workers of one environment."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable

from headrace.backends.processes.channel import Channel
from headrace.backends.processes.spawn import Spawned
from headrace.run.wire import Fork, Kill, frame

START_S = 60.0
"""How long a zygote may take to start, in seconds. A zygote may fail to start because its namespace was killed while it
was being set up."""
SILENT_S = 30.0
"""How long a running zygote may be silent, in seconds. After that, the driver gives up on the zygote. A zygote sends a
message each second."""
QUIET_S = 3.0
"""If a worker hasn't ended within its grace time and its zygote has been silent for more than these seconds, the driver
gives up on the zygote."""
LOOK_S = 1.0
"""At most this many seconds between two calls of `events` count as a zygote's silence. If more time has passed, the
driver could not read messages: it was busy, or it was stopped, as by ^Z."""


class Parent:
    """A zygote and its workers.

    The zygote must have started before `ready_by` (a time of `time.monotonic`). `ready_by` is None after the zygote has
    started, and while it waits for its environment. `waits` says what the zygote waits for; it is empty if the zygote
    doesn't wait. `pid` is the process id of the zygote, or 0 before it has started. In a namespace, `spawned` is not
    the zygote but the namespace's own process, and the zygote is a child of that process. `silent_s` is how long the
    zygote has sent nothing, in seconds. The time before the zygote has started doesn't count. A zygote that is stopped
    or hangs sends nothing.
    """

    def __init__(self, spawned: Spawned, pid: int = 0) -> None:
        self.spawned = spawned
        self.control = Channel(spawned.control)
        self.workers: set[int] = set()
        self.ready_by: float | None = None if pid else time.monotonic() + START_S
        self.waits = ""
        self.pid = pid
        self.silent_s = 0.0

    def listened(self, past_s: float) -> None:
        """Add the seconds since messages were last read (`past_s`, but at most `LOOK_S`) to the zygote's `silent_s`."""
        if self.pid:
            self.silent_s += min(past_s, LOOK_S)

    def order(self, order: Fork | Kill, hear: Callable[[Parent], None], beside: socket.socket | None = None) -> None:
        """Send an order to the zygote, with the socket `beside` if it isn't None.

        While the zygote can't take the order, call `hear`, which reads the zygote's messages. The zygote may not read
        orders until its messages have been read.

        Raises:
            OSError: the zygote is dead, or has read nothing for `SILENT_S` seconds.
        """
        data = frame(order)
        while not self.control.closed:
            try:
                if beside is None:
                    self.control.socket.send(data)
                else:
                    socket.send_fds(self.control.socket, [data], [beside.fileno()])
                return
            except BlockingIOError:
                poll = select.poll()
                poll.register(self.control.socket, select.POLLIN | select.POLLOUT)
                ready = poll.poll(SILENT_S * 1000)
                if not ready:
                    raise TimeoutError(f"the process that starts workers has read nothing for {SILENT_S:g} s") from None
                if any(flags & select.POLLIN for _, flags in ready):
                    hear(self)
        raise ConnectionResetError


def patience(parents: Iterable[Parent], timeout_s: float) -> float:
    """Return how long to wait for events: until the earliest `ready_by` of a zygote, but at most `timeout_s`."""
    due = [parent.ready_by for parent in parents if parent.ready_by is not None]
    return min(timeout_s, max(0.0, min(due) - time.monotonic())) if due else timeout_s
