"""Reads the printed output of a run's tasks from the files of the run's workers, also while the workers write the
files.

A worker's file is named `WORKER-PID` and holds the output of its attempts one after another. For an attempt that
reported its end, the ledger knows which bytes are its output. The bytes after the output of these attempts belong to
the attempt that is running, or to the attempt during which the worker died.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from headrace.errors import NotFoundError, absent
from headrace.inspect.views import LIVE, AttemptView, Views, attempt_views
from headrace.project.project import Project
from headrace.project.state import absent_regions, stores
from headrace.run.events import Logged
from headrace.run.ports import TaskRow
from headrace.run.story import Story, Written
from headrace.spec.artifact import Ref
from headrace.store.folder.logs import FolderLogs, unreadable
from headrace.store.store import Store

PATIENCE_S = 0.2
PIPELINE = "(the pipeline's body)"
TRACER = "0"
CHUNK_BYTES = 1 << 16


class Piece(Struct, frozen=True):
    """Some output of an attempt, as it was printed."""

    task: str
    attempt: int
    data: bytes


class Told(Struct, frozen=True):
    """What an attempt logged with `hr.log` since the log was last read.

    `points` holds the last point of each curve as (name, step, value). `texts` holds texts as (name, step, text).
    """

    task: str
    attempt: int
    points: tuple[tuple[str, int, float], ...] = ()
    texts: tuple[tuple[str, int, str], ...] = ()


def logs(project: Project, views: Views, run: str, task: str | None = None) -> Iterator[Piece]:
    """Yield what a run has printed so far, for all tasks or for one, attempt by attempt in the order of their launch.

    Raises:
        NotFoundError: there is no such run, or it has no such task.
    """
    run = views.find(run).run
    if task is not None:
        task = views.task(run, task).name
    all_stores = list(stores(project).values())
    story = views.story(run)
    yield from _so_far(all_stores, run, attempt_views(story, task), story.written, {}, task, _why_gone(project, story))


def maker(views: Views, run: str, task: str) -> tuple[str, str] | None:
    """Return the run and the task that made the output that a task reused, or None if the task itself ran.

    A task may be reused from its own run: it ran, and then the run was resumed with new code. Return None for such a
    task too. The returned task's name is empty if the run that made the output is forgotten.

    Raises:
        NotFoundError: there is no such run, or it has no such task.
    """
    run = views.find(run).run
    row = views.task(run, task)
    if row.state != "reused":
        return None
    own, seen = (run, task), list[str]()
    while run not in seen:  # a run that reused the result of a forgotten run counts as its maker in later runs
        seen.append(run)
        try:
            story = views.story(run)
            made = [each.name for each in views.rows(run) if each.key == row.key and _ran(each, story)]
        except NotFoundError:
            break  # all of that run is gone
        if made:
            origin = run, row.name if row.name in made else made[0]
            return None if origin == own else origin
        before = [event.run for event in story.reused if event.key == row.key]
        run = next(filter(None, before), run)  # of equal tasks, the first may have been reused from another run
    return None if run == seen[0] else (run, "")


def _ran(row: TaskRow, story: Story) -> bool:
    """Return whether an attempt of this task made its output in this run. A task that ran before the run was resumed
    with new code counts too, although its state is `reused`."""
    return row.state == "succeeded" or (row.state == "reused" and story.has_made(row.name, row.key))


def follow(
    project: Project, views: Views, run: str, task: str | None = None, *, wait: Callable[[float], None] = time.sleep
) -> Iterator[Piece | Told]:
    """Yield what a run has printed so far, as `logs` does. Then yield what the run prints and logs from now on, until
    it has ended.

    Raises:
        NotFoundError: there is no such run.
    """
    run = views.find(run).run
    all_stores = list(stores(project).values())
    folders = _folders(all_stores, run)
    story, read = Story(), dict[str, int]()
    seen, last_logged = 0, -1
    while True:
        live = views.find(run).state in LIVE
        events = list(views.events(run))
        for event in events[seen:]:
            story.hear(event)
        if seen == 0:
            attempts, why_gone = attempt_views(story, task), _why_gone(project, story)
            yield from _so_far(all_stores, run, attempts, story.written, read, task, why_gone)
        seen = len(events)
        pieces = list(_grown(folders, story.written, read, task))
        yield from pieces
        news = views.logged(run, after=last_logged)
        last_logged = news[-1][0] if news else last_logged
        yield from (_told(event) for event in _last([event for _, event in news]) if task in (None, event.task))
        if not live:
            return
        if not pieces:
            wait(PATIENCE_S)


def _last(news: Sequence[Logged]) -> Iterator[Logged]:
    """Yield one event for each attempt that has logged, with only the last points of each curve."""
    by_attempt: dict[tuple[str, int], list[Logged]] = {}
    for event in news:
        by_attempt.setdefault((event.task, event.attempt), []).append(event)
    for members in by_attempt.values():
        points = {points.name: points for event in members for points in event.points if points.steps}
        texts = tuple(text for event in members for text in event.texts)
        yield msgspec.structs.replace(members[-1], points=tuple(points.values()), texts=texts)


def _told(event: Logged) -> Told:
    points = []
    for each in event.points:
        (step,), (value,) = struct.unpack("<q", each.steps[-8:]), struct.unpack("<d", each.values[-8:])
        points.append((each.name, step, value))
    texts = tuple((each.name, each.step, _text(each.out)) for each in event.texts)
    return Told(task=event.task, attempt=event.attempt, points=tuple(points), texts=texts)


def _text(ref: Ref) -> str:
    """Return a text that was logged, or only its size, as `(N bytes)`, if the bytes are not in `ref` itself."""
    return f"({ref.size:,} bytes)" if ref.inline is None else ref.inline.decode(errors="replace")


def _folders(stores: Sequence[Store], run: str) -> list[Path]:
    """Return the folders that a run's workers may have written to,
    one for each region that the run may have been in."""
    return [store.local / "logs" / run for store in stores]


def _why_gone(project: Project, story: Story) -> str:
    """Return the line that is shown instead of an attempt's output if no store has the output."""
    why = "what it printed is not here"
    regions = absent_regions(project, story.regions)
    if not regions:
        return f"({why}: it was deleted, or no backup brought it along)\n"
    message, hint = absent(why, regions)
    return f"({message}: {hint})\n"


