"""The local backend: a pool that is this machine. Implements `run.ports.Backend`."""

from __future__ import annotations

import select
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from headrace.backends.local.leftover import end_leftovers, spilled
from headrace.backends.local.line import Line
from headrace.backends.local.spawn import Spawned, spawn
from headrace.errors import BackendError
from headrace.run.ports import Beat, Died, Heard, Job, Notice
from headrace.run.wire import Down, Ended, Fork, Hello, Kill, Pulse, Quit, Ready, decode_news, decode_up, frame
from headrace.spec.fleet import Pool

GRACE_S = 5.0
TRIES = 3
START_S = 60.0
"""How long a zygote may take to come up. Where it doesn't, its namespace may have been killed half made."""
_SIGNALS = {
    signal.SIGKILL: "it was killed (signal 9); the kernel does so when memory runs out",
    signal.SIGSEGV: "it crashed: a segmentation fault (signal 11)",
    signal.SIGABRT: "it aborted itself (signal 6)",
    signal.SIGBUS: "it crashed: a bus error (signal 7)",
}


class LocalBackend:
    """Workers of one run on this machine, forked by a zygote that watches them.

    `prefix` are the words of a namespace, `grace_s` is how long an attempt may take to stop.
    """

    def __init__(
        self,
        pool: Pool,
        hello: Hello,
        *,
        prefix: Sequence[str] = (),
        spawned: Spawned | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.pool = pool
        self._hello = hello
        self._prefix = prefix
        self._grace_s = grace_s
        self._selector = selectors.DefaultSelector()
        self._lines: dict[int, Line] = {}
        self._notices: list[Notice] = []
        self._doomed: dict[int, float] = {}
        self._quitting: set[int] = set()
        self._babbling: set[int] = set()
        self._zygote: Spawned | None = None
        self._control: Line | None = None
        self._ready_by: float | None = None
        if spawned is not None:
            self._use(spawned)

    # -- the port ------------------------------------------------------------------------------------------------

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin workers; the zygote with the first, and again where it has died."""
        for job in jobs:
            for _ in range(TRIES):
                if self._zygote is None:
                    self._use(spawn(self._prefix))
                if self._zygote is not None and self._begin(job):
                    break
                self._lose_zygote()
            else:
                raise BackendError(
                    f"pool `{self.pool.name}` can't begin a worker: the process that begins them dies at once",
                    hint="`headrace doctor` checks this machine",
                )

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker; to one that is gone they mean nothing."""
        line = self._lines.get(worker)
        if line is None:
            return
        line.send(b"".join([frame(message) for message in messages]))
        if any(isinstance(message, Quit) for message in messages):
            self._quitting.add(worker)
        self._listen(worker, line)

    def events(self, timeout_s: float) -> list[Notice]:
        """Wait for something to happen, up to `timeout_s`; give all that has."""
        if self._zygote is None and not self._notices:
            time.sleep(timeout_s)
            return []
        for key, mask in self._selector.select(0 if self._notices else self._patience(timeout_s)):
            if key.data == _CONTROL:
                self._hear_zygote()
                continue
            line = self._lines.get(key.data)
            if line is None:
                continue
            if mask & selectors.EVENT_WRITE:
                line.push()
                self._listen(key.data, line)
            if mask & selectors.EVENT_READ:
                self._hear(key.data, line)
        self._end_doomed()
        if self._ready_by is not None and time.monotonic() > self._ready_by:
            self._lose_zygote(f"the process that begins workers has not come up in {START_S:g} s")
        notices, self._notices = self._notices, []
        return notices

    def adopt(self) -> Iterable[Heard]:
        """End what an earlier driver's workers left, after a little patience, and give what they had spilled."""
        store = Path(self._hello.store)
        end_leftovers(store / "workers" / self._hello.run)
        return spilled(store / "spool" / self._hello.run)

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End some workers, or everything. Unless `now`, an attempt is asked to stop first, and given a little time."""
        for worker in list(self._lines if workers is None else workers):
            if worker in self._lines:
                self._signal(worker, signal.SIGKILL if now else signal.SIGTERM)
                self._doomed.setdefault(worker, time.monotonic() + self._grace_s)
        if workers is not None:
            return
        if self._zygote is not None:
            self._leave(self._zygote)
        store, run = Path(self._hello.store), self._hello.run
        for place in ("workers", "scratch") if now else ("workers", "scratch", "spool"):
            shutil.rmtree(store / place / run, ignore_errors=True)

    def abandon(self) -> None:
        """Let go of everything without a word, as a driver does that is killed."""
        for line in self._lines.values():
            line.socket.close()
        self._lines.clear()
        if self._zygote is not None:
            self._zygote.control.close()
        self._selector.close()
        self._zygote = self._control = None

    # -- inside --------------------------------------------------------------------------------------------------

    def _use(self, spawned: Spawned) -> None:
        """Take a zygote that was begun, unless it is dead already."""
        try:
            spawned.control.sendall(frame(self._hello))
        except OSError:
            spawned.discard()
            return
        self._zygote = spawned
        self._control = Line(spawned.control)
        self._ready_by = time.monotonic() + START_S
        self._selector.register(spawned.control, selectors.EVENT_READ, _CONTROL)

    def _patience(self, timeout_s: float) -> float:
        """How long to wait for something to happen: no longer than a zygote may take to come up."""
        return timeout_s if self._ready_by is None else min(timeout_s, max(0.0, self._ready_by - time.monotonic()))

    def _begin(self, job: Job) -> bool:
        """Have the zygote begin a worker; say whether it was told."""
        ours, theirs = socket.socketpair()
        need = job.resources
        try:
            self._order(Fork(job.worker, job.tracer, need.cpu, need.memory_gib, need.gpus), theirs)
        except OSError:
            ours.close()
            return False
        finally:
            theirs.close()
        self._lines[job.worker] = Line(ours)
        self._selector.register(ours, selectors.EVENT_READ, job.worker)
        return True

    def _order(self, order: Fork | Kill, beside: socket.socket | None = None) -> None:
        """Tell the zygote something. While it can't take more, hear what it says: it may be waiting for that.

        Raises:
            OSError: it is dead.
        """
        data = frame(order)
        while self._control is not None:
            try:
                if beside is None:
                    self._control.socket.send(data)
                else:
                    socket.send_fds(self._control.socket, [data], [beside.fileno()])
                return
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._control.socket, select.POLLIN | select.POLLOUT)
                if any(ready & select.POLLIN for _, ready in poll.poll()):
                    self._hear_zygote()
        raise ConnectionResetError

    def _signal(self, worker: int, number: int) -> None:
        if worker in self._lines:
            with suppress(OSError):  # that the zygote is dead is heard from its own line
                self._order(Kill(worker, number))

    def _listen(self, worker: int, line: Line) -> None:
        """Ask to be told when more can be sent, exactly while something is left."""
        if line.closed:
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.waits else 0)
        if self._selector.get_key(line.socket).events != mask:
            self._selector.modify(line.socket, mask, worker)

    def _hear(self, worker: int, line: Line) -> None:
        self._take(worker, line)
        if line.closed:
            self._selector.unregister(line.socket)  # its end proves nothing: the zygote tells of its death

    def _take(self, worker: int, line: Line) -> None:
        """Note what has arrived from a worker; one whose code has written what is no message is ended."""
        try:
            for body in line.read():
                self._notices.append(Heard(worker, decode_up(body)))
        except (ValueError, msgspec.MsgspecError):
            line.closed = True
            self._babbling.add(worker)
            self._signal(worker, signal.SIGKILL)

    def _hear_zygote(self) -> None:
        assert self._control is not None
        for body in self._control.read():
            match decode_news(body):
                case Ready():
                    self._ready_by = None
                case Ended() as ended:
                    self._ended(ended)
                case Pulse(worker=worker, done=done, since=since, memory_gib=memory):
                    self._notices.append(Beat(worker, done, since, memory, 0.0))
        if self._control.closed:
            self._lose_zygote()

    def _lose_zygote(self, why: str = "the process that begins workers has died") -> None:
        """The zygote is dead, or as good as that, and so will be its workers."""
        if self._zygote is None or self._control is None:
            return
        self._selector.unregister(self._control.socket)
        why = _with(why, self._zygote.last_words())
        for worker in list(self._lines):
            self._forget(worker, Died(worker, "lost", why))
        self._zygote.discard()
        self._zygote = self._control = self._ready_by = None
        end_leftovers(Path(self._hello.store) / "workers" / self._hello.run, patience_s=0.0)

    def _ended(self, ended: Ended) -> None:
        """A worker is dead: hear the last of what it sent, then say so."""
        if ended.worker not in self._lines:
            return
        if ended.memory:
            died = Died(ended.worker, "memory", ended.memory)
        elif ended.worker in self._babbling:
            died = Died(ended.worker, "crash", "its code wrote to the line between worker and driver, and was ended")
        elif ended.worker in self._doomed:
            died = Died(ended.worker, "cancelled", "it was stopped")
        elif ended.worker in self._quitting and ended.status == 0:
            died = Died(ended.worker, "cancelled", "it left as it was told to")
        else:
            # Python, when an exception ends it, says which and gives 1.
            more = self._zygote.last_words() if self._zygote is not None and ended.status == 1 else ""
            died = Died(ended.worker, "crash", _with(_words(ended.status), more))
        self._forget(ended.worker, died)

    def _forget(self, worker: int, died: Died) -> None:
        line = self._lines.pop(worker)
        self._doomed.pop(worker, None)
        self._quitting.discard(worker)
        self._babbling.discard(worker)
        if not line.closed:
            self._take(worker, line)
        if line.socket in self._selector.get_map():
            self._selector.unregister(line.socket)
        line.socket.close()
        self._notices.append(died)

    def _end_doomed(self) -> None:
        now = time.monotonic()
        for worker, due in list(self._doomed.items()):
            if now >= due:
                self._signal(worker, signal.SIGKILL)
                self._doomed[worker] = now + self._grace_s

    def _leave(self, zygote: Spawned) -> None:
        """Wait for the workers to leave, end those that don't, and reap the zygote."""
        due = time.monotonic() + self._grace_s + GRACE_S
        while self._lines and self._zygote is not None and time.monotonic() < due:
            self.events(0.05)
        self._selector.close()
        zygote.leave()
        self._zygote = self._control = None


_CONTROL = -1


def _with(what: str, words: str) -> str:
    return f"{what}: {words}" if words else what


def _words(status: int) -> str:
    if status >= 0:
        return f"it ended its own process, with exit code {status}"
    return _SIGNALS.get(signal.Signals(-status), f"it was ended by signal {-status}")
