"""Begins the zygote. Kept apart and light, so that it can be begun before the driver imports the rest."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence


class Spawned:
    """A zygote that has been begun: its process, and the socket that it listens on."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control

    def discard(self) -> None:
        """End it, unused."""
        self.control.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def spawn(prefix: Sequence[str] = ()) -> Spawned:
    """Begin a zygote; `prefix` are the words of a namespace.

    `-P` keeps the current folder off its import path: the project's modules come from the bundle only.
    """
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    words = [*prefix, sys.executable, "-P", "-m", "headrace.work", str(theirs.fileno())]
    # ^C reaches all processes of a terminal: it waits until the zygote has said that it doesn't heed it.
    pid = os.posix_spawn(words[0], words, os.environ, setsigmask=[signal.SIGINT, signal.SIGTERM])
    theirs.close()
    return Spawned(pid, ours)
