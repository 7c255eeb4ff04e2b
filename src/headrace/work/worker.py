"""A worker's process. The zygote forks it, and it then runs attempts until it is told to quit or the driver is gone."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from headrace.define.ports import present
from headrace.errors import BackendError, HeadraceError, StoreError, StoreUnreachable, listed
from headrace.fingerprint.project import Project
from headrace.run.events import Event, Failed, Succeeded
from headrace.run.wire import Do, Fork, Hello, Move, Quit, Refused, Trace, Whisper, frame
from headrace.store.open_store import open_seen
from headrace.store.store import Store
from headrace.work.adoption.successor import Successor
from headrace.work.archive import unpack
from headrace.work.attempt import Desk
from headrace.work.channel import Channel, Gone
from headrace.work.clean_state import CleanState
from headrace.work.environments.fingerprints import Envoys
from headrace.work.limits.shared_status import SharedStatus
from headrace.work.missing_variables import Absent
from headrace.work.output.capture import Capture
from headrace.work.rendezvous import Meeting
from headrace.work.stop import Stop
from headrace.work.tracer import trace
from headrace.work.transfer import Mover
from headrace.work.user_code import enter_project

_HINT = "check the permissions and the free space there; set HEADRACE_HOME or TMPDIR to use other folders"


class _Place(NamedTuple):
    """What a worker has opened and prepared before its first attempt."""

    store: Store
    channel: Channel
    stop: Stop
    bundle: Path
    project: Project
    capture: Capture
    state: CleanState
    folder: Path | None
    passed: Path | None
    absent: Absent


def work(
    line: socket.socket,
    hello: Hello,
    fork: Fork,
    board: SharedStatus,
    successor: Successor | None = None,
    shared: Sequence[str] = (),
) -> None:
    """Run a worker, or the tracer, until it ends. If the process can't start its work, it writes the reason to `board`.
    The tracer also sends the reason to the driver. `successor` brings the connection to the run's next driver (None: no
    driver takes over the worker). `shared` names the worker's accelerators that another worker uses too."""
    name = f"{fork.worker}-{os.getpid()}"
    try:
        at = _begin(line, hello, fork, name, board, successor)
    except HeadraceError as error:
        _refuse(line, fork, board, error)
        return
    except OSError as error:
        where = error.filename or hello.local
        failure = BackendError(f"`{where}` can't be read or written: {error.strerror or error}", hint=_HINT)
        _refuse(line, fork, board, failure)
        return
    if shared and hello.gpus:
        at.capture.heading = (
            f"warning: when this worker started, another process used accelerator {listed(shared)} too: "
            "no other one was free\n"
        )
    try:
        mover = Mover(at.store, at.channel, at.stop, hello.own)
        envoys = Envoys(hello, at.channel) if fork.role == "tracer" else None
        keep = partial(_keep, hello.run, name, at.store, at.capture)
        meeting = Meeting(hello.run, at.store.logs, Path(hello.local) / "logs" / hello.run)
        _serve(at, mover, keep, board, hello, envoys, meeting)
    except Gone:
        pass
    finally:
        if at.channel.gone:
            at.channel.spill()
        at.state.close()
    if at.stop.told:
        at.stop.leave()


def _begin(
    line: socket.socket, hello: Hello, fork: Fork, name: str, board: SharedStatus, successor: Successor | None
) -> _Place:
    """Open the store, fetch the code and prepare for attempts.

    Raises:
        HeadraceError: the store can't be used from this machine, or the code can't be fetched.
        OSError: this machine's own disk can't be used.
    """
    local = Path(hello.local)
    store = open_seen(hello.store, local, hello.own)
    stop = Stop()
    channel = Channel(line, lambda data: store.spool.spill(hello.run, name, data), stop, successor)
    capture = Capture(local / "logs" / hello.run, name, board.name_writer)
    bundle = unpack(hello.bundle, store, local)
    is_as_locked = hello.environment != "present"
    present.bundle = hello.bundle if is_as_locked else replace(hello.bundle, lock=None)
    absent = Absent(hello.withheld, bundle)
    absent.watch()
    project = enter_project(bundle, hello.bundle.roots)
    scratch = local / "scratch" / hello.run
    passed = None if fork.role == "tracer" else scratch / f"{name}.logged"
    state = CleanState(scratch / name)
    state.enter("0")
    return _Place(
        store=store,
        channel=channel,
        stop=stop,
        bundle=bundle,
        project=project,
        capture=capture,
        state=state,
        folder=_folder(hello),
        passed=passed,
        absent=absent,
    )


def _folder(hello: Hello) -> Path | None:
    """Return the project's folder, or None if this host doesn't have it. The folder's inode is compared with that on
    the driver's host, since this host may have another folder with the same name."""
    with suppress(OSError):
        if hello.project and os.stat(hello.project).st_ino == hello.project_inode:
            return Path(hello.project)
    return None


def _refuse(line: socket.socket, fork: Fork, board: SharedStatus, error: HeadraceError) -> None:
    """Report why no worker can start here, and on which machine."""
    message = f"no worker can start on `{platform.node()}`: {error.message}"
    board.refuse(message, error.hint)
    if fork.role == "tracer":
        kind = StoreUnreachable if isinstance(error, StoreError) else type(error)
        with suppress(OSError):
            line.sendall(frame(Refused(kind.__name__, message, error.hint)))


def _keep(run: str, name: str, store: Store, capture: Capture, event: Event) -> None:
    """Copy an attempt's output to the store's logs, so that other machines can read it. If the output is already there,
    do nothing."""
    if isinstance(event, Succeeded | Failed) and event.log is not None:
        with suppress(StoreError):  # the output is still in this machine's own log
            store.logs.keep(run, name, event.log.start, capture.printed(event.log))


def _serve(
    at: _Place,
    mover: Mover,
    keep: Callable[[Event], None],
    board: SharedStatus,
    hello: Hello,
    envoys: Envoys | None,
    meeting: Meeting,
) -> None:
    channel, stop, bundle, project = at.channel, at.stop, at.bundle, at.project
    desk = Desk(
        channel=channel,
        store=at.store,
        bundle=bundle,
        project=project,
        capture=at.capture,
        state=at.state,
        stop=stop,
        folder=at.folder,
        passed=at.passed,
        meeting=meeting,
        absent=at.absent,
        credentials=hello.own,
        guarded=hello.guarded,
    )
    while not stop.told:
        match channel.next():
            case Do() | Move() as order:
                stop.under_way = True
                board.begin(time.time())
                event = mover.run(order) if isinstance(order, Move) else desk.run(order)
                board.end()
                channel.report(event)
                keep(event)
                stop.under_way = False
                desk.clean()
            case Trace() as order if envoys is not None:
                trace(order, channel, desk, bundle, hello.bundle.roots, project, envoys)
            case Whisper(name=name, value=value):
                desk.arguments.learn(name, value)
            case Quit():
                return
            case _:
                pass  # an instruction for an attempt that has already ended
