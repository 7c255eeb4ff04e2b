"""Begins the zygote. Kept apart and light, so that it can be begun before the driver imports the rest."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

MARK = "HEADRACE_MARK"
"""The variable by which what workers leave behind is found: no two zygotes have the same value, and all that their
workers begin inherits it."""
_LONGEST = 4096

LEAVE_S = 10.0
"""So long one that was told to leave may take."""


class Spawned:
    """A zygote that has been begun: its process, the socket that it listens on, its mark, and what it says on
    stderr."""

    def __init__(self, pid: int, control: socket.socket, errors: int, mark: str) -> None:
        self.pid = pid
        self.control = control
        self.mark = mark
        self._errors = errors
        self._heard = 0

    def last_words(self) -> str:
        """Return the last line that it, or a worker before its first attempt, has said since this was last asked."""
        size = os.fstat(self._errors).st_size
        start, self._heard = max(self._heard, size - _LONGEST), size
        lines = os.pread(self._errors, max(0, size - start), start).decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def let_go(self) -> None:
        """Say no more to it, whatever becomes of it; again, and nothing happens."""
        if self._errors < 0:
            return  # it is let go of already: its descriptor may be somebody else's by now
        self.control.close()
        os.close(self._errors)
        self._errors = -1

    def leave(self, within_s: float = LEAVE_S) -> None:
        """Say no more to it, and wait until it has ended by itself, or end it; again, and nothing happens."""
        if self._errors < 0:
            return
        self.let_go()
        latest, pause_s = time.monotonic() + within_s, 0.0005
        try:  # without `contextlib`, whose import takes longer than all of this
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > latest:
                    os.kill(self.pid, signal.SIGKILL)  # it is stopped, or hangs
                    os.waitpid(self.pid, 0)
                    return
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 0.02)
        except ChildProcessError:
            return

    def discard(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
        self.leave()


def spawn(environment: Mapping[str, str], prefix: Sequence[str] = ()) -> Spawned:
    """Begin a zygote; `environment` is all that it and its workers see, `prefix` are the words of a namespace.

    `-P` keeps the current folder off its import path: the project's modules come from the bundle only.
    """
    # It may outlive this process by the length of an attempt, and must not hold on to its terminal or pipes.
    null, errors = os.open(os.devnull, os.O_RDWR), _memory()
    actions = [(os.POSIX_SPAWN_DUP2, one, other) for one, other in ((null, 0), (null, 1), (errors, 2))]
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    words = [*prefix, sys.executable, "-P", "-m", "headrace.work", str(theirs.fileno())]
    # ^C reaches all processes of a terminal: it waits until the zygote has said that it doesn't heed it.
    mask = [signal.SIGINT, signal.SIGTERM]
    mark = os.urandom(16).hex()
    pid = os.posix_spawn(words[0], words, {**environment, MARK: mark}, file_actions=actions, setsigmask=mask)
    theirs.close()
    os.close(null)
    return Spawned(pid, ours, errors, mark)


def _memory() -> int:
    """Return a file that is in memory only; where there is no such thing, one that holds nothing."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("headrace-errors")
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
