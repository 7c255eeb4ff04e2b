"""What the tasks of a run printed: read from the files that its workers write, while they write them.

A worker's file is named `WORKER-PID` and holds the output of its attempts one after another. Of an attempt that told
how it ended, the ledger knows which bytes. What comes after the last of them is that of the attempt that runs, or of
the one that the worker died in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from headrace.app.project import Project
from headrace.app.reading import LIVE, AttemptView, Views
from headrace.app.state import open_store
from headrace.run.events import Event, Failed, Launched, Succeeded

PATIENCE_S = 0.2
PIPELINE = "(the pipeline's body)"
TRACER = "0"
CHUNK_BYTES = 1 << 16


class Piece(Struct, frozen=True):
    """Some output of an attempt, as it was printed."""

    task: str
    attempt: int
    data: bytes


class _File(Struct):
    """A worker's file: how far it was read, who wrote the bytes up to where, whose turn it is, and in whose it died."""

    read: int = 0
    spans: list[tuple[int, str, int]] = []
    turn: list[tuple[str, int]] = []
    died: tuple[str, int] | None = None


def logs(project: Project, views: Views, run: str, task: str | None = None) -> Iterator[Piece]:
    """Give what a run has printed so far, of all tasks or one, attempt by attempt in the order of their launch.

    Raises:
        NotFoundError: there is no such run, or it has no such task.
    """
    run = views.find(run).run
    if task is not None:
        task = views.task(run, task).name
    folder = _folder(project, run)
    for attempt in views.attempts(run, task):
        if attempt.log is not None:
            yield from _bytes(folder / attempt.log.log, attempt)
    files: dict[str, _File] = {}
    for event in views.events(run):
        _note(files, event)
    for file in files.values():
        file.read = max((end for end, _, _ in file.spans), default=0)
    yield from _grown(folder, files, task)


def follow(
    project: Project, views: Views, run: str, task: str | None = None, *, wait: Callable[[float], None] = time.sleep
) -> Iterator[Piece]:
    """Give what a run prints while it prints it, until it has ended.

    Raises:
        NotFoundError: there is no such run.
    """
    run = views.find(run).run
    folder = _folder(project, run)
    files: dict[str, _File] = {}
    seen = 0
    while True:
        live = views.find(run).state in LIVE
        events = list(views.events(run))
        for event in events[seen:]:
            _note(files, event)
        seen = len(events)
        found = list(_grown(folder, files, task))
        yield from found
        if not live:
            return
        if not found:
            wait(PATIENCE_S)


def _folder(project: Project, run: str) -> Path:
    return open_store(project).root / "logs" / run


def _bytes(file: Path, attempt: AttemptView) -> Iterator[Piece]:
    assert attempt.log is not None
    try:
        with file.open("rb") as stream:
            stream.seek(attempt.log.start)
            left = attempt.log.end - attempt.log.start
            while left > 0 and (data := stream.read(min(left, CHUNK_BYTES))):
                left -= len(data)
                yield Piece(attempt.task, attempt.attempt, data)
    except FileNotFoundError:
        note = b"(its output was deleted)\n"
        yield Piece(attempt.task, attempt.attempt, note)


def _note(files: dict[str, _File], event: Event) -> None:
    """Keep who writes to which file: by worker from the launch on, by file and bytes once it has ended."""
    match event:
        case Launched(task=task, attempt=attempt, workers=workers):
            for worker in workers:
                files.setdefault(str(worker), _File()).turn.append((task, attempt))
        case Succeeded(task=task, attempt=attempt, log=log) | Failed(task=task, attempt=attempt, log=log):
            for file in files.values():
                if (task, attempt) in file.turn:
                    file.turn.remove((task, attempt))
                    if log is not None:
                        file.spans.append((log.end, task, attempt))
                    elif isinstance(event, Failed) and event.failure.kind != "lost":
                        file.died = task, attempt
        case _:
            pass


def _grown(folder: Path, files: dict[str, _File], task: str | None) -> Iterator[Piece]:
    """Give what has been added to the files since the last look."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        worker = path.name.partition("-")[0]
        file = files.setdefault(worker, _File())
        with path.open("rb") as stream:
            stream.seek(file.read)
            while data := stream.read(CHUNK_BYTES):
                yield from (each for each in _divide(file, data, worker) if task in (None, each.task))


def _divide(file: _File, data: bytes, worker: str) -> Iterator[Piece]:
    """Tell apart whose bytes these are, which follow those that were read."""
    while data:
        end, task, attempt = next((span for span in file.spans if span[0] > file.read), (None, "", 0))
        if end is None:
            task, attempt = (
                file.turn[0] if file.turn else file.died or (PIPELINE if worker == TRACER else "(no task)", 0)
            )
            end = file.read + len(data)
        part, data = data[: end - file.read], data[end - file.read :]
        file.read += len(part)
        yield Piece(task, attempt, part)
