"""The actor: on a node of the cluster, it holds a worker's resources, begins the worker and carries its messages.

It lives in Ray's own Python there, and does nothing but that: the worker is a process of ours, forked by a zygote as on
any machine, and what it makes goes to the region's store. An actor outlives its driver. It keeps what was not
acknowledged for the next one, which takes it over with a higher epoch; drivers of a lower one are not heeded any more.
One that nobody has heard for a while lets its worker go once that has nothing to do: the worker spills what nobody has
acknowledged to the store, and leaves.
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
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import ray
from msgspec.structs import replace

from headrace.backends.ending import death, with_words
from headrace.backends.leftover import MARKED, end_orphans, note_mark
from headrace.backends.line import Line
from headrace.backends.namespace import Namespace, works
from headrace.backends.ray.charge import Charge, Heard, Taken, decode_charge, encode
from headrace.backends.spawn import Spawned, spawn
from headrace.backends.variables import own, seen, withheld
from headrace.run.events import Failed, Moved, Succeeded, decode_event
from headrace.run.ports import Died
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
BEAT_S = 0.5
"""How often a beat is worth an answer of its own."""
START_S = 60.0
LEAVE_S = 60.0
"""How long a worker that nobody listens to may take to spill and leave."""


class Actor:
    """One worker and its zygote, as Ray calls it: its methods run in turns on one event loop."""

    def __init__(self, needed: str, charge: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._heard_at = time.monotonic()
        self._epoch = -1
        self._said: deque[tuple[int, int, bytes]] = deque()  # number, that of the report (0: it is none), body
        self._numbers = 0
        self._acknowledged = 0
        self._frames = Frames()
        self._told = 0
        self._early: dict[int, bytes] = {}
        self._attempts: list[tuple[str, int]] = []
        self._secrets: set[str] = set()
        self._done = 0
        self._beat: tuple[int, float, float] | None = None
        self._beaten = 0.0
        self._died: Died | None = None
        self._ready = self._doomed = self._quitting = self._babbling = self._leaving = False
        self._zygote: Spawned | None = None
        self._control: Line | None = None
        self._line: Line | None = None
        here = version("headrace")
        if needed != here:
            self._die(_mismatch(needed, here))
            self._loop.call_later(LEAVE_S, os._exit, 0)
            return
        self._charge = decode_charge(charge)
        self._epoch = self._charge.epoch
        if self._charge.namespace == "on" and not works(closed=True):
            host = socket.gethostname()
            why = f'node `{host}` can\'t have the namespace that the pool must have: namespace = "on"'
            self._die(Died(0, "refused", why, 'install `bubblewrap` there, or set namespace = "auto"'))
            self._loop.call_later(LOOK_S, self._look)
            return
        try:
            self._begin(self._charge)
        except OSError as error:
            self._die(Died(0, "lost", f"it can't be begun on `{socket.gethostname()}`: {error}"))
        self._loop.call_later(LOOK_S, self._look)

    # -- what the driver calls -----------------------------------------------------------------------------------

    async def hear(self, epoch: int, after: int, wait_s: float) -> bytes | None:
        """Give what was said after this number, as soon as there is something; None to one whose time is over."""
        if not self._heeds(epoch):
            return None
        self._forget(after)
        if not self._has_news(after):
            self._bell.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), wait_s)
            if self._attempts and self._died is None:
                await asyncio.sleep(LINGER_S)  # the worker has more to do, and will have more to say
        return encode(self._news(after)) if self._heeds(epoch) else None

    async def tell(self, epoch: int, number: int, data: bytes) -> bool | None:
        """Pass messages on to the worker: each number once, and in order, however often and when they come."""
        if not self._heeds(epoch):
            return None
        if number > self._told:
            self._early[number] = data
        while (ready := self._early.pop(self._told + 1, None)) is not None:
            self._told += 1
            self._pass(ready)
        return True

    async def take(self, epoch: int) -> bytes | None:
        """Be a new driver's from now on: give it all that it must know; None if a newer one has come before."""
        if epoch < self._epoch:
            return None
        self._epoch = epoch
        self._heard_at = time.monotonic()
        self._early.clear()  # of the driver before: its numbers are the new one's from here on
        self._bell.set()
        leaving = self._leaving or self._doomed or self._quitting or self._died is not None
        job, attempts = self._charge.job, tuple(self._attempts)
        return encode(Taken(job, attempts, self._done, self._told, leaving, self._news(0)))

    async def end(self, epoch: int, now: bool) -> bool | None:
        """End the worker."""
        if not self._heeds(epoch):
            return None
        self._doomed = True
        self._signal(signal.SIGKILL if now else signal.SIGTERM)
        if not now:
            self._loop.call_later(self._charge.grace_s, self._signal, signal.SIGKILL)
        return True

    async def leave(self, epoch: int) -> None:
        """End the worker if it lives, and then this."""
        if self._heeds(epoch):
            self._doomed = True
            self._signal(signal.SIGKILL)
            while self._died is None:
                self._bell.clear()
                await self._bell.wait()
            self._bury()
            ray.actor.exit_actor()

    # -- what the driver hears -----------------------------------------------------------------------------------

    def _heeds(self, epoch: int) -> bool:
        if epoch != self._epoch and self._epoch >= 0:
            return False
        self._heard_at = time.monotonic()
        return True

    def _forget(self, after: int) -> None:
        """Drop what has been heard, save reports that are not stored yet: another driver would have to hear them."""
        while self._said and self._said[0][0] <= after and self._said[0][1] <= self._acknowledged:
            self._said.popleft()

    def _has_news(self, after: int) -> bool:
        late = self._beat is not None and time.monotonic() - self._beaten >= BEAT_S
        return self._numbers > after or self._died is not None or late

    def _news(self, after: int) -> Heard:
        said = [(number, body) for number, _, body in self._said if number > after]
        beat, self._beat = self._beat, None
        self._beaten = time.monotonic() if beat is not None else self._beaten
        died = None if self._died is None else (self._died.kind, self._died.why, self._died.hint)
        return Heard(said[0][0] if said else self._numbers + 1, [body for _, body in said], beat, died)

    def _say(self, body: bytes, seq: int) -> None:
        self._numbers += 1
        self._said.append((self._numbers, seq, body))
        self._bell.set()

    def _die(self, died: Died) -> None:
        self._died = died
        self._bell.set()

    # -- the worker ----------------------------------------------------------------------------------------------

    def _begin(self, charge: Charge) -> None:
        """Begin a zygote, and have it begin the worker."""
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
            del os.environ["PYTHONBREAKPOINT"]  # Ray's: it isn't there in ours
        if hello.local != charge.hello.local:
            _make_own(Path(hello.local))
        end_orphans(self._notes)  # what was begun for the run on this machine, and has outlived its actor
        self._zygote = spawn(seen(os.environ, (*names, "HEADRACE_RUN")), _prefix(charge, hello.local))
        note_mark(self._notes, self._zygote)
        self._zygote.control.sendall(frame(hello))
        job, need = charge.job, charge.job.resources
        ours, theirs = socket.socketpair()
        fork = Fork(job.worker, job.tracer, need.cpu, need.memory_gib, need.gpus)
        socket.send_fds(self._zygote.control, [frame(fork)], [theirs.fileno()])
        theirs.close()
        self._control, self._line = Line(self._zygote.control), Line(ours)
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
                    self._acknowledged = max(self._acknowledged, seq)
                case Quit():
                    self._quitting = True
                case _:
                    pass
        if self._line is not None:
            self._line.send(data)
            self._listen(self._line)

    def _own_secrets(self, args: Iterable[tuple[str, Arg]]) -> Iterator[Whisper]:
        """Return the secrets that the driver doesn't have, and this node does."""
        for name in {name for _, arg in args for name in secrets(arg)} - self._secrets:
            if (value := os.environ.get(name)) is not None:
                self._secrets.add(name)
                yield Whisper(name, value)

    def _listen(self, line: Line) -> None:
        """Push what can't be sent at once as soon as it can be."""
        if line.waits and not line.closed:
            self._loop.add_writer(line.socket, self._push, line)
        else:
            self._loop.remove_writer(line.socket)

    def _push(self, line: Line) -> None:
        line.push()
        self._listen(line)

    def _hear_worker(self) -> None:
        line = self._line
        if line is None:
            return
        try:
            for body in line.read():
                message = decode_up(body)
                if isinstance(message, Report):
                    self._note(message)
                    self._say(body, message.seq)
                else:
                    self._say(body, 0)
        except (ValueError, msgspec.MsgspecError):
            line.closed = self._babbling = True
            self._signal(signal.SIGKILL)
        if line.closed:
            self._drop_line()  # its end proves nothing: the zygote tells of its death

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
                    self._beat = done, since, memory
                    if time.monotonic() - self._beaten >= BEAT_S:
                        self._bell.set()
                case Waiting():
                    self._ready = True
                    self._say(body, 0)
                case _:
                    self._ready = True
        if control.closed:
            self._lose_zygote("the process that begins it has died")

    def _ended(self, ended: Ended) -> None:
        """The worker is dead: hear the last of what it sent, then say so."""
        if self._line is not None:
            self._hear_worker()
        words = self._zygote.last_words() if self._zygote is not None and ended.status == 1 else ""
        died = death(ended, babbled=self._babbling, doomed=self._doomed, quitting=self._quitting, last_words=words)
        if self._leaving:
            died = Died(ended.worker, "lost", "it had heard of no driver for a while, and has left")
        self._drop_line()
        self._die(died)

    def _lose_zygote(self, why: str) -> None:
        if self._control is None or self._zygote is None:
            return
        self._loop.remove_reader(self._control.socket)
        why = with_words(why, self._zygote.last_words())
        self._zygote.discard()
        end_orphans(self._notes)
        self._control = None
        self._drop_line()
        if self._died is None:
            self._die(Died(0, "lost", why))

    def _check_ready(self) -> None:
        if not self._ready and self._died is None and self._zygote is not None:
            os.kill(self._zygote.pid, signal.SIGKILL)
            self._lose_zygote(f"the process that begins it has not come up in {START_S:g} s")

    def _signal(self, number: int) -> None:
        if self._control is not None and self._died is None:
            with suppress(OSError):  # that the zygote is dead is heard from its own line
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
        """Where the processes of the run are noted on this machine."""
        return Path(_local(self._charge.hello)) / "workers" / self._charge.hello.run

    # -- its own end ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Let go of a worker that nobody wants to hear of, once it has nothing to do."""
        self._loop.call_later(LOOK_S, self._look)
        if time.monotonic() - self._heard_at < self._charge.patience_s:
            return
        if self._died is not None:
            self._bury()
            os._exit(0)
        if not self._attempts and not self._leaving:
            self._leaving = True
            self._drop_line()  # it spills what nobody has acknowledged, and leaves
            self._loop.call_later(LEAVE_S, self._signal, signal.SIGKILL)

    def _bury(self) -> None:
        """Wait for the zygote to end, and clear away what worker and zygote left on the node's disk."""
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


