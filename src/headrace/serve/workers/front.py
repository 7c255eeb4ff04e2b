"""The front of a server with several web workers: it forks them, starts one again that has ended, and ends them all.

It forks instead of starting programs: all modules are imported already, so a worker starts within milliseconds, also
when it is started again, and the workers share the memory of the modules. Forking is safe because the front has no
event loop, no open ledger and no thread that works: the command's thread waits for signals, and the threads of Arrow
and its allocator, which have handlers for a fork, are idle.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn

from headrace.errors import ConfigError, text_of
from headrace.serve.live import FIRST_PAUSE_S, LONGEST_PAUSE_S
from headrace.serve.predictions.keeping import Say

BEAT_S = 2.0
"""How often a worker tells the front that its event loop runs, in seconds."""
SILENT_S = 30.0
"""After how many seconds without a beat a worker is killed. No request may take longer."""
END_S = 60.0
"""After how many seconds a worker is killed that was told to end. By then, it has given up what it still answers."""
LEFT = 3
"""The exit code of a command that was interrupted."""
_LOOK_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DIES_WITH_PARENT = 1  # prctl: a signal for this process when its parent ends


class Seat(NamedTuple):
    """What a worker knows of its place: its number, from 1 on, and how often it was started again. `line` is the pipe
    to the front."""

    number: int
    restarts: int
    line: int

    def beats(self) -> None:
        """Send the front a sign of life now, and again every `BEAT_S` seconds. The first sign means that the worker
        listens. Call this in the event loop."""
        with suppress(OSError):  # a front that is stopped doesn't read
            os.write(self.line, b".")
        asyncio.get_running_loop().call_later(BEAT_S, self.beats)


class _Worker:
    """A worker as the front sees it. `pid` is 0 while it doesn't run; it is started then at the time `due`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.restarts = 0
        self.pid = self.handle = self.line = 0
        self.began = self.heard = self.due = 0.0
        self.pause_s = FIRST_PAUSE_S
        self.listens = False

    def send(self, number: int) -> None:
        if self.pid:  # it isn't reaped yet, so no other process has its id
            os.kill(self.pid, number)


