"""The driver's side of a takeover: finds the zygotes that an earlier driver left, and takes over their workers.

Each zygote listens on a socket in the folder with the notes about the run's processes. The name of the socket has the
zygote's mark. The driver that started the zygote makes the socket: a zygote in a namespace can't write to this folder.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from headrace.backends.processes.orphans import DOOR, is_alive, living_zygotes
from headrace.backends.processes.spawn import LEAVE_S, Spawned
from headrace.run.takeover import Kept, Newer, Take, Taken, decode_answer, form, is_own
from headrace.run.wire import Frames, frame
from headrace.spec.noun import UNREADABLE

ANSWER_S = 3.0
"""How long the zygotes of an earlier driver may take to answer, in seconds. A zygote waits for a worker that is stopped
for one of these seconds."""
_LONGEST = 1 << 16
_MOST_FILES = 64


class Inherited(Spawned):
    """A zygote that an earlier driver has started. It isn't a child of this process."""

    def __init__(self, pid: int, control: socket.socket, errors: int, mark: str) -> None:
        super().__init__(pid, control, errors, mark)
        self._handle = os.pidfd_open(pid)

    def let_go(self) -> None:
        """Close the socket to the zygote, without waiting until the zygote has ended. A second call does nothing."""
        super().let_go()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def leave(self, within_s: float = LEAVE_S) -> None:
        """Close the socket to the zygote, and wait until the zygote has ended. If it hasn't ended after `within_s`
        seconds, kill it.

        A second call does nothing.
        """
        if self._handle < 0:
            return
        self.control.close()
        if not _has_ended(self._handle, within_s):
            self._kill()
        self.let_go()

    def discard(self) -> None:
        """Kill the zygote at once."""
        if self._handle >= 0:
            self._kill()
        self.let_go()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        _has_ended(self._handle, LEAVE_S)


class Heir(Struct, frozen=True):
    """A zygote that works for this driver now: the zygote, its process id as it sees it, and for each of its workers
    what it said, with the connection to the worker (None: the worker is ended)."""

    spawned: Inherited
    pid: int
    workers: tuple[tuple[Kept, socket.socket | None], ...]


def listen(folder: Path, mark: str) -> socket.socket | None:
    """Return a socket on which a zygote can wait for the run's next driver, or None if this system can't have it.

    Only this user can connect to it.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    door = socket.socket(socket.AF_UNIX)
    try:
        with _short(folder) as path:
            door.bind(f"{path}/{DOOR}{mark}")
            os.chmod(f"{path}/{DOOR}{mark}", 0o700)
        door.listen()
    except OSError:  # this file system has no sockets, for example; the next driver ends the workers then
        door.close()
        return None
    return door


def take_over(folder: Path, epoch: int) -> tuple[list[Heir], list[tuple[int, str]]]:
    """Take over the zygotes of a run that answer within `ANSWER_S` seconds. The notes about the run's processes are in
    `folder`.

    Return them, and the process id and mark of each zygote that works for a newer driver. A zygote that doesn't answer
    is in neither list.
    """
    due = time.monotonic() + ANSWER_S
    heirs: list[Heir] = []
    others: list[tuple[int, str]] = []
    asked = [
        (mark, pid, connection) for mark, pid in living_zygotes(folder) if (connection := _ask(folder, mark, epoch))
    ]
    for mark, pid, connection in asked:
        answer = _hear(connection, due)
        if isinstance(answer, Newer):
            others.append((answer.pid, mark))
        elif answer is not None:
            taken, workers, errors = answer
            spawned = _inherit(folder, mark, pid, connection, errors)
            if spawned is not None:
                heirs.append(Heir(spawned, taken.pid, workers))
                continue
            _close(line for _, line in workers)
        connection.close()
    return heirs, others


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a short path of a folder. The path of a socket has at most 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _ask(folder: Path, mark: str, epoch: int) -> socket.socket | None:
    """Connect to a zygote and ask it to work for this driver. Return None if that can't be."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_S)
    try:
        with _short(folder) as path:
            connection.connect(f"{path}/{DOOR}{mark}")
        if is_own(connection):
            connection.sendall(frame(Take(epoch, form())))
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _hear(
    connection: socket.socket, due: float
) -> Newer | tuple[Taken, tuple[tuple[Kept, socket.socket | None], ...], int] | None:
    """Return a zygote's answer: `Newer`, or the end of the answer with the workers and the descriptor of the zygote's
    stderr. Return None if what comes until `due` isn't an answer."""
    frames, files = Frames(), list[int]()
    kept: list[tuple[Kept, socket.socket | None]] = []
    try:
        while True:
            connection.settimeout(max(0.001, due - time.monotonic()))
            data, more, _, _ = socket.recv_fds(connection, _LONGEST, _MOST_FILES)
            files += more
            if not data:
                break
            for body in frames.feed(data):
                match decode_answer(body):
                    case Newer() as newer:
                        return newer
                    case Taken() as taken:
                        return taken, tuple(kept), files.pop(0)
                    case Kept() as worker:
                        kept.append((worker, _own(files.pop(0)) if worker.lives else None))
    except (OSError, ValueError, IndexError, *UNREADABLE):
        pass
    for file in files:
        os.close(file)
    _close(line for _, line in kept)
    return None


def _own(descriptor: int) -> socket.socket:
    line = socket.socket(fileno=descriptor)
    line.set_inheritable(False)
    return line


def _close(lines: Iterator[socket.socket | None]) -> None:
    for line in lines:
        if line is not None:
            line.close()


def _inherit(folder: Path, mark: str, pid: int, connection: socket.socket, errors: int) -> Inherited | None:
    """Return the zygote at the other side of a connection, or None if it has just ended."""
    os.set_inheritable(errors, False)
    connection.settimeout(None)
    with suppress(OSError):
        spawned = Inherited(pid, connection, errors, mark)
        if is_alive(folder, mark):  # so the handle is of this process, and not of another that has its number by now
            return spawned
        spawned.let_go()
        return None
    os.close(errors)
    return None


def _has_ended(handle: int, within_s: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(within_s * 1000))