def _bytes(stores: Sequence[Store], run: str, attempt: AttemptView, why_gone: str) -> Iterator[Piece]:
    """Yield what an attempt printed, from its worker's log file if that is on this machine, otherwise from the store.
    If no store has it, yield `why_gone`."""
    assert attempt.log is not None
    name, start, end = attempt.log.log, attempt.log.start, attempt.log.end
    here = [store for store in stores if (store.local / "logs" / run / name).exists()]
    own = (FolderLogs(store.local / "logs", own=True).read(run, name, start, end) for store in here)
    kept = (store.logs.read(run, name, start, end) for store in stores)
    for pieces in (*own, *kept):
        if (first := next(pieces, None)) is not None:
            yield from (Piece(attempt.task, attempt.attempt, data) for data in (first, *pieces))
            return
    yield Piece(attempt.task, attempt.attempt, why_gone.encode())


def _so_far(
    stores: Sequence[Store],
    run: str,
    attempts: Iterable[AttemptView],
    written: Mapping[str, Written],
    read: dict[str, int],
    task: str | None,
    why_gone: str,
) -> Iterator[Piece]:
    """Yield what a run has printed, attempt by attempt, and at the end the output that belongs to no attempt. The
    number of bytes that were read of each worker's file is stored in `read`."""
    folders = _folders(stores, run)
    read.update((worker, max((end for end, _, _ in each.spans), default=0)) for worker, each in written.items())
    unfinished: dict[tuple[str, int], list[str]] = {}
    for worker, log in written.items():
        if log.rest is not None:
            unfinished.setdefault(log.rest, []).append(worker)
    for attempt in attempts:
        if attempt.log is not None:
            yield from _bytes(stores, run, attempt, why_gone)
        if workers := unfinished.get((attempt.task, attempt.attempt)):
            yield from _grown(folders, written, read, task, workers)
    yield from _grown(folders, written, read, task)


def _grown(
    folders: Sequence[Path],
    written: Mapping[str, Written],
    read: dict[str, int],
    task: str | None,
    workers: Container[str] | None = None,
) -> Iterator[Piece]:
    """Yield what was added to the log files of `workers` (None means all workers) since the files were last read.
    `read` holds the number of bytes that were read of each worker's file."""
    for path in sorted((path for folder in folders if folder.is_dir() for path in folder.iterdir()), key=_by_worker):
        worker = path.name.partition("-")[0]
        if workers is not None and worker not in workers:
            continue
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            continue  # its run was forgotten meanwhile
        except OSError as error:
            raise unreadable(path, error) from error
        with stream:
            stream.seek(read.setdefault(worker, 0))
            while data := stream.read(CHUNK_BYTES):
                for piece in _divide(written.get(worker, Written()), read[worker], data, worker):
                    read[worker] += len(piece.data)
                    if task in (None, piece.task):
                        yield piece


def _by_worker(path: Path) -> tuple[int, str]:
    """Return a key that sorts log files by the numbers of their workers, so that 10 is after 9."""
    worker = path.name.partition("-")[0]
    return int(worker) if worker.isdecimal() else -1, path.name


def _divide(log: Written, at: int, data: bytes, worker: str) -> Iterator[Piece]:
    """Yield the bytes that start at `at` in a worker's log, with a separate piece for each attempt that wrote some of
    them."""
    while data:
        end, task, attempt = next((span for span in log.spans if span[0] > at), (None, "", 0))
        if end is None:
            task, attempt = log.rest or (PIPELINE if worker == TRACER else "(no task)", 0)
            end = at + len(data)
        part, data = data[: end - at], data[end - at :]
        at += len(part)
        yield Piece(task, attempt, part)
