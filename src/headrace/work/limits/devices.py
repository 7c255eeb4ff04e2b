"""Which accelerators a worker uses. A worker's accelerators are locked until it has ended, so that no other run, pool,
environment or zygote that uses the same folder on this machine gives them to another worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote


class Devices:
    """The accelerators of one worker, by the names that `CUDA_VISIBLE_DEVICES` uses. The zygote and the worker both
    have the locks: the accelerators are free again when both have closed them or have ended."""

    def __init__(self, names: Sequence[str] = (), locks: Sequence[int] = ()) -> None:
        self.names = tuple(names)
        self._locks = list(locks)

    def close(self) -> None:
        """Close this process's copies of the locks. A second call does nothing."""
        while self._locks:
            os.close(self._locks.pop())


def take(number: int, local: Path, used: Collection[str] = ()) -> Devices:
    """Lock `number` accelerators that this process may use and that no worker uses. The driver makes sure that so many
    are free. `local` is this machine's local folder. `used` are the names of accelerators that are known to be in use.

    If fewer are free, something that the driver doesn't know of uses the others: return some of those too.
    """
    if not number:
        return Devices()
    names, locks, others = list[str](), list[int](), list[str]()
    folder = local / "devices" / os.uname().nodename  # several machines may have the same folder
    for name in _present():
        if len(names) == number:
            break
        lock = None if name in used else _lock(folder / quote(name, safe=""))
        if lock is None:
            others.append(name)
            continue
        names.append(name)
        locks += [lock] if lock >= 0 else []
    return Devices([*names, *others[: number - len(names)]], locks)


def _present() -> Iterable[str]:
    """Yield the names of the accelerators that this process may use. If it can't be known how many there are, yield
    names without end."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    files = []
    with suppress(OSError):
        files = [name for name in os.listdir("/dev") if name.removeprefix("nvidia").isdecimal()]
    return map(str, range(len(files)) if files else count())


def _lock(file: Path) -> int | None:
    """Return the descriptor of a file that is now locked, or None if another process has locked it. Return -1 if this
    file system has no locks."""
    lock = -1
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if lock >= 0:
            os.close(lock)
        return None if isinstance(error, BlockingIOError) else -1
    return lock
