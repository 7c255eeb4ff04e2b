"""The local backend: a pool that is this machine. Implements `run.ports.Backend`."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from headrace.backends.local.parent import QUIET_S, SILENT_S, START_S, Parent, patience
from headrace.backends.local.takeover import listen, take_over
from headrace.backends.processes.channel import Channel
from headrace.backends.processes.environment_variables import own, seen
from headrace.backends.processes.exit_cause import death, overdue, with_words
from headrace.backends.processes.orphans import end_leftovers, note_mark
from headrace.backends.processes.spawn import Spawned, spawn
from headrace.errors import BackendError
from headrace.run.ports import STOPPED, Alive, Beat, Delayed, Died, Heard, Job, Notice, Spool
from headrace.run.spilled import spilled
from headrace.run.wire import (
    Down,
    Ended,
    Fork,
    Hello,
    Kill,
    Listen,
    Pulse,
    Quit,
    Ready,
    Report,
    Up,
    Waiting,
    decode_news,
    decode_up,
    frame,
)
from headrace.spec.fleet import Pool
from headrace.waits import poll, waiting

AHEAD_S = 0.010
GRACE_S = 5.0
TRIES = 3


class LocalBackend:
    """The workers of one run on this machine. A zygote for each environment forks the workers and watches them.

    `epoch` is the epoch of the run's lease: only a driver with a higher epoch can take over the workers. `spool` is the
    place in the region's store to which workers without a driver write their reports. `prefix` are the arguments that
    start a namespace (empty: no namespace). `spawned` is a zygote that has already been started, for the first
    environment (None: there is no such zygote). `grace_s` is how long an attempt may take to stop, in seconds.
    """

    def __init__(
        self,
        pool: Pool,
        hello: Hello,
        spool: Spool,
        *,
        epoch: int = 0,
        prefix: Sequence[str] = (),
        spawned: Spawned | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.pool = pool
        self.ahead_s = AHEAD_S
        self._hello = hello
        self._spool = spool
        self._epoch = epoch
        self._prefix = prefix
        self.grace_s = grace_s
        self._selector = selectors.DefaultSelector()
        self._lines: dict[int, Channel] = {}
        self._notices: list[Notice] = []
        self._doomed: dict[int, tuple[float, str]] = {}  # when a worker is killed, and why it ends
        self._quitting: set[int] = set()
        self._babbling: set[int] = set()
        self._parents: set[Parent] = set()
        self._beginners: dict[str | None, Parent] = {}  # by environment; none of them comes from an earlier driver
        self._repeated: dict[int, int] = {}
        self._parent_of: dict[int, Parent] = {}
        self._listened_at = time.monotonic()
        self._begun = spawned  # its run isn't noted yet: `adopt` would end it as a zygote of an earlier driver

    # -- the port ------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the selector's descriptor. It is readable if a worker or a zygote has sent something."""
        return self._selector.fileno()

    def start(self, jobs: Sequence[Job]) -> None:
        """Start workers. If an environment has no living zygote, first start one.

        Raises:
            BackendError: this machine allows no more processes or open files, or new zygotes die at once.
        """
        for job in jobs:
            try:
                self._start(job)
            except OSError as error:
                raise BackendError(
                    f"pool `{self.pool.name}` can't start a worker: {error.strerror or error}",
                    hint="`ulimit -a` shows the limits on processes and open files: raise them, or give the pool less"
                    " cpu, so that fewer attempts run at once",
                ) from error

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker. Do nothing if the worker has ended."""
        line = self._lines.get(worker)
        if line is None:
            return
        line.send(b"".join([frame(message) for message in messages]))
        if any(isinstance(message, Quit) for message in messages):
            self._quitting.add(worker)
        self._listen(worker, line)

    def events(self, timeout_s: float) -> list[Notice]:
        """Return what has happened to workers since the last call. If nothing has happened, wait up to `timeout_s` for
        news."""
        if not self._parents and not self._notices:
            time.sleep(timeout_s)
            return []
        for key, mask in poll(self._selector, 0 if self._notices else patience(self._parents, timeout_s)):
            if isinstance(key.data, Parent):
                self._hear_parent(key.data)
                continue
            line = self._lines.get(key.data)
            if line is None:
                continue
            if mask & selectors.EVENT_WRITE:
                line.push()
                self._listen(key.data, line)
            if mask & selectors.EVENT_READ:
                self._hear(key.data, line)
        now = time.monotonic()
        for parent in self._parents:
            parent.listened(now - self._listened_at)
        self._listened_at = now
        self._end_doomed()
        for parent in [*self._parents]:
            if parent.ready_by is not None and now > parent.ready_by:
                self._lose(parent, f"the process that starts workers has not started within {START_S:g} s")
            elif parent.silent_s > SILENT_S:
                self._lose(parent, f"the process that starts workers has sent nothing for {SILENT_S:g} s")
        notices, self._notices = self._notices, []
        return notices

    def adopt(self) -> Iterator[Heard | Alive]:
        """Take over the workers that an earlier driver left alive, if their zygotes answer. After a short wait, end all
        other workers.

        For each worker, yield its reports that no driver has stored, then an `Alive` if the worker was taken over. At
        the end, yield the reports that workers spilled.
        """
        heirs, others = take_over(self._notes, self._epoch)
        end_leftovers(self._notes, spare=[*others, *((heir.pid, heir.spawned.mark) for heir in heirs)])
        heard: dict[int, int] = {}
        for heir in heirs:
            parent = Parent(heir.spawned, heir.pid)  # it begins no further workers: they might get older settings
            self._parents.add(parent)
            self._selector.register(parent.control.socket, selectors.EVENT_READ, parent)
            for kept, line in heir.workers:
                worker = kept.job.worker
                for report in kept.reports:
                    heard[worker] = report.seq
                    yield Heard(worker, report)
                if line is not None:
                    self._add(worker, parent, line)
                    self._repeated[worker] = heard.get(worker, 0)
                    yield Alive(kept.job, () if kept.attempt is None else (kept.attempt,), kept.done)
            if not parent.workers:
                self._unwatch(parent)
                parent.spawned.leave()
        for spill in spilled(self._spool, self._hello.run):
            if isinstance(spill.message, Report) and spill.message.seq > heard.get(spill.worker, 0):
                yield spill

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End the given workers, or (None) all workers and the zygotes.

        If `now` is false, running attempts are asked to stop. Those that haven't stopped after `grace_s` are killed.
        """
        for worker in list(self._lines if workers is None else workers):
            if worker in self._lines:
                self._signal(worker, signal.SIGKILL if now else signal.SIGTERM)
                self._doomed.setdefault(worker, (time.monotonic() + self.grace_s, STOPPED))
        if workers is not None:
            return
        self._leave()
        if self._begun is not None:
            self._begun.leave()
        shutil.rmtree(self._notes, ignore_errors=True)
        with suppress(OSError):  # other pools of the run may have notes there too
            self._notes.parent.rmdir()
        shutil.rmtree(Path(self._hello.local) / "scratch" / self._hello.run, ignore_errors=True)
        if not now:
            self._spool.forget(self._hello.run)

    def abandon(self) -> None:
        """Close all sockets without ending workers, as if the driver had been killed."""
        for line in self._lines.values():
            line.socket.close()
        self._lines.clear()
        for parent in self._parents:
            parent.spawned.let_go()
        if self._begun is not None:
            self._begun.let_go()
        self._selector.close()
        self._parents.clear()
        self._beginners.clear()
        self._parent_of.clear()
        self._begun = None

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _notes(self) -> Path:
        """The folder with the notes about the run's processes in this pool."""
        return Path(self._hello.notes())

    def _start(self, job: Job) -> None:
        for _ in range(TRIES):
            parent = self._beginners.get(job.environment) or self._use(job.environment)
            if parent is not None and self._begin(parent, job):
                return
            if parent is not None:
                self._lose(parent)
        raise BackendError(
            f"pool `{self.pool.name}` can't start a worker: the process that starts workers dies at once",
            hint="`headrace doctor` checks this machine",
        )

    def _use(self, environment: str | None) -> Parent | None:
        """Return a zygote for the workers of an environment, or None if the zygote died at once.

        The first call uses the zygote `spawned`, if there is one. All other calls start a new zygote.
        """
        spawned, self._begun = self._begun or spawn(seen(os.environ, self._hello.variables), self._prefix), None
        try:
            note_mark(self._notes, spawned)
        except OSError:  # without its note, a later driver couldn't find its processes
            spawned.discard()
            raise
        hello = replace(self._hello, group=environment, own=own(os.environ))
        try:
            spawned.control.sendall(frame(hello))
            if (door := listen(self._notes, spawned.mark)) is not None:
                with door:
                    socket.send_fds(spawned.control, [frame(Listen(self._epoch))], [door.fileno()])
        except OSError:
            spawned.discard()
            return None
        parent = self._beginners[environment] = Parent(spawned)
        self._parents.add(parent)
        self._selector.register(spawned.control, selectors.EVENT_READ, parent)
        return parent

    def _begin(self, parent: Parent, job: Job) -> bool:
        """Ask a zygote to start a worker. Return False if the zygote is dead or reads no orders."""
        ours, theirs = socket.socketpair()
        try:
            fork = Fork(job.worker, job.role, job.resources)
            parent.order(fork, self._hear_parent, theirs)
        except OSError:
            ours.close()
            return False
        finally:
            theirs.close()
        self._add(job.worker, parent, ours)
        if parent.waits:
            self._notices.append(Delayed(job.worker, parent.waits))
        return True

    def _add(self, worker: int, parent: Parent, line: socket.socket) -> None:
        self._lines[worker] = Channel(line)
        self._parent_of[worker] = parent
        parent.workers.add(worker)
        self._selector.register(line, selectors.EVENT_READ, worker)

    def _signal(self, worker: int, number: int) -> None:
        if worker in self._lines:
            with suppress(OSError):  # the death of a zygote is noticed on its own channel
                self._parent_of[worker].order(Kill(worker, number), self._hear_parent)

    def _listen(self, worker: int, line: Channel) -> None:
        """Watch a worker's socket for reading, and also for writing while there are data left to send."""
        if line.closed:
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.waits else 0)
        if self._selector.get_key(line.socket).events != mask:
            self._selector.modify(line.socket, mask, worker)

    def _hear(self, worker: int, line: Channel) -> None:
        self._take(worker, line)
        if line.closed:
            self._selector.unregister(line.socket)  # the worker may be alive still: the zygote reports its death

    def _take(self, worker: int, line: Channel) -> None:
        """Read the messages that have arrived from a worker, and add them to the notices.

        If the worker's code has written something to the channel that isn't a message, kill the worker.
        """
        try:
            for body in line.read():
                message = decode_up(body)
                if worker not in self._repeated or not _repeats(self._repeated, worker, message):
                    self._notices.append(Heard(worker, message))
        except (ValueError, msgspec.MsgspecError):
            line.closed = True
            self._babbling.add(worker)
            self._signal(worker, signal.SIGKILL)

    def _hear_parent(self, parent: Parent) -> None:
        for body in parent.control.read():
            parent.silent_s = 0.0
            match decode_news(body):
                case Ready(pid=pid):
                    parent.pid, parent.ready_by = pid, None
                    self._delay(parent, "")
                case Waiting(why=why):
                    parent.ready_by = None
                    self._delay(parent, why)
                case Ended() as ended:
                    self._ended(ended, parent)
                case Pulse(worker=worker, done=done, since=since, memory_gib=memory) if worker in parent.workers:
                    self._notices.append(Beat(worker, done, since, memory, 0.0))
        if parent.control.closed:
            self._lose(parent)

    def _delay(self, parent: Parent, why: str) -> None:
        """Add a notice with `why` for each worker of a zygote, unless their last notice had the same `why`.

        `why` says what the workers wait for (empty: they no longer wait).
        """
        if parent.waits != why:
            parent.waits = why
            self._notices += [Delayed(worker, why) for worker in parent.workers]

    def _lose(self, parent: Parent, why: str = "the process that starts workers has died") -> None:
        """Kill a zygote that is dead or can't be used any more, and report its workers as lost."""
        if parent not in self._parents:
            return
        self._unwatch(parent)
        why = with_words(why, parent.spawned.last_words())
        for worker in list(parent.workers):
            self._forget(worker, Died(worker, "lost", why))
        parent.spawned.discard()
        end_leftovers(self._notes, patience_s=0.0, of=(parent.pid, parent.spawned.mark))

    def _ended(self, ended: Ended, parent: Parent) -> None:
        """Handle the end of a worker: take its last messages, then add the notice that it has died."""
        if ended.worker not in parent.workers:
            return
        worker = ended.worker
        died = death(
            ended,
            babbled=worker in self._babbling,
            doomed=self._doomed.get(worker, (0.0, ""))[1],
            quitting=worker in self._quitting,
            last_words=parent.spawned.last_words() if ended.status == 1 else "",
        )
        self._forget(ended.worker, died)
        if not parent.workers and (ended.unfit or parent not in self._beginners.values()):
            self._unwatch(parent)
            parent.spawned.leave()  # its workers can't start, or it came from an earlier driver and begins no more

    def _unwatch(self, parent: Parent) -> None:
        """Forget a zygote that is to end. The next worker of its environment gets a new zygote."""
        self._parents.discard(parent)
        self._beginners = {key: other for key, other in self._beginners.items() if other is not parent}
        self._selector.unregister(parent.control.socket)

    def _forget(self, worker: int, died: Died) -> None:
        line = self._lines.pop(worker)
        self._parent_of.pop(worker).workers.discard(worker)
        self._doomed.pop(worker, None)
        self._quitting.discard(worker)
        self._babbling.discard(worker)
        if not line.closed:
            self._take(worker, line)
        if line.socket in self._selector.get_map():
            self._selector.unregister(line.socket)
        line.socket.close()
        self._repeated.pop(worker, None)
        self._notices.append(died)

    def _end_doomed(self) -> None:
        now = time.monotonic()
        for worker, (due, _) in list(self._doomed.items()):
            if now < due or worker not in self._lines:
                continue
            parent = self._parent_of[worker]
            if parent.silent_s > QUIET_S:
                self._lose(parent, "the process that starts and ends workers doesn't answer any more")
            else:
                self._signal(worker, signal.SIGKILL)
                self._doomed[worker] = now + self.grace_s, overdue(self.grace_s)

    def _leave(self) -> None:
        """Wait for all workers to end, kill those that don't, and end the zygotes.

        If a zygote still waits, for example for its environment, its workers haven't started and count as cancelled.
        """
        for parent in self._parents:
            for worker in list(parent.workers) if parent.waits else ():
                self._forget(worker, Died(worker, "cancelled", "it had not started"))
        due = time.monotonic() + self.grace_s + GRACE_S
        with waiting("its workers to leave", due - time.monotonic()):
            while self._lines and time.monotonic() < due:
                self.events(0.05)
        for parent in [parent for parent in self._parents if parent.workers]:
            self._lose(parent)
        self._selector.close()
        for parent in self._parents:
            parent.spawned.leave()
        self._parents.clear()


def _repeats(repeated: dict[int, int], worker: int, message: Up) -> bool:
    """Return whether a worker's message is a report that `adopt` has already yielded.

    `repeated` maps a worker to the number of its last report that `adopt` has yielded. When the worker sends a later
    report, its entry is removed.
    """
    if not isinstance(message, Report):
        return False
    if message.seq <= repeated[worker]:
        return True
    del repeated[worker]
    return False
