"""Finds and ends the processes that an earlier driver of a run left on this machine.

A process is found in one of three ways. None of these ways matches another process by chance:

- A worker is found by its process id together with the time at which it began.
- A process that a stage started is found by the zygote's mark, an environment variable that it inherits.
- A process that a stage started without this variable is found because it writes to the worker's log, or is in the
  worker's session and folder.

A note is a file about one process. Notes are in one folder for each run and pool (`run.wire.Hello.notes`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from headrace.backends.processes.spawn import MARK, Spawned

PATIENCE_S = 2.0
PARENT = "parent-"
"""The beginning of the file name of a zygote's note. A worker's note is named by its process id only."""
MARKED = "mark-"
"""The file name of a note about a zygote's mark begins with this. The process that starts the zygote writes this note.

Inside a namespace, processes have other process ids than outside. So a zygote in a namespace has only this note.
"""
DOOR = "door-"
"""The beginning of the file name of the socket on which a zygote waits for the run's next driver. The zygote's mark
follows."""
_POLL_S = 0.02
_WORKER = b"headrace.work"
_WRITES = os.O_WRONLY | os.O_RDWR


def note_mark(folder: Path, spawned: Spawned) -> None:
    """Write the note of a zygote's mark into a folder, so that a later driver can find the zygote's processes."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{spawned.mark}"
    aside.write_text(f"{process_began(spawned.pid)} {spawned.pid}")
    aside.replace(folder / f"{MARKED}{spawned.mark}")  # so that no other process of the run reads an unfinished note


def living_zygotes(folder: Path) -> list[tuple[str, int]]:
    """Return the mark and the process id of each living zygote with a note in a folder. For a zygote in a namespace,
    this is the process id of the namespace's own process."""
    notes = [(mark, folder / f"{MARKED}{mark}") for mark in _marks(folder)]
    return [(mark, int(_read(note)[1])) for mark, note in notes if _lives(note)]


def is_alive(folder: Path, mark: str) -> bool:
    """Return whether the zygote with this mark is alive."""
    return _lives(folder / f"{MARKED}{mark}")


def end_leftovers(
    folder: Path,
    patience_s: float = PATIENCE_S,
    *,
    of: tuple[int, str] | None = None,
    spare: Collection[tuple[int, str]] = (),
) -> None:
    """Wait up to `patience_s` for the processes noted in a folder to end. Then kill those that haven't ended, and all
    processes that they started.

    Workers are killed first: a zygote without workers ends the processes that its workers left, and then itself. `of`
    is the process id and the mark of a zygote: only its processes are ended (None: those of all zygotes except
    `spare`).
    """
    spared = {str(number) for number, _ in spare}

    def is_meant(zygote: str) -> bool:
        return zygote not in spared if of is None else zygote == str(of[0])

    marks = _marks(folder) - {mark for _, mark in spare} if of is None else {of[1]}
    if not marks and not _notes(folder, is_meant):
        return
    _wait_for(lambda: bool(_living(folder, is_meant)) or any(map(_is_worker, _marked(marks))), patience_s)
    for note in _living(folder, is_meant):
        if not note.name.startswith(PARENT):
            _kill_tree(_pid(note))
    _wait_for(lambda: bool(_living(folder, is_meant)), PATIENCE_S)
    for note in _living(folder, is_meant):
        _kill_tree(_pid(note))
    _wait_for(lambda: bool(_living(folder, is_meant)), PATIENCE_S)
    _end_strays(folder, marks, {_pid(note) for note in _notes(folder, is_meant)})
    for note in _notes(folder, is_meant):
        note.unlink(missing_ok=True)
    for mark in marks:
        (folder / f"{DOOR}{mark}").unlink(missing_ok=True)
        (folder / f"{MARKED}{mark}").unlink(missing_ok=True)


def end_orphans(folder: Path) -> None:
    """Kill the processes that dead zygotes left. The processes of living zygotes go on."""
    for mark in _marks(folder):
        note = folder / f"{MARKED}{mark}"
        _, *numbers = _read(note)
        if numbers and not _lives(note):  # an empty note means that another process has just removed it
            workers = _notes(folder, numbers[0].__eq__)
            _end_strays(folder, {mark}, {_pid(worker) for worker in workers})
            note.unlink(missing_ok=True)


