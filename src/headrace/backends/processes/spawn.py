"""Starts the zygote. This module imports little, so that the zygote can start before the driver imports the rest."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

MARK = "HEADRACE_MARK"
"""The name of the environment variable that marks a zygote's processes. Its value differs for each zygote, and all
processes that a zygote's workers start inherit the value. So processes that outlive their worker can be found."""
_LONGEST = 4096

LEAVE_S = 10.0
"""How long a zygote may take to leave, in seconds."""


class Spawned:
    """A zygote that this process has started: its process id, this process's end of the socket to the zygote, the
    zygote's mark, and its stderr."""

    def __init__(self, pid: int, control: socket.socket, errors: int, mark: str) -> None:
        self.pid = pid
        self.control = control
        self.mark = mark
        self._errors = errors
        self._heard = 0

    def last_words(self) -> str:
        """Return the last line on the zygote's stderr since the last call of this method, or "" if there is none.

        A worker writes to the same stderr until its first attempt begins.
        """
        size = os.fstat(self._errors).st_size
        start, self._heard = self._heard, size
        return last_line(self._errors, start, size)

    def let_go(self) -> None:
        """Close the socket to the zygote, without waiting until the zygote has ended. A second call does nothing."""
        if self._errors < 0:
            return  # it is closed already, and its file descriptor may have another use by now
        self.control.close()
        os.close(self._errors)
        self._errors = -1

    def leave(self, within_s: float = LEAVE_S) -> None:
        """Close the socket to the zygote, and wait until the zygote has ended. If it hasn't ended after `within_s`
        seconds, kill it.

        A second call does nothing.
        """
        if self._errors < 0:
            return
        self.control.close()
        if not self._ends_within(within_s):
            self._kill()  # the process is stopped, or hangs
        self.let_go()

    def discard(self) -> None:
        """Kill the zygote at once. After `leave` or `let_go`, this does nothing."""
        if self._errors >= 0:
            self._kill()
        self.let_go()

    def _kill(self) -> None:
        """Kill the zygote. Its whole process group gets the signal: if bubblewrap were killed alone within its first
        milliseconds, the process that it has just made would wait for it forever."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except PermissionError:  # macOS says so if no process of the group is left but one that nobody has waited for
            os.kill(self.pid, signal.SIGKILL)
        self._ends_within(LEAVE_S)

    def _ends_within(self, within_s: float) -> bool:
        latest, pause_s = time.monotonic() + within_s, 0.0005
        try:  # not `suppress`: importing `contextlib` takes longer than this whole method
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > latest:
                    return False
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 0.02)
        except ChildProcessError:
            pass  # somebody has waited for it already
        return True


def spawn(environment: Mapping[str, str], prefix: Sequence[str] = ()) -> Spawned:
    """Start a zygote and return it.

    `environment` holds all environment variables that the zygote and its workers see. `prefix` are the arguments that
    start a namespace (empty: no namespace). Python's option `-P` keeps the current folder off the import path, because
    the project's modules come from the bundle only.
    """
    # The zygote may outlive this process by the length of an attempt. So the zygote must not keep this process's
    # terminal or pipes open.
    null, errors = os.open(os.devnull, os.O_RDWR), memory_file()
    actions = [(os.POSIX_SPAWN_DUP2, one, other) for one, other in ((null, 0), (null, 1), (errors, 2))]
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    words = [*prefix, sys.executable, "-P", "-m", "headrace.work", str(theirs.fileno())]
    # ^C, a terminal that is closed and Jupyter, which kills kernels, signal the process group of the driver. The zygote
    # and its workers are in groups of their own, so that only a driver ends attempts. Some programs signal all
    # processes that they can find: until the zygote has set its handlers, which ignore these signals, they are blocked.
    mask = [signal.SIGINT, signal.SIGTERM]
    mark = os.urandom(16).hex()
    told = {**environment, MARK: mark}
    pid = os.posix_spawn(words[0], words, told, file_actions=actions, setsigmask=mask, setpgroup=0)
    theirs.close()
    os.close(null)
    return Spawned(pid, ours, errors, mark)


def memory_file() -> int:
    """Return the descriptor of a file for a process's stderr. The file is in memory only; if the system has no such
    files, it is `/dev/null`."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("headrace-errors")
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def last_line(errors: int, start: int, end: int) -> str:
    """Return the last line with text between the positions `start` and `end` of a file that `memory_file` has made, or
    "" if there is none. If the line is longer than 4 KiB, return only its end."""
    start = max(start, end - _LONGEST)
    lines = os.pread(errors, max(0, end - start), start).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
