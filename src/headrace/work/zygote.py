"""The zygote is a process that has imported the modules that workers need. So it can fork a worker in a fraction of a
millisecond.

The zygote is the parent of all workers of a run on this machine. It reports when they end, and kills the processes that
they leave behind. It also watches their memory: a worker that takes too much fails with a clear reason, and the machine
survives. The zygote imports no library that starts threads, since threads are lost in a fork.
"""

from __future__ import annotations

import array
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path

from headrace.errors import EnvironmentFailed
from headrace.run.takeover import Newer
from headrace.run.wire import Ended, Fork, Frames, Hello, Kill, Listen, Pulse, Ready, Refused, decode_order, frame
from headrace.store.open_store import prepare
from headrace.work.adoption.takeover import Lifeline, asked, hand_over, make_lifeline
from headrace.work.environments.cache import cache_folder
from headrace.work.environments.enter import Unfit, enter, receive_hello
from headrace.work.limits.devices import Devices, take
from headrace.work.limits.memory import Scale, wanted_gib
from headrace.work.limits.shared_status import SharedStatus
from headrace.work.worker import work

WATCH_S = 0.05
LOOK_S = 0.1
"""Seconds between two checks whether a worker has begun an attempt. The zygote must check, since workers send no signal
when they begin."""
PULSE_S = 0.2
SAY_S = 1.0
WRITE_S = 2.0
"""After a worker has ended, the process that writes the worker's log may go on for this many seconds. It needs only a
moment, unless the disk hangs."""
READS = select.POLLIN | select.POLLHUP | select.POLLERR
GIVEN_UP = -1
"""The number of a process that is being killed because a new driver could not take it over. Its end isn't reported: the
new driver may use its former number for another process, since all tracers have the same number."""
PARENT = "parent-"
_ENTRY = "headrace.work.__main__"
_FIRST = 1
"""The process id that the zygote has if it runs in a namespace of its own."""
_SUBREAPER = 36  # prctl: orphans of workers become the zygote's children, so that it can end them


class Child:
    """A worker's process as its parent sees it. `lifeline` is None if no other driver can take over the worker."""

    __slots__ = ("board", "devices", "is_tracer", "lifeline", "limit_gib", "memory", "number", "pid", "scale")

    def __init__(
        self,
        number: int,
        pid: int,
        board: SharedStatus,
        limit_gib: float,
        devices: Devices,
        lifeline: Lifeline | None = None,
        *,
        is_tracer: bool = False,
    ) -> None:
        self.is_tracer = is_tracer
        self.lifeline = lifeline
        self.number = number
        self.pid = pid
        self.board = board
        self.limit_gib = limit_gib
        self.devices = devices
        self.memory = ""
        self.scale = Scale(pid)