class Front:
    """Keeps `count` web workers running. A worker calls `work`, and ends when this returns. The workers listen on
    `sockets`; the front only keeps them open. `say` is called with messages about what happens, and `ready` once, when
    all workers listen. A worker that does nothing for `silent_s` seconds is killed."""

    def __init__(
        self,
        count: int,
        work: Callable[[Seat], None],
        sockets: Sequence[socket.socket],
        say: Say,
        ready: Callable[[], None],
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._work = work
        self._sockets = sockets
        self._say = say
        self._ready: Callable[[], None] | None = ready
        self._selector = selectors.DefaultSelector()
        self._silent_s = silent_s
        self._ends: float | None = None
        self._looked = time.monotonic()

    def run(self) -> None:
        """Keep the workers running until SIGINT or SIGTERM comes. Then let them answer what they have, and return when
        they have ended. A second signal ends all at once, and this process too.

        Raises:
            ConfigError: a worker can't be started, or ends before all listen.
        """
        gc.freeze()  # what is there stays in memory that the workers share
        with self._signals() as told:
            self._selector.register(told, selectors.EVENT_READ, lambda: self._hear(told))
            try:
                for worker in self._workers:
                    self._start(worker)
                while self._ends is None or any(worker.pid for worker in self._workers):
                    for key, _ in self._selector.select(min(_LOOK_S, self._silent_s / 4)):
                        key.data()
                    self._look(time.monotonic())
            finally:
                for worker in self._workers:
                    worker.send(signal.SIGKILL)
                self._selector.close()

    # -- what happens --------------------------------------------------------------------------------------------

    def _hear(self, told: socket.socket) -> None:
        for number in told.recv(64):
            if number in _SIGNALS:
                self._end()

    def _end(self) -> None:
        """Signal all workers to end. A second call kills them at once, which loses nothing that was logged."""
        if self._ends is not None:
            self._say("left without waiting any longer")
            for worker in self._workers:
                worker.send(signal.SIGKILL)
            os._exit(LEFT)
        self._ends = time.monotonic() + END_S
        for each in self._sockets:
            each.close()
        for worker in self._workers:
            worker.send(signal.SIGTERM)
            worker.send(signal.SIGCONT)  # one that is stopped would hear nothing

    def _beats(self, worker: _Worker) -> None:
        if not worker.pid:  # it has ended in this very moment
            return
        with suppress(BlockingIOError):
            if os.read(worker.line, 64):
                worker.heard, worker.listens = time.monotonic(), True
        if self._ready is not None and all(each.listens for each in self._workers):
            self._ready()
            self._ready = None

    def _ended(self, worker: _Worker) -> None:
        _, status = os.waitpid(worker.pid, 0)
        for each in (worker.handle, worker.line):
            self._selector.unregister(each)
            os.close(each)
        worker.pid = 0
        if self._ends is not None:
            return
        why = _why(os.waitstatus_to_exitcode(status))
        if self._ready is not None:
            raise ConfigError(
                f"web worker {worker.number} of the server {why} before all of them listened",
                hint="see this worker's last messages above; `--workers 1` serves without web workers",
            )
        self._again(worker, f"web worker {worker.number} {why}")

    def _again(self, worker: _Worker, why: str) -> None:
        """Schedule the restart of a worker. Each failure doubles the pause before it, as for model processes."""
        now = time.monotonic()
        if now - worker.began > LONGEST_PAUSE_S:
            worker.pause_s = FIRST_PAUSE_S
        self._say(f"{why}; it is started again in {worker.pause_s:g} s")
        worker.due = now + worker.pause_s
        worker.pause_s = min(2 * worker.pause_s, LONGEST_PAUSE_S)

    def _look(self, now: float) -> None:
        """Kill workers that are silent for too long, and start those again whose pause is over."""
        if now - self._looked > self._silent_s / 2:  # this process was stopped, and so perhaps were all
            for worker in self._workers:
                worker.heard = now
        self._looked = now
        for worker in self._workers:
            if worker.pid and self._ends is not None:
                if now > self._ends:
                    worker.send(signal.SIGKILL)
            elif worker.pid and now - worker.heard > self._silent_s:
                self._say(f"web worker {worker.number} has done nothing for {self._silent_s:g} s, so it is killed")
                worker.heard = now
                worker.send(signal.SIGKILL)
            elif not worker.pid and self._ends is None and now >= worker.due:
                worker.restarts += 1
                try:
                    self._start(worker)
                except ConfigError as error:
                    worker.began = now
                    self._again(worker, error.message)

    # -- processes -----------------------------------------------------------------------------------------------

    def _start(self, worker: _Worker) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        seat, parent = Seat(worker.number, worker.restarts, writing), os.getpid()
        # Until the worker has let go of the front's signals, one for it would reach the front.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                self._be(seat, parent, reading, mask)
        except OSError as error:
            os.close(reading)
            raise ConfigError(
                f"web worker {worker.number} can't be started: {error.strerror}",
                hint="check the limit on the number of processes",
            ) from error
        finally:
            os.close(writing)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        worker.pid, worker.handle, worker.line = pid, os.pidfd_open(pid), reading
        worker.began = worker.heard = time.monotonic()
        self._selector.register(worker.handle, selectors.EVENT_READ, lambda: self._ended(worker))
        self._selector.register(worker.line, selectors.EVENT_READ, lambda: self._beats(worker))

    def _be(self, seat: Seat, parent: int, reading: int, mask: set[int | signal.Signals]) -> NoReturn:
        """Be a worker, in the new process."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it has ended before
                os._exit(code)
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            self._selector.close()
            os.close(reading)
            self._work(seat)
            code = 0
        except Exception as error:  # noqa: BLE001  whatever it is, the front goes on
            self._say(text_of(error))
        finally:
            sys.stderr.flush()
            os._exit(code)  # what the command does at its end is the front's

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Yield a socket that has a byte for each signal."""
        told, tells = socket.socketpair()
        with told, tells:
            tells.setblocking(False)
            before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
            handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
            try:
                yield told
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(before)


def _why(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"
