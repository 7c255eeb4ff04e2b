"""What an earlier driver of a run left on this machine: processes that still live."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 2.0
PARENT = "parent-"
"""How the note of a zygote begins; a worker's is its number."""
_POLL_S = 0.02


def end_leftovers(folder: Path, patience_s: float = PATIENCE_S, *, of: int | None = None) -> None:
    """Wait a little for the processes noted in a folder to end, then kill those that haven't, with all they began.

    Workers go first: the process that began them ends with the last of them, and takes along what they leave behind.
    `of` is the number of the one whose workers are meant, where not all are.
    """
    _wait_for(_living(folder, of), patience_s)
    for note in _living(folder, of):
        if not note.name.startswith(PARENT):
            _kill(_pid(note))
    _wait_for(_living(folder, of), PATIENCE_S)
    for note in _living(folder, of):
        _kill(_pid(note))
    _wait_for(_living(folder, of), PATIENCE_S)
    for note in _notes(folder, of):
        note.unlink(missing_ok=True)


def process_began(pid: int) -> str:
    """Give when a process began, in ticks since boot: with its number, that names it for good. Empty if it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    except (OSError, IndexError):
        return ""


def _notes(folder: Path, of: int | None) -> list[Path]:
    found = list(folder.iterdir()) if folder.is_dir() else []
    notes = [path for path in found if path.name.removeprefix(PARENT).isdecimal()]
    return notes if of is None else [note for note in notes if _read(note)[1:] == [str(of)]]


def _living(folder: Path, of: int | None) -> list[Path]:
    return [note for note in _notes(folder, of) if _lives(note)]


def _read(note: Path) -> list[str]:
    """Give when a process began, and the number of the one that began it."""
    try:
        return note.read_text().split(" ")
    except OSError:
        return [""]


def _lives(note: Path) -> bool:
    """Whether the very process that a note is about lives: its number may have been given to another since."""
    return _read(note)[0] == process_began(_pid(note)) != ""


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
