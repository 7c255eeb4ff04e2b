"""What an earlier driver of a run left on this machine: processes that still live, and what workers spilled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from headrace.run.ports import Heard
from headrace.run.wire import Frames, Report, decode_up

PATIENCE_S = 2.0
PARENT = "parent-"
"""How the note of a zygote begins; a worker's is its number."""
_POLL_S = 0.02


def end_leftovers(folder: Path, patience_s: float = PATIENCE_S) -> None:
    """Wait a little for the processes noted in a folder to end, then kill those that haven't, with all they began.

    Workers go first: the process that began them ends with the last of them, and takes along what they leave behind.
    """
    _wait_for(_living(folder), patience_s)
    for note in _living(folder):
        if not note.name.startswith(PARENT):
            _kill(_pid(note))
    _wait_for(_living(folder), PATIENCE_S)
    for note in _living(folder):
        _kill(_pid(note))
    _wait_for(_living(folder), PATIENCE_S)
    for note in _notes(folder):
        note.unlink(missing_ok=True)


def spilled(folder: Path) -> Iterator[Heard]:
    """Give what workers spilled, each worker's in the order of its writing; a torn last report is none."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        worker = path.name.partition("-")[0]
        for body in Frames().feed(path.read_bytes()):
            message = decode_up(body)
            if isinstance(message, Report) and worker.isdecimal():
                yield Heard(int(worker), message)


def process_began(pid: int) -> str:
    """Give when a process began, in ticks since boot: with its number, that names it for good. Empty if it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    except (OSError, IndexError):
        return ""


def _notes(folder: Path) -> list[Path]:
    found = list(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.name.removeprefix(PARENT).isdecimal()]


def _living(folder: Path) -> list[Path]:
    return [note for note in _notes(folder) if _lives(note)]


def _lives(note: Path) -> bool:
    """Whether the very process that a note is about lives: its number may have been given to another since."""
    try:
        return note.read_text() == process_began(_pid(note)) != ""
    except OSError:
        return False


def _pid(note: Path) -> int:
    return int(note.name.removeprefix(PARENT))


def _wait_for(notes: Sequence[Path], patience_s: float) -> None:
    due = time.monotonic() + patience_s
    while any(map(_lives, notes)) and time.monotonic() < due:
        time.sleep(_POLL_S)


def _kill(pid: int) -> None:
    """Kill a process with all that it began, whatever sessions that is in."""
    doomed = [pid]
    for each in doomed:
        doomed += _children(each)
    for each in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