class Zygote:
    """Forks workers when the driver orders it, and reports on them, until the driver is gone and the last worker has
    ended.

    If `unfit` is given, the environment that the workers need is not available. Then no worker is started, and each
    order is answered with the reason.
    """

    def __init__(self, control: socket.socket, hello: Hello, unfit: Unfit | None = None) -> None:
        self._control = control
        self._hello = hello
        self._unfit = unfit
        self._frames = Frames()
        self._lines: deque[int] = deque()
        self._children: dict[int, Child] = {}
        self._listening = True
        self._unsent = bytearray()
        self._door: socket.socket | None = None
        self._epoch = 0
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._earlier: list[socket.socket] = []
        self._pulsed = self._said = 0.0
        self._wake, waker = socket.socketpair()
        self._wake.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what ctrl-C means
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])  # see `spawn`
        _become_subreaper()

    def serve(self) -> None:
        """Serve until the driver is gone and no worker lives."""
        self._tell(frame(Ready(os.getpid())))
        while self._listening or self._children:
            ready = self._wait()
            if self._door in ready:
                self._admit()
            elif self._control in ready:
                self._read()
            if self._wake in ready:
                self._wake.recv(4096)
            self._reap()
            self._watch()
            self._say_so()
        _end_strays(())

    def _say_so(self) -> None:
        """Tell the driver each second that this process lives. If the driver hears nothing, it concludes that the
        zygote has stopped or hangs, and gives up on it."""
        now = time.monotonic()
        if now - self._said >= SAY_S:
            self._said = now
            self._tell(frame(Ready(os.getpid())), can_wait=False)

    def _wait(self) -> list[socket.socket]:
        busy = any(child.board.read()[1] for child in self._children.values())
        sockets = {each.fileno(): each for each in (self._wake, self._door) if each is not None}
        if self._listening:
            sockets[self._control.fileno()] = self._control
        poll = select.poll()  # `select` takes no descriptors above 1023
        for descriptor, each in sockets.items():
            poll.register(descriptor, READS | (select.POLLOUT if each is self._control and self._unsent else 0))
        ready = poll.poll(1000 * (WATCH_S if busy else LOOK_S if self._children else 1.0))
        if any(mask & select.POLLOUT for _, mask in ready):
            self._push()
        return [sockets[descriptor] for descriptor, mask in ready if mask & READS]

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._control.recvmsg(1 << 16, socket.CMSG_SPACE(64 * 4))
        except ConnectionError:
            data, ancillary = b"", []
        for level, kind, packed in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(packed[: len(packed) - len(packed) % descriptors.itemsize])
                self._lines.extend(descriptors)
        if not data:
            self._listening = False
            self._end_bound()
            return
        for body in self._frames.feed(data):
            match decode_order(body):
                case Fork() as fork if self._unfit is not None:
                    self._refuse(fork, self._lines.popleft(), self._unfit)
                case Fork() as fork:
                    self._fork(fork, self._lines.popleft())
                case Listen(epoch=epoch):
                    self._door, self._epoch = socket.socket(fileno=self._lines.popleft()), epoch
                    resource.setrlimit(resource.RLIMIT_NOFILE, (self._files[1], self._files[1]))  # for the lifelines
                case Kill(worker=worker, signal=number):
                    self._signal(worker, number)

    def _admit(self) -> None:
        """Let a new driver take over the workers, if one has connected and its epoch is higher than that of the present
        driver. Workers that can't be handed over are killed."""
        assert self._door is not None
        if (found := asked(self._door)) is None:
            return
        connection, take = found
        if take.epoch <= self._epoch:
            with connection, suppress(OSError):
                connection.sendall(frame(Newer(os.getpid())))
            return
        self._epoch = take.epoch
        if self._listening:
            self._earlier.append(self._control)  # stays open: an earlier driver that lives must not think this one died
        self._control, self._listening = connection, True
        self._frames, self._unsent = Frames(), bytearray()
        workers = [(pid, child.lifeline) for pid, child in self._children.items() if child.lifeline is not None]
        kept = hand_over(workers, connection, self._hello.group)
        connection.settimeout(None)
        for pid, child in self._children.items():
            if pid not in kept:
                child.number = GIVEN_UP
                _signal_child(pid, signal.SIGKILL)

    def _end_bound(self) -> None:
        """The process that started this zygote is gone. Kill the tracer, whose graph nobody reads any more. If the
        workers were to end with that process (`hello.bound`), kill them too: no other process knows of them."""
        for pid, child in self._children.items():
            if self._hello.bound or child.is_tracer:
                _signal_child(pid, signal.SIGKILL)

    def _fork(self, fork: Fork, descriptor: int) -> None:
        hello = self._hello
        board = SharedStatus()
        used = [name for child in self._children.values() for name in child.devices.names]
        devices = take(fork.need.gpus, cache_folder, used, hello.gpus)
        lifeline = None
        if self._door is not None and fork.role != "tracer":
            lifeline = make_lifeline(descriptor, fork, board, len(self._children))
        # A signal to the worker may come right after the fork. It waits until the worker no longer ignores it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            os.close(descriptor)
            if lifeline is not None:
                lifeline.let_go()
            limit_gib = fork.need.memory_gib or hello.memory_gib
            is_tracer = fork.role == "tracer"
            self._children[pid] = Child(fork.worker, pid, board, limit_gib, devices, lifeline, is_tracer=is_tracer)
            _note_pid(hello, pid)
            return
        code = 1
        try:
            self._become_worker(fork, devices.names)
            successor = None if lifeline is None else lifeline.successor()
            work(socket.socket(fileno=descriptor), hello, fork, board, successor, devices.shared)
            code = 0
        except BaseException:  # noqa: BLE001  nothing may unwind into the zygote's own loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _refuse(self, fork: Fork, descriptor: int, unfit: Unfit) -> None:
        """Tell the driver why no worker is started. If the order was to start the tracer, also send the reason over the
        tracer's connection, because the driver reads there why a tracer can't start."""
        with socket.socket(fileno=descriptor) as line, suppress(OSError):
            if fork.role == "tracer":
                line.sendall(frame(Refused(EnvironmentFailed.__name__, unfit.message, unfit.hint)))
        self._tell(frame(Ended(fork.worker, 1, unfit=unfit.message, hint=unfit.hint)))

    def _become_worker(self, fork: Fork, devices: Sequence[str]) -> None:
        os.setsid()
        _become_subreaper()  # so that processes that a stage starts stay the worker's children until it ends
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGINT, signal.default_int_handler)  # inherited by processes that a stage starts
        for own in (self._control, self._wake, self._waker, self._door, *self._earlier):
            if own is not None:
                own.close()
        for sibling in self._children.values():
            sibling.devices.close()
            if sibling.lifeline is not None:
                sibling.lifeline.close()
        for line in self._lines:
            os.close(line)
        resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
        threads = str(max(1, int(fork.need.cpu)))
        for name in _THREAD_CAPS:
            os.environ[name] = threads
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        if fork.need.memory_gib:  # for code that spills to disk before it takes more memory
            os.environ["HEADRACE_MEMORY_GIB"] = f"{fork.need.memory_gib:g}"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        _volunteer_for_oom()

    def _signal(self, worker: int, number: int) -> None:
        for child in self._children.values():
            if child.number == worker:
                _signal_child(child.pid, number)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            child = self._children.pop(pid, None)
            if child is None:
                continue  # an orphan of a worker
            if child.lifeline is not None:
                child.lifeline.close()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            spared = {*self._children, *(sibling.board.writer() for sibling in self._children.values())}
            writer = child.board.writer()
            if writer and writer not in self._children:
                _end_strays({*spared, writer})
                _await_end(writer)
            _end_strays(spared)  # except for log writers of other ended workers, whose turn comes next
            child.devices.close()
            code = os.waitstatus_to_exitcode(status)
            unfit, hint = child.board.refusal() or ("", None)
            if child.number != GIVEN_UP:
                self._tell(frame(Ended(child.number, code, child.memory, unfit, hint)))

    def _watch(self) -> None:
        """Kill each worker that takes more memory than its limit. If the machine runs out of memory, kill the largest
        worker."""
        now = time.monotonic()
        pulse = now - self._pulsed >= PULSE_S
        busy = [(child, *child.board.read()) for child in self._children.values()]
        busy = [each for each in busy if each[2]]
        sizes = {}
        for child, done, since in busy:
            sizes[child.pid] = size = child.scale.weigh_gib(child.limit_gib, now)
            if size > child.limit_gib and not child.memory:
                child.memory = f"it took {size:.2f} GiB of memory, more than its limit of {child.limit_gib:.3g} GiB"
                _signal_child(child.pid, signal.SIGKILL)
            elif pulse:
                self._tell(frame(Pulse(child.number, done, since, size)), can_wait=False)
        if pulse:
            self._pulsed = now
        if sizes and (wanted := wanted_gib()):
            pid = max(sizes, key=sizes.__getitem__)
            child = self._children[pid]
            # killing a smaller one wouldn't help: other processes fill the memory
            if sizes[pid] >= wanted and not child.memory:
                child.memory = f"the machine had run out of memory, and it was the largest task: {sizes[pid]:.2f} GiB"
                _signal_child(pid, signal.SIGKILL)

    def _tell(self, data: bytes, *, can_wait: bool = True) -> None:
        """Send a message to the driver. If the driver isn't reading, keep the message until it reads again: the zygote
        never waits, so another driver can take over. If `can_wait` is False, drop the message in this case."""
        if self._listening and (can_wait or not self._unsent):
            self._unsent += data
            self._push()

    def _push(self) -> None:
        try:
            sent = self._control.send(self._unsent, socket.MSG_DONTWAIT)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._listening = False
            self._end_bound()


