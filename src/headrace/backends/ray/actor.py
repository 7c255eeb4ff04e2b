"""The actor: it reserves a worker's resources on a node of the cluster, starts the worker and carries its messages.

The actor runs in Ray's own Python process. The worker is a separate process of Headrace, forked by a zygote as on any
machine, and the worker's outputs go to the region's store.

An actor outlives its driver. For the next driver, it keeps all reports that no driver has acknowledged. The next driver
takes the actor over with a higher epoch. From then on, the actor ignores drivers with a lower epoch.

If no driver calls an actor for a while, the actor lets its worker leave as soon as the worker is idle. The worker then
writes (spills) its unacknowledged reports to the store.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import ray
from msgspec.structs import replace

from headrace.backends.processes.channel import Channel
from headrace.backends.processes.environment_variables import own, seen, withheld
from headrace.backends.processes.exit_cause import death, overdue, with_words
from headrace.backends.processes.namespace import Namespace, works
from headrace.backends.processes.orphans import MARKED, end_orphans, note_mark
from headrace.backends.processes.spawn import Spawned, spawn
from headrace.backends.ray.backlog import Backlog
from headrace.backends.ray.messages import Charge, Taken, decode_charge, encode
from headrace.run.events import Failed, Moved, Succeeded, decode_event
from headrace.run.ports import STOPPED, Died
from headrace.run.wire import (
    Ack,
    Do,
    Drop,
    Ended,
    Fork,
    Frames,
    Hello,
    Kill,
    Move,
    Pulse,
    Quit,
    Report,
    Waiting,
    Whisper,
    decode_down,
    decode_news,
    decode_up,
    frame,
)
from headrace.spec.graph import Arg, secrets

LOOK_S = 1.0
LINGER_S = 0.005
START_S = 60.0
LEAVE_S = 60.0
"""How long a worker without a driver may take to spill its reports and leave, in seconds."""


class Actor:
    """The Ray actor of one worker and its zygote. Its methods run on one event loop, so only one method runs at a
    time."""

    def __init__(self, needed: str, charge: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._backlog, self._frames = Backlog(), Frames()
        self._heard_at = time.monotonic()
        self._epoch = -1
        self._told = self._done = 0
        self._early: dict[int, bytes] = {}
        self._attempts: list[tuple[str, int]] = []
        self._secrets: set[str] = set()
        self._doomed = ""  # why the worker ends, once the driver has told it to
        self._ready = self._quitting = self._babbling = self._leaving = False
        self._zygote: Spawned | None = None
        self._control: Channel | None = None
        self._line: Channel | None = None
        here = version("headrace")
        if needed != here:
            self._backlog.die(_mismatch(needed, here))
            self._loop.call_later(LEAVE_S, os._exit, 0)
            return
        self._charge = decode_charge(charge)
        self._epoch = self._charge.epoch
        if self._charge.namespace == "on" and not works(closed=True):
            host = socket.gethostname()
            why = f'node `{host}` can\'t make the namespace that the pool requires by namespace = "on"'
            self._backlog.die(Died(0, "refused", why, 'install `bubblewrap` there, or set namespace = "auto"'))
            self._loop.call_later(LOOK_S, self._look)
            return
        try:
            self._begin(self._charge)
        except OSError as error:
            self._backlog.die(Died(0, "lost", f"it can't be started on `{socket.gethostname()}`: {error}"))
        self._loop.call_later(LOOK_S, self._look)

    # -- what the driver calls -----------------------------------------------------------------------------------

    async def hear(self, epoch: int, after: int, wait_s: float) -> bytes | None:
        """Return the worker's messages whose number is higher than `after`. If there is none, wait up to `wait_s`
        seconds.

        Return None if a newer driver has taken over the actor.
        """
        if not self._heeds(epoch):
            return None
        if await self._backlog.wait(after, wait_s) and self._attempts and self._backlog.died is None:
            await asyncio.sleep(LINGER_S)  # the worker has more attempts, so more messages will come soon
        return encode(self._backlog.news(after)) if self._heeds(epoch) else None

    async def tell(self, epoch: int, number: int, data: bytes) -> bool | None:
        """Pass the messages in `data` on to the worker when all lower numbers have been passed on. Ignore them if
        `number` was passed on already.

        Return True, or None if a newer driver has taken over the actor.
        """
        if not self._heeds(epoch):
            return None
        if number > self._told:
            self._early[number] = data
        while (ready := self._early.pop(self._told + 1, None)) is not None:
            self._told += 1
            self._pass(ready)
        return True

    async def take(self, epoch: int) -> bytes | None:
        """Switch to a new driver and return the state of the actor. If a driver with a higher epoch has the actor,
        return None."""
        if epoch < self._epoch:
            return None
        self._epoch = epoch
        self._heard_at = time.monotonic()
        self._early.clear()  # messages of the earlier driver: the new driver uses their numbers for its own messages
        self._backlog.wake()
        leaving = self._leaving or self._doomed != "" or self._quitting or self._backlog.died is not None
        job, attempts = self._charge.job, tuple(self._attempts)
        return encode(Taken(job, attempts, self._done, self._told, leaving, self._backlog.news(0)))

    async def end(self, epoch: int, now: bool) -> bool | None:
        """End the worker: kill it if `now`, otherwise ask it to stop and kill it after the grace time.

        Return True, or None if a newer driver has taken over the actor.
        """
        if not self._heeds(epoch):
            return None
        self._doomed = self._doomed or STOPPED
        self._signal(signal.SIGKILL if now else signal.SIGTERM)
        if not now:
            self._loop.call_later(self._charge.grace_s, self._kill, overdue(self._charge.grace_s))
        return True

    async def leave(self, epoch: int) -> None:
        """End the worker if it is alive, and then end this actor. Do nothing if a newer driver has taken over the
        actor."""
        if self._heeds(epoch):
            self._kill(STOPPED)
            await self._backlog.death()
            self._bury()
            ray.actor.exit_actor()

    def _kill(self, why: str) -> None:
        self._doomed = why
        self._signal(signal.SIGKILL)

    def _heeds(self, epoch: int) -> bool:
        if epoch != self._epoch and self._epoch >= 0:
            return False
        self._heard_at = time.monotonic()
        return True

    # -- the worker ----------------------------------------------------------------------------------------------

    def _begin(self, charge: Charge) -> None:
        """Start a zygote, and order it to start the worker."""
        names = charge.hello.variables
        hello = replace(
            charge.hello,
            local=_local(charge.hello),
            bound=True,
            group=charge.job.environment,
            own=own(os.environ),
            withheld=tuple({*charge.hello.withheld, *withheld(os.environ, names)}),
        )
        os.environ["HEADRACE_RUN"] = hello.run
        if os.environ.get("PYTHONBREAKPOINT", "").startswith("ray."):
            del os.environ["PYTHONBREAKPOINT"]  # set by Ray, which the worker's Python may not have
        if hello.local != charge.hello.local:
            _make_own(Path(hello.local))
        end_orphans(self._notes)  # processes of the run on this machine that have outlived their actor
        self._zygote = spawn(seen(os.environ, (*names, "HEADRACE_RUN")), _prefix(charge, hello.local))
        note_mark(self._notes, self._zygote)
        self._zygote.control.sendall(frame(hello))
        job = charge.job
        ours, theirs = socket.socketpair()
        fork = Fork(job.worker, job.role, job.resources)
        socket.send_fds(self._zygote.control, [frame(fork)], [theirs.fileno()])
        theirs.close()
        self._control, self._line = Channel(self._zygote.control), Channel(ours)
        self._loop.add_reader(self._control.socket, self._hear_zygote)
        self._loop.add_reader(ours, self._hear_worker)
        self._loop.call_later(START_S, self._check_ready)

    def _pass(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            match decode_down(body):
                case Do(task=task, attempt=attempt, args=args):
                    self._attempts.append((task, attempt))
                    data = b"".join([*map(frame, self._own_secrets(args)), data])
                case Move(task=task, attempt=attempt):
                    self._attempts.append((task, attempt))
                case Whisper(name=name):
                    self._secrets.add(name)
                case Drop(task=task, attempt=attempt):
                    self._finished(task, attempt)
                case Ack(seq=seq):
                    self._backlog.acknowledged = max(self._backlog.acknowledged, seq)
                case Quit():
                    self._quitting = True
                case _:
                    pass
        if self._line is not None:
            self._line.send(data)
            self._listen(self._line)

    def _own_secrets(self, args: Iterable[tuple[str, Arg]]) -> Iterator[Whisper]:
        """Yield the secrets that the arguments name, if the driver lacks them and this node's environment has them."""
        for name in {name for _, arg in args for name in secrets(arg)} - self._secrets:
            if (value := os.environ.get(name)) is not None:
                self._secrets.add(name)
                yield Whisper(name, value)

    def _listen(self, line: Channel) -> None:
        """Call `_push` as soon as a socket with unsent data can take more."""
        if line.waits and not line.closed:
            self._loop.add_writer(line.socket, self._push, line)
        else:
            self._loop.remove_writer(line.socket)

    def _push(self, line: Channel) -> None:
        line.push()
        self._listen(line)

    def _hear_worker(self) -> None:
        if (line := self._line) is None:
            return
        try:
            for body in line.read():
                message = decode_up(body)
                if isinstance(message, Report):
                    self._note(message)
                    self._backlog.say(body, message.seq)
                else:
                    self._backlog.say(body)
        except (ValueError, msgspec.MsgspecError):
            line.closed = self._babbling = True
            self._signal(signal.SIGKILL)
        if line.closed:
            self._drop_line()  # the worker may be alive still: the zygote reports its death

    def _note(self, report: Report) -> None:
        event = decode_event(report.body)
        if isinstance(event, Succeeded | Moved | Failed):
            self._done += 1
            self._finished(event.task, event.attempt)

    def _finished(self, task: str, attempt: int) -> None:
        if (task, attempt) in self._attempts:
            self._attempts.remove((task, attempt))

    def _hear_zygote(self) -> None:
        control = self._control
        if control is None:
            return
        for body in control.read():
            match decode_news(body):
                case Ended() as ended:
                    self._ended(ended)
                case Pulse(done=done, since=since, memory_gib=memory):
                    self._backlog.beat(done, since, memory)
                case Waiting():
                    self._ready = True
                    self._backlog.say(body)
                case _:
                    self._ready = True
        if control.closed:
            self._lose_zygote("the process that starts it has died")

    def _ended(self, ended: Ended) -> None:
        """Handle the end of the worker: read its last messages, then tell the driver."""
        self._hear_worker()
        words = self._zygote.last_words() if self._zygote is not None and ended.status == 1 else ""
        died = death(ended, babbled=self._babbling, doomed=self._doomed, quitting=self._quitting, last_words=words)
        if self._leaving:
            died = Died(ended.worker, "lost", "it has left, because no driver had called it for a while")
        self._drop_line()
        self._backlog.die(died)

    def _lose_zygote(self, why: str) -> None:
        if self._control is None or self._zygote is None:
            return
        self._loop.remove_reader(self._control.socket)
        why = with_words(why, self._zygote.last_words())
        self._zygote.discard()
        end_orphans(self._notes)
        self._control = None
        self._drop_line()
        if self._backlog.died is None:
            self._backlog.die(Died(0, "lost", why))

    def _check_ready(self) -> None:
        if not self._ready and self._backlog.died is None and self._zygote is not None:
            os.kill(self._zygote.pid, signal.SIGKILL)
            self._lose_zygote(f"the process that starts it has not started within {START_S:g} s")

    def _signal(self, number: int) -> None:
        if self._control is not None and self._backlog.died is None:
            with suppress(OSError):  # the death of the zygote is noticed on its own channel
                self._control.send(frame(Kill(self._charge.job.worker, number)))
                self._listen(self._control)

    def _drop_line(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._line.socket)
            self._loop.remove_writer(self._line.socket)
            self._line.socket.close()
            self._line = None

    @property
    def _notes(self) -> Path:
        """The folder of this machine with the notes about the run's processes."""
        return Path(self._charge.hello.notes(_local(self._charge.hello)))

    # -- its own end ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """If no driver has called for `patience_s` seconds, make the worker leave as soon as it is idle. This check
        runs every `LOOK_S` seconds."""
        self._loop.call_later(LOOK_S, self._look)
        if time.monotonic() - self._heard_at < self._charge.patience_s:
            return
        if self._backlog.died is not None:
            self._bury()
            os._exit(0)
        if not self._attempts and not self._leaving:
            self._leaving = True
            self._drop_line()  # the worker then spills its unacknowledged reports, and leaves
            self._loop.call_later(LEAVE_S, self._signal, signal.SIGKILL)

    def _bury(self) -> None:
        """Wait for the zygote to end. Then delete the notes about the zygote and the worker from the node's disk."""
        if self._zygote is None:
            return
        if self._control is not None:
            self._loop.remove_reader(self._control.socket)
        self._zygote.leave()
        self._zygote = self._control = None
        notes = self._notes
        end_orphans(notes)
        with suppress(OSError):
            for note in notes.iterdir():
                if not note.name.startswith(MARKED) and not Path("/proc", note.name.rpartition("-")[2]).exists():
                    note.unlink(missing_ok=True)
            notes.rmdir()
            notes.parent.rmdir()  # other pools of the run may have notes there too


