"""A zygote as the local backend holds it: the process that begins the workers of one environment."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from headrace.backends.processes.channel import Channel
from headrace.backends.processes.spawn import Spawned
from headrace.run.wire import Fork, Kill, frame

START_S = 60.0
"""How long a zygote may take to come up. Where it doesn't, its namespace may have been killed half made."""
SILENT_S = 30.0
"""How long a zygote that has come up may say nothing: it says something each second."""
QUIET_S = 3.0
"""How long it may say nothing that was told to end a worker, and had the time for it."""
LOOK_S = 1.0
"""How much of the time between two looks counts at most: a driver that was stopped meanwhile, as by ^Z, was so with it,
and one that was busy elsewhere has heard nobody."""


class Parent:
    """A zygote. `ready_by` is when it must have come up, unless it has; while it `waits`, that takes what it takes.

    `pid` is its number once it has come up; what was spawned may be a namespace's process, whose child it is.
    `silent_s` is for how long it has said nothing since then: one that is stopped, or hangs, doesn't.
    """

    def __init__(self, spawned: Spawned, environment: str | None) -> None:
        self.spawned = spawned
        self.environment = environment
        self.control = Channel(spawned.control)
        self.workers: set[int] = set()
        self.ready_by: float | None = time.monotonic() + START_S
        self.waits = ""
        self.pid = 0
        self.silent_s = 0.0

    def listened(self, past_s: float) -> None:
        """Count the time in which it could have been heard."""
        if self.pid:
            self.silent_s += min(past_s, LOOK_S)

    def order(self, order: Fork | Kill, hear: Callable[[Parent], None], beside: socket.socket | None = None) -> None:
        """Tell it something. While it can't take more, hear what it says: it may be waiting for that.

        Raises:
            OSError: it is dead.
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
                    raise TimeoutError(f"it has read nothing for {SILENT_S:g} s") from None
                if any(each & select.POLLIN for _, each in ready):
                    hear(self)
        raise ConnectionResetError