_THREAD_CAPS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "POLARS_MAX_THREADS",
)


def _become_subreaper() -> None:
    with suppress(OSError, AttributeError):  # not Linux: orphans of workers then go to the system
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _volunteer_for_oom() -> None:
    """Ask the kernel to kill this worker before any other process if the machine runs out of memory."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _signal_child(pid: int, number: int) -> None:
    """Send a signal to a child and to all other processes of its session. `pid` hasn't been waited for, so no other
    process has this id. A child that was forked just now may have no session yet: then it gets the signal alone."""
    with suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)


def _note_pid(hello: Hello, pid: int, kind: str = "") -> None:
    """Write down a process id, so that a later driver of the run finds this process if it was left behind.

    This isn't done inside a namespace, where process ids differ from those outside. In a namespace, all processes end
    when the zygote ends, and the backend writes down the zygote's id.
    """
    if os.getpid() == _FIRST:
        return
    folder = Path(hello.notes())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = ""
    (folder / f"{kind}{pid}").write_text(f"{began} {os.getpid()}")


def _end_strays(workers: Container[int]) -> None:
    """Kill the processes that workers left behind when they ended, whatever session they are in. They can be found,
    since this process is now their parent."""
    me = os.getpid()
    for _ in range(10):
        strays = [pid for pid in _children_of(me) if pid not in workers]
        if not strays:
            return
        for pid in strays:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _await_end(pid: int) -> None:
    """Wait up to `WRITE_S` seconds for a child to end by itself."""
    latest = time.monotonic() + WRITE_S
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < latest:
            time.sleep(0.001)


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/self/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    """Run the zygote of a run, on the socket whose descriptor is the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    greeting = receive_hello(control, sys.argv[2:])
    if greeting is not None:
        hello, chosen = greeting
        os.environ.pop("PWD", None)  # a namespace sets it
        os.environ.update(hello.told)
        os.environ["HEADRACE_RUN"] = hello.run
        _note_pid(hello, os.getpid(), PARENT)
        unfit = None
        if not chosen:
            unfit = enter(hello, control, _ENTRY, sys.argv[1:], lambda waiting: control.sendall(frame(waiting)))
        prepare(hello.store)
        Zygote(control, hello, unfit).serve()
    os._exit(0)  # there is nothing to clean up, and the driver waits
