"""What an earlier driver of a run left on this machine: workers that still live, and what they spilled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from headrace.run.ports import Heard
from headrace.run.wire import Frames, Report, decode_up

PATIENCE_S = 2.0
_POLL_S = 0.02


def end_leftovers(folder: Path, patience_s: float = PATIENCE_S) -> None:
    """Wait a little for the workers noted in a folder to end, then kill those that haven't, with all they began."""
    living = {path: int(path.name) for path in _notes(folder) if _lives(path)}
    due = time.monotonic() + patience_s
    while living and time.monotonic() < due:
        time.sleep(_POLL_S)
        living = {path: pid for path, pid in living.items() if _lives(path)}
    for pid in living.values():
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    due = time.monotonic() + patience_s + 1
    while any(_lives(path) for path in living) and time.monotonic() < due:
        time.sleep(_POLL_S)
    for path in _notes(folder):
        path.unlink(missing_ok=True)


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
    return [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []


def _lives(note: Path) -> bool:
    """Whether the very process that a note is about lives: its number may have been given to another since."""
    try:
        return note.read_text() == process_began(int(note.name)) != ""
    except OSError:
        return False