def _mismatch(needed: str, here: str) -> Died:
    host = socket.gethostname()
    return Died(0, "lost", f"node `{host}` of the cluster has Headrace {here}, and this is {needed}: install the same")


def _local(hello: Hello) -> str:
    """Give the folder for logs, scratch and bundles: the driver's where the node sees it, the node's own elsewhere."""
    if Path(hello.local).is_dir():
        return hello.local
    return str(Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}")


def _make_own(folder: Path) -> None:
    """Make a folder where everybody may make one, and see that nobody else can change what is in it: code is.

    Raises:
        PermissionError: it is another user's, or open to others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others may write to it: remove it there, or name another by TMPDIR", folder)


def _prefix(charge: Charge, local: str) -> list[str]:
    """Give the words of the worker's namespace: without what it must not see, as far as the node has that at all."""
    if charge.namespace == "off" or not works(closed=charge.namespace == "on"):
        return []
    hidden = tuple([folder for each in charge.hidden if (folder := Path(each)).is_dir()])
    shown = tuple([folder for each in (*charge.shown, local) if (folder := Path(each)).is_dir()])
    inside = tuple([folder for folder in shown if any(folder.is_relative_to(each) for each in hidden)])
    closed = charge.namespace == "on"
    ours = _own_folders(charge, local)
    return Namespace(hidden=hidden, shown=inside, readable=ours, closed=closed).command()


def _own_folders(charge: Charge, local: str) -> tuple[Path, ...]:
    """Return the folders that workers only read: the code, which is brought here for that, and notes of what is to be
    ended. Where it can't be brought, no worker can begin either, which says why."""
    folders = Path(local, "bundles"), Path(local, "workers")
    with suppress(OSError, subprocess.SubprocessError):
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if not (folders[0] / charge.hello.bundle.digest).is_dir():
            words = [sys.executable, "-P", "-m", "headrace.work.archive"]  # what holds workers holds no store
            told = frame(replace(charge.hello, local=local))[4:]
            subprocess.run(words, input=told, check=True, timeout=START_S, capture_output=True)
        return folders
    return ()


def remote() -> Any:
    """Give the actor's class as Ray begins it."""
    return ray.remote(Actor)
