"""The driver's side of a takeover: finds the zygotes that an earlier driver left, and takes over their workers.

Each zygote listens on a socket in the folder with the notes about the run's processes. The socket's name contains the
zygote's mark, a text that no other zygote has. The driver that started the zygote makes the socket, because a zygote in
a namespace can't write to this folder.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from headrace.backends.processes.orphans import DOOR, is_alive, living_zygotes
from headrace.backends.processes.spawn import LEAVE_S, Spawned
from headrace.run.takeover import Kept, Newer, Take, Taken, decode_answer, form, is_own
from headrace.run.wire import Frames, frame
from headrace.spec.noun import UNREADABLE

ANSWER_S = 10.0
"""How long the zygotes of an earlier driver may take to answer, in seconds. This includes the second that a zygote
waits for a stopped worker to go on."""
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

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self._ends_within(LEAVE_S)

    def _ends_within(self, within_s: float) -> bool:
        return _has_ended(self._handle, within_s)


class Heir(Struct, frozen=True):
    """A zygote that this driver has taken over. `pid` is the zygote's process id as the zygote sees it. For each of its
    workers, `workers` has the zygote's message about the worker, and the connection to the worker (None: the worker
    can't be taken over, and is ended)."""

    spawned: Inherited
    pid: int
    workers: tuple[tuple[Kept, socket.socket | None], ...]


def listen(folder: Path, mark: str) -> socket.socket | None:
    """Return a socket on which a zygote can wait for the run's next driver, or None if this system doesn't have such
    sockets.

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

    Return the zygotes that were taken over, and the process id and mark of each zygote that works for a newer driver. A
    zygote that doesn't answer is in neither list.
    """
    due = time.monotonic() + ANSWER_S
    answers = [
        _Answer(mark, pid, connection)
        for mark, pid in living_zygotes(folder)
        if (connection := _ask(folder, mark, epoch))
    ]
    _hear(answers, due)
    heirs = [heir for answer in answers if (heir := answer.heir(folder)) is not None]
    others = [(answer.end.pid, answer.mark) for answer in answers if isinstance(answer.end, Newer)]
    return heirs, others


class _Answer:
    """A zygote's answer, as far as it has arrived. `end` is the last message of the answer, or None until it arrives.
    `is_over` is whether nothing more will arrive."""

    def __init__(self, mark: str, pid: int, connection: socket.socket) -> None:
        self.mark = mark
        self.connection = connection
        self.end: Taken | Newer | None = None
        self.is_over = False
        self._pid = pid
        self._frames = Frames()
        self._files: list[int] = []
        self._workers: list[tuple[Kept, socket.socket | None]] = []

    def read(self) -> None:
        """Read what has arrived."""
        try:
            data, files, flags, _ = socket.recv_fds(self.connection, _LONGEST, _MOST_FILES, socket.MSG_DONTWAIT)
            self._files += files
            self.is_over = not data or bool(flags & socket.MSG_CTRUNC)  # a file was lost: whose are the next ones?
            for body in self._frames.feed(b"" if self.is_over else data):
                match decode_answer(body):
                    case Kept() as kept:
                        self._workers.append((kept, _own(self._files.pop(0)) if kept.lives else None))
                    case end:
                        self.end, self.is_over = end, True
        except BlockingIOError:
            pass
        except (OSError, ValueError, IndexError, *UNREADABLE):
            self.is_over = True

    def heir(self, folder: Path) -> Heir | None:
        """Return the zygote if this driver has taken it over, else None. Close those sockets and files of the answer
        that aren't used."""
        heir = None
        if isinstance(self.end, Taken) and self._files:
            spawned = _inherit(folder, self.mark, self._pid, self.connection, self._files.pop(0))
            heir = None if spawned is None else Heir(spawned, self.end.pid, tuple(self._workers))
        for file in self._files:
            os.close(file)
        if heir is None:
            for _, line in self._workers:
                if line is not None:
                    line.close()
            self.connection.close()
        return heir


def _hear(answers: Sequence[_Answer], due: float) -> None:
    """Read the answers of all zygotes as they arrive, until `due`."""
    open_ones = {answer.connection.fileno(): answer for answer in answers}
    poll = select.poll()
    for descriptor in open_ones:
        poll.register(descriptor, select.POLLIN)
    while open_ones and (left_s := due - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left_s * 1000):
            open_ones[descriptor].read()
            if open_ones[descriptor].is_over:
                poll.unregister(descriptor)
                del open_ones[descriptor]


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a short path of a folder, because the path of a socket in it may have at most 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _ask(folder: Path, mark: str, epoch: int) -> socket.socket | None:
    """Connect to a zygote and ask it to work for this driver. Return the connection, or None if this fails."""
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


def _own(descriptor: int) -> socket.socket:
    line = socket.socket(fileno=descriptor)
    line.set_inheritable(False)
    return line


def _inherit(folder: Path, mark: str, pid: int, connection: socket.socket, errors: int) -> Inherited | None:
    """Return the zygote at the other end of a connection, or None if it has just ended."""
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
