"""A worker's process: it is forked warm, and runs attempts until it is told to quit or nobody listens any more."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

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
from headrace.work.stop import Stop
from headrace.work.tracer import trace


def work(line: socket.socket, hello: Hello, fork: Fork, board: Board) -> None:
    """Be a worker, or the tracer, to the end."""
    store = FolderStore(hello.store)
    name = f"{fork.worker}-{os.getpid()}"
    stop = Stop()
    link = Link(line, lambda data: store.spool.spill(hello.run, name, data), stop)
    capture = Capture(store.root / "logs" / hello.run, name)
    scratch = store.root / "scratch" / hello.run / name
    bundle = unpack(hello.bundle, store)
    roots = hello.bundle.roots
    enter_bundle(bundle, roots)
    project = Project([bundle / root for root in roots], extra_sources=enter_notebook(bundle))
    state = CleanState(scratch)
    state.enter("0")
    desk = Desk(link=link, store=store, bundle=bundle, project=project, capture=capture, state=state, stop=stop)
    try:
        _serve(link, desk, board, stop, bundle, roots, project, tracer=fork.tracer)
    except Gone:
        pass
    finally:
        if link.gone:
            link.spill()
        state.close()


def _serve(
    link: Link,
    desk: Desk,
    board: Board,
    stop: Stop,
    bundle: Path,
    roots: tuple[str, ...],
    project: Project,
    *,
    tracer: bool,
) -> None:
    while not stop.told:
        match link.next():
            case Do() as order:
                stop.under_way = True
                board.begin(time.time())
                event = desk.run(order)
                board.end()
                link.report(event)
                stop.under_way = False
                desk.clean()
            case Trace() as order if tracer:
                trace(order, link, desk, bundle, roots, project)
            case Quit():
                return
            case _:
                pass  # a word to an attempt that has ended