def end_marked(is_meant: Callable[[str], bool]) -> None:
    """Kill all processes of this user for whose marks `is_meant` is true, and those that are started meanwhile."""
    _end_all(lambda pid: (mark := _mark(pid)) is not None and is_meant(mark))


def process_began(pid: int) -> str:
    """Return when a process began, in clock ticks since boot, or "" if it has ended.

    A process id may be used again after its process has ended. A process id together with this time is unique.
    """
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


def _notes(folder: Path, is_meant: Callable[[str], bool]) -> list[Path]:
    """Return the notes about zygotes and their workers. A note is left out if `is_meant` is false for the zygote's
    process id."""
    notes = [folder / name for name in _names(folder) if name.removeprefix(PARENT).isdecimal()]
    return [note for note in notes if is_meant("".join(_read(note)[1:2]))]


def _living(folder: Path, is_meant: Callable[[str], bool]) -> list[Path]:
    return [note for note in _notes(folder, is_meant) if _lives(note)]


def _read(note: Path) -> list[str]:
    """Return the fields of a note: when the process began, and a process id.

    In the note of a worker or zygote, the process id is that of its parent process. In the note of a mark, it is that
    of the zygote itself (in a namespace: of the namespace's own process).
    """
    try:
        return note.read_text().split(" ")
    except OSError:
        return [""]


def _lives(note: Path) -> bool:
    """Return whether the process of a note is alive. A later process with the same process id doesn't count."""
    began, *numbers = _read(note)
    if not began:
        return False
    return began == process_began(int(numbers[0]) if note.name.startswith(MARKED) else _pid(note))


def _pid(note: Path) -> int:
    return int(note.name.removeprefix(PARENT))


# -- processes -------------------------------------------------------------------------------------------------------


def _end_strays(folder: Path, marks: Collection[str], workers: Collection[int]) -> None:
    """Kill all processes that have one of `marks`, and all processes that one of `workers` started, even those without
    a mark.

    Processes whose parents have ended are killed too, and so are processes that are started during the killing.
    """
    run = folder.resolve().parent
    local = run.parent.parent
    logs, scratch = f"{local}/logs/{run.name}/", f"{local}/scratch/{run.name}/"

    _end_all(lambda pid: _mark(pid) in marks or _shows(pid, logs, scratch, workers))


def _end_all(is_ours: Callable[[int], bool]) -> None:
    """Kill the processes for which `is_ours` is true until there are none, but for at most `PATIENCE_S` seconds."""
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
    return [pid for pid in _all() if _mark(pid) in marks] if marks else []


def _mark(pid: int) -> str | None:
    """Return the mark in a process's environment, or None if there is none."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or belongs to another user
        return None
    head = f"{MARK}=".encode()
    marks = (variable.removeprefix(head) for variable in environment.split(b"\0") if variable.startswith(head))
    return next(map(os.fsdecode, marks), None)


def _is_worker(pid: int) -> bool:
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _shows(pid: int, logs: str, scratch: str, workers: Collection[int]) -> bool:
    """Return whether one of `workers` started the process `pid`.

    A worker started the process if the process is in the worker's session and folder, or writes to the worker's log.
    """
    fields = _stat(pid)
    if not workers or not fields or fields[0] == "Z":
        return False
    with suppress(OSError):
        if int(fields[3]) in workers and os.readlink(f"/proc/{pid}/cwd").startswith(scratch):
            return True
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = os.readlink(f"/proc/{pid}/fd/{name}")
            if path.startswith(logs) and path.rpartition("-")[2] in map(str, workers):
                words = Path(f"/proc/{pid}/fdinfo/{name}").read_text().split()
                return bool(int(words[words.index("flags:") + 1], 8) & _WRITES)
    return False


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` from the process's state on, or an empty list if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _wait_for(lives: Callable[[], bool], patience_s: float) -> None:
    due = time.monotonic() + patience_s
    while lives() and time.monotonic() < due:
        time.sleep(_POLL_S)


def _kill_tree(pid: int) -> None:
    """Kill a process and all processes that it started, in all sessions."""
    doomed = [pid]
    for process in doomed:
        doomed += _children(process)
    for process in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _kill(pid: int, is_ours: Callable[[int], bool]) -> None:
    """Kill the process `pid` if `is_ours(pid)` is still true: the process id may belong to another process by now."""
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
