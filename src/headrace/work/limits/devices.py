"""Chooses the accelerators of a worker, and locks them until the worker has ended. So no other run, pool, project or
environment of the same user on this machine gives them to another worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


class Devices:
    """The accelerators of one worker, by the names that `CUDA_VISIBLE_DEVICES` uses. `shared` names those that another
    worker uses too. The zygote and the worker both have the locks: the accelerators are free again when each of the two
    has closed its copies or has ended."""

    def __init__(self, names: Sequence[str] = (), shared: Sequence[str] = (), locks: Sequence[int] = ()) -> None:
        self.names = (*names, *shared)
        self.shared = tuple(shared)
        self._locks = list(locks)

    def close(self) -> None:
        """Close this process's copies of the locks. A second call does nothing."""
        while self._locks:
            os.close(self._locks.pop())


def take(number: int, cache: Callable[[], Path], used: Sequence[str] = (), known: int = 0) -> Devices:
    """Lock and return `number` accelerators that this process may use and that no worker uses. The driver makes sure
    that enough of them are free. `cache` returns the folder of this machine's caches. `used` are the names of
    accelerators in use that the caller knows of, each as often as it is used. `known` is how many the machine has, if
    they can't be counted.

    If fewer are free nevertheless, something that the driver doesn't know of uses the others. Then some of those are
    returned too, without a lock, beginning with those that are used least.
    """
    names, locks, others = list[str](), list[int](), list[str]()
    for name in _present(max(number, known)):
        if len(names) == number:
            break
        lock = None if name in used else _lock(cache, name)
        if lock is None:
            others.append(name)
            continue
        names.append(name)
        locks += [lock] if lock >= 0 else []
    others.sort(key=used.count)
    return Devices(names, others[: number - len(names)], locks)


def _present(known: int) -> Sequence[str]:
    """Return the names of the accelerators that this process may use. If they can't be counted, there are `known`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    files = []
    with suppress(OSError):
        files = [name for name in os.listdir("/dev") if name.removeprefix("nvidia").isdecimal()]
    return [str(number) for number in range(len(files) or known)]


def _lock(cache: Callable[[], Path], name: str) -> int | None:
    """Return the descriptor of an accelerator's file that is now locked, or None if another process has locked it.
    Return -1 if this file system has no locks."""
    lock = -1
    try:
        folder = cache() / "devices" / os.uname().nodename  # several machines may have the same cache
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / quote(name, safe=""), os.O_RDWR | os.O_CREAT, 0o644)  # NFS locks no read-only files
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        if lock >= 0:
            os.close(lock)
        return None if isinstance(error, BlockingIOError) else -1
    return lock
