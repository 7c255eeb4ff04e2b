"""A worker's process: it is forked warm, and runs attempts until it is told to quit or nobody listens any more."""

from __future__ import annotations

import os
import signal
import socket
import time
from _signal import getsignal  # type: ignore[import-not-found]  # that of `signal` tries an enum first: 15 us a task
from pathlib import Path
from types import FrameType
from typing import Any

from headrace.define.code.project import Project
from headrace.run.wire import Do, Fork, Hello, Quit, Trace
from headrace.store.folder import FolderStore
from headrace.work.archive import unpack
from headrace.work.attempt import Desk
from headrace.work.board import Board
from headrace.work.capture import Capture
from headrace.work.link import Gone, Link
from headrace.work.load import enter_bundle
from headrace.work.notebook import enter_notebook
from headrace.work.state import CleanState
from headrace.work.stop import StopAttempt
from headrace.work.tracer import trace


def work(line: socket.socket, hello: Hello, fork: Fork, board: Board) -> None:
    """Be a worker, or the tracer, to the end."""
    store = FolderStore(hello.store)
    name = f"{fork.worker}-{os.getpid()}"
    link = Link(line, lambda data: store.spool.spill(hello.run, name, data))
    capture = Capture(store.root / "logs" / hello.run, name)
    scratch = store.root / "scratch" / hello.run / name
    bundle = unpack(hello.bundle, store)
    roots = hello.bundle.roots
    enter_bundle(bundle, roots)
    project = Project([bundle / root for root in roots], extra_sources=enter_notebook(bundle))
    state = CleanState(scratch)
    state.enter("0")
    desk = Desk(link=link, store=store, bundle=bundle, project=project, capture=capture, state=state)
    try:
        _serve(link, desk, board, bundle, roots, project, tracer=fork.tracer)
    except Gone:
        link.spill()
    finally:
        link.flush()
        state.close()


def _serve(
    link: Link, desk: Desk, board: Board, bundle: Path, roots: tuple[str, ...], project: Project, *, tracer: bool
) -> None:
    stop = _Stop()
    while True:
        match link.next():
            case Do() as order:
                board.begin(time.time())
                with stop:
                    event = desk.run(order)
                board.end()
                link.report(event)
                if stop.told:
                    return
            case Trace() as order if tracer:
                trace(order, link, desk, bundle, roots, project)
            case Quit():
                return
            case _:
                pass  # a word to an attempt that has ended


class _Stop:
    """Turns SIGTERM into `StopAttempt` while an attempt runs; outside of one it ends the process as usual.

    `told`: it did, so the worker leaves, and nothing that waits behind the attempt begins.
    """

    def __init__(self) -> None:
        self._running = False
        self.told = False
        self._handler = self._signalled
        signal.signal(signal.SIGTERM, self._handler)

    def __enter__(self) -> None:
        self._running = True
        if getsignal(signal.SIGTERM) is not self._handler:
            signal.signal(signal.SIGTERM, self._handler)

    def __exit__(self, *_: Any) -> None:
        self._running = False

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self.told = True
        if self._running:
            raise StopAttempt("it was told to stop")
        os._exit(0)
