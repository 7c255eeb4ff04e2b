"""What an earlier driver of a run left on this machine: processes that still live.

They are known by three things, none of which another process has by chance: the number of a worker with the time at
which that began; the mark of the zygote that they come from, which all that a stage begins inherits; and, where a stage
began something without its environment, the worker's log that it writes to, or the worker's session and folder.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from headrace.backends.spawn import MARK, Spawned

PATIENCE_S = 2.0
PARENT = "parent-"
"""How the note of a zygote begins; a worker's is its number."""
MARKED = "mark-"
"""How the note of a zygote's mark begins, which whoever begins it leaves: it is the one note of a namespace, in which
processes have other numbers."""
_POLL_S = 0.02
_WORKER = b"headrace.work"
_WRITES = os.O_WRONLY | os.O_RDWR


def note_mark(folder: Path, spawned: Spawned) -> None:
    """Leave word of a zygote where a later driver of the run looks for what this one left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{spawned.mark}"
    aside.write_text(f"{process_began(spawned.pid)} {spawned.pid}")
    aside.replace(folder / f"{MARKED}{spawned.mark}")  # others of the run, beside this one, read no half of it


def end_leftovers(folder: Path, patience_s: float = PATIENCE_S, *, of: tuple[int, str] | None = None) -> None:
    """Wait a little for the processes noted in a folder to end, then kill those that haven't, with all they began.

    Workers go first: the process that began them ends with the last of them, and takes along what they leave behind.
    `of` is the number and the mark of the one whose workers are meant, where not all are.
    """
    number, marks = (None, _marks(folder)) if of is None else (of[0], {of[1]})
    if not marks and not _notes(folder, number):
        return
    _wait_for(lambda: bool(_living(folder, number)) or any(map(_is_worker, _marked(marks))), patience_s)
    for note in _living(folder, number):
        if not note.name.startswith(PARENT):
            _kill_tree(_pid(note))
    _wait_for(lambda: bool(_living(folder, number)), PATIENCE_S)
    for note in _living(folder, number):
        _kill_tree(_pid(note))
    _wait_for(lambda: bool(_living(folder, number)), PATIENCE_S)
    _end_strays(folder, marks, {_pid(note) for note in _notes(folder, number)})
    for note in _notes(folder, number):
        note.unlink(missing_ok=True)
    for mark in marks:
        (folder / f"{MARKED}{mark}").unlink(missing_ok=True)


def end_orphans(folder: Path) -> None:
    """Kill what is left of zygotes that are dead, beside others of the run that live."""
    for mark in _marks(folder):
        note = folder / f"{MARKED}{mark}"
        _, *numbers = _read(note)
        if numbers and not _lives(note):  # without them, another has just cleared it away
            workers = _notes(folder, int(numbers[0]))
            _end_strays(folder, {mark}, {_pid(each) for each in workers})
            note.unlink(missing_ok=True)


def process_began(pid: int) -> str:
    """Return when a process began, in ticks since boot: its number and that name it for good. Empty if it is gone."""
    fields = _stat(pid)
    return "" if not fields or fields[0] == "Z" else fields[19]


# -- notes -----------------------------------------------------------------------------------------------------------


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _marks(folder: Path) -> set[str]:
    return {name.removeprefix(MARKED) for name in _names(folder) if name.startswith(MARKED)}


def _notes(folder: Path, of: int | None) -> list[Path]:
    notes = [folder / name for name in _names(folder) if name.removeprefix(PARENT).isdecimal()]
    return notes if of is None else [note for note in notes if _read(note)[1:] == [str(of)]]


def _living(folder: Path, of: int | None) -> list[Path]:
    return [note for note in _notes(folder, of) if _lives(note)]


def _read(note: Path) -> list[str]:
    """Return when a process began, and a number: of the one that began it, or in the note of a mark its own."""
    try:
        return note.read_text().split(" ")
    except OSError:
        return [""]


def _lives(note: Path) -> bool:
    """Whether the very process that a note is about lives: its number may have been given to another since."""
    began, *numbers = _read(note)
    if not began:
        return False
    return began == process_began(int(numbers[0]) if note.name.startswith(MARKED) else _pid(note))


def _pid(note: Path) -> int:
    return int(note.name.removeprefix(PARENT))


# -- processes -------------------------------------------------------------------------------------------------------


def _end_strays(folder: Path, marks: Collection[str], workers: Collection[int]) -> None:
    """Kill what carries a mark, or has lost it and still shows that one of these workers began it, whoever its parent
    is by now; what that begins meanwhile, too."""
    local = folder.resolve().parent.parent
    logs, scratch = f"{local}/logs/{folder.name}/", f"{local}/scratch/{folder.name}/"

    def is_ours(pid: int) -> bool:
        return _has_mark(pid, marks) or _shows(pid, logs, scratch, workers)

    due = time.monotonic() + PATIENCE_S
    while time.monotonic() < due:
        strays = [pid for pid in _all() if is_ours(pid)]
        if not strays:
            return
        for pid in strays:
            _kill(pid, is_ours)
        time.sleep(_POLL_S)


def _all() -> Iterator[int]:
    me = os.getpid()
    return (int(name) for name in _names(Path("/proc")) if name.isdecimal() and int(name) != me)


def _marked(marks: Collection[str]) -> list[int]:
    return [pid for pid in _all() if _has_mark(pid, marks)] if marks else []


def _has_mark(pid: int, marks: Collection[str]) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it is gone, or another user's
        return False
    head = f"{MARK}=".encode()
    return any(each.startswith(head) and each[len(head) :].decode() in marks for each in environment.split(b"\0"))


def _is_worker(pid: int) -> bool:
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _shows(pid: int, logs: str, scratch: str, workers: Collection[int]) -> bool:
    """Whether a process is in the session and the folder of one of these workers, or writes to the log of one."""
    fields = _stat(pid)
    if not workers or not fields or fields[0] == "Z":
        return False
    with suppress(OSError):
        if int(fields[3]) in workers and os.readlink(f"/proc/{pid}/cwd").startswith(scratch):
            return True
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = os.readlink(f"/proc/{pid}/fd/{name}")
            if path.startswith(logs) and path.rpartition("-")[2] in map(str, workers):
                told = Path(f"/proc/{pid}/fdinfo/{name}").read_text().split()
                return bool(int(told[told.index("flags:") + 1], 8) & _WRITES)
    return False


def _stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _wait_for(lives: Callable[[], bool], patience_s: float) -> None:
    due = time.monotonic() + patience_s
    while lives() and time.monotonic() < due:
        time.sleep(_POLL_S)


def _kill_tree(pid: int) -> None:
    """Kill a process with all that it began, whatever sessions that is in."""
    doomed = [pid]
    for each in doomed:
        doomed += _children(each)
    for each in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _kill(pid: int, is_ours: Callable[[int], bool]) -> None:
    """Kill the very process that is ours: its number may have been given to another since that was seen."""
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if is_ours(pid):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