def _mismatch(needed: str, here: str) -> Died:
    host = socket.gethostname()
    why = f"node `{host}` of the cluster has Headrace {here}, but the driver has {needed}: install the same version"
    return Died(0, "lost", why)


def _local(hello: Hello) -> str:
    """Return the folder for logs, scratch files and bundles on this node.

    This is the driver's folder if the node can see it. Otherwise it is a temporary folder on this node.
    """
    if Path(hello.local).is_dir():
        return hello.local
    return str(Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}")


def _make_own(folder: Path) -> None:
    """Make a folder in a place that all users can write to, such as `/tmp`, and check that only this user can write to
    the folder: it will hold code.

    Raises:
        PermissionError: the folder belongs to another user, or others may write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(
            errno.EPERM, "other users may write to this folder: remove it, or set TMPDIR to another folder", folder
        )


def _prefix(charge: Charge, local: str) -> list[str]:
    """Return the arguments that start the worker's namespace, or an empty list if the worker runs without one.

    Folders that the charge names but that don't exist on this node are left out.
    """
    if charge.namespace == "off" or not works(closed=charge.namespace == "on"):
        return []
    hidden, shown, others = map(_present, (charge.hidden, (*charge.shown, local), charge.readable))
    inside = tuple([folder for folder in shown if any(folder.is_relative_to(path) for path in (*hidden, *others))])
    readable = (*others, *_own_folders(charge, local))
    return Namespace(hidden=hidden, shown=inside, readable=readable, closed=charge.namespace == "on").command()


def _present(paths: Iterable[str]) -> tuple[Path, ...]:
    """Return the folders at those paths that exist on this node."""
    return tuple([folder for path in paths if (folder := Path(path)).is_dir()])


def _own_folders(charge: Charge, local: str) -> tuple[Path, ...]:
    """Return the folders that workers may read but not write: the bundle's code, and the notes about processes.

    If the bundle isn't on this node, fetch it first. If that fails, return no folders: without the bundle,
    the worker can't start, and it reports the reason.
    """
    folders = Path(local, "bundles"), Path(local, "workers")
    with suppress(OSError, subprocess.SubprocessError):
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if not (folders[0] / charge.hello.bundle.digest).is_dir():
            words = [sys.executable, "-P", "-m", "headrace.work.archive"]  # the actor's process itself opens no store
            order = frame(replace(charge.hello, local=local))[4:]
            subprocess.run(words, input=order, check=True, timeout=START_S, capture_output=True)
        return folders
    return ()


def remote() -> Any:
    """Return `Actor` as a class of Ray: Ray can start only such classes on the cluster."""
    return ray.remote(Actor)
