"""The zygote's side of a takeover: the zygote checks that the new driver may take over, cuts off the workers from the
earlier driver, and hands them over to the new one.

A worker isn't asked what it runs: the zygote reads this in the worker's journal. The worker gets the new connection
when it next reads a message or sends a report. By then, the zygote has decided which attempt the worker may still run.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TextIO

from headrace.run.ports import Job
from headrace.run.takeover import Kept, Take, Taken, decode_take, form, is_own
from headrace.run.wire import Fork, Frames, frame
from headrace.spec.noun import UNREADABLE
from headrace.work.adoption.journal import Journal, Standing
from headrace.work.adoption.successor import Given, Successor
from headrace.work.limits.shared_status import SharedStatus

ASK_S = 0.5
"""How long a process that has connected may take, in seconds, to say what it wants."""
STOPPED_S = 1.0
"""How long a worker may stay stopped (by SIGSTOP, for example), in seconds, before it is ended."""
SETTLE_S = 0.002
"""How long a zygote waits, in seconds, between announcing a takeover and reading the journals. A worker that begins an
attempt writes this to its journal, and then looks whether a takeover was announced. So either the worker sees the
announcement, or the zygote sees the attempt."""
ANSWER_S = 2.0
SPARE_FILES = 64
"""How many files a zygote must be able to open besides those of lifelines and takeovers."""
_READ_BYTES = 1 << 16


class Lifeline:
    """What a zygote needs to hand over a worker: the worker's end of the connection to its driver (`line`), a
    connection between zygote and worker, and the worker's journal.

    Raises:
        OSError: this process can't open more files.
    """

    def __init__(self, line: int, fork: Fork, board: SharedStatus) -> None:
        self._fork = fork
        self._board = board
        with ExitStack() as undo:
            self.journal = Journal()
            undo.callback(self.journal.close)
            self._line = undo.enter_context(socket.socket(fileno=os.dup(line)))
            self._side, self._far = socket.socketpair()
            undo.pop_all()
        self._side.setblocking(False)
        self._far.setblocking(False)

    def successor(self) -> Successor:
        """Return the worker's side of this lifeline. Call this in the worker."""
        self._side.close()
        self._line.close()
        return Successor(self._far, self._board, self.journal)

    def let_go(self) -> None:
        """Close the zygote's copy of the worker's side. Call this in the zygote, after the worker was forked."""
        self._far.close()

    def close(self) -> None:
        """Close everything. Call this in the zygote when the worker has ended, and in workers that are forked later."""
        for each in (self._line, self._side, self._far):
            each.close()
        self.journal.close()

    def announce(self) -> None:
        """Announce a takeover, and cut the connection to the earlier driver: what that driver sends from now on is
        lost."""
        self._board.announce()
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def hand_over(self, environment: str | None, *, lives: bool) -> tuple[Kept, socket.socket | None]:
        """Give the worker a new connection, unless `lives` is False. Return a pair: the worker's state, and the
        driver's end of the connection. If the worker can't be handed over, the second item is None."""
        standing = self.journal.read()
        line = None if standing is None or not lives else self._give(standing.attempt)
        standing = standing or Standing(None, 0, ())
        job = Job(worker=self._fork.worker, resources=self._fork.need, environment=environment)
        return Kept(job, standing.attempt, standing.done, standing.reports, lives=line is not None), line

    def _give(self, attempt: tuple[str, int] | None) -> socket.socket | None:
        try:
            workers, drivers = socket.socketpair()
        except OSError:  # this process can't open more files
            return None
        given = frame(Given(self._board.takeovers(), attempt))
        with suppress(OSError):  # the worker leaves, or has read nothing during many takeovers
            if socket.send_fds(self._side, [given], [workers.fileno()]) == len(given):
                self._line.close()
                self._line = workers
                return drivers
        workers.close()
        drivers.close()
        return None


def make_lifeline(line: int, fork: Fork, board: SharedStatus, others: int) -> Lifeline | None:
    """Return the lifeline of a worker, or None if this process can't open enough files: the worker then can't be handed
    over.

    `line` is the descriptor of the worker's end of the connection to its driver. This file was opened last, so its
    number says how many files are open. `others` is the number of other workers: a takeover opens a file for each.
    """
    if line + others + SPARE_FILES > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        return None
    with suppress(OSError):
        return Lifeline(line, fork, board)
    return None


def asked(door: socket.socket) -> tuple[socket.socket, Take] | None:
    """Accept a process that has connected to the socket `door`. Return the connection, and what the process asks for.

    Return None if the process is of another user or of another version of Headrace, or sends nothing that can be read.
    """
    try:
        connection, _ = door.accept()
    except OSError:
        return None
    connection.set_inheritable(False)
    frames, due = Frames(), time.monotonic() + ASK_S
    try:
        while is_own(connection) and (left_s := due - time.monotonic()) > 0:
            connection.settimeout(left_s)
            if not (data := connection.recv(_READ_BYTES)):
                break
            for body in frames.feed(data):
                if (take := decode_take(body)).form == form():
                    return connection, take
                connection.close()
                return None
    except (OSError, ValueError, *UNREADABLE):
        pass
    connection.close()
    return None


def hand_over(workers: Sequence[tuple[int, Lifeline]], connection: socket.socket, environment: str | None) -> set[int]:
    """Hand over `workers`, which are pairs of process id and lifeline, to the driver at the other end of `connection`.
    Return the process ids of the workers that live on. The caller must end the others.

    `environment` is the environment of all these workers. If the driver doesn't read the messages about the workers,
    the connection is shut down, and the workers wait for another driver.
    """
    for _, lifeline in workers:
        lifeline.announce()
    time.sleep(SETTLE_S)
    stopped = _stopped([pid for pid, _ in workers])
    given = {pid: lifeline.hand_over(environment, lives=pid not in stopped) for pid, lifeline in workers}
    connection.settimeout(ANSWER_S)
    try:
        for kept, line in given.values():
            _send(connection, frame(kept), line)
        _send(connection, frame(Taken(os.getpid())), sys.stderr)
    except OSError:
        connection.shutdown(socket.SHUT_RDWR)
    for _, line in given.values():
        if line is not None:
            line.close()
    return {pid for pid, (kept, _) in given.items() if kept.lives}


def _send(connection: socket.socket, data: bytes, beside: socket.socket | TextIO | None) -> None:
    sent = 0 if beside is None else socket.send_fds(connection, [data], [beside.fileno()])
    connection.sendall(data[sent:])


def _stopped(pids: Iterable[int]) -> set[int]:
    """Return those processes that are stopped and stay so for `STOPPED_S` seconds."""
    due = time.monotonic() + STOPPED_S
    stopped = {pid for pid in pids if _is_stopped(pid)}
    while stopped and time.monotonic() < due:
        time.sleep(0.01)
        stopped = {pid for pid in stopped if _is_stopped(pid)}
    return stopped


def _is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal or a debugger."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False
