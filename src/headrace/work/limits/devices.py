"""Chooses the accelerators of a worker, and locks them until the worker has ended. So workers share an accelerator only
if none is free, even if they belong to different runs, pools, projects or environments of the same user.

Each worker that uses accelerator `3` locks a file: the first worker locks `3`, the second `3.1`, the third `3.2`, and
so on."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

TURN_S = 1.0
"""How long a zygote waits, in seconds, while another zygote chooses. This normally takes 0.1 ms, but the other zygote
may be stopped meanwhile. The accelerators that it has locked by then look used, so both zygotes may choose the same.
This zygote waits again for each worker that it starts."""
USES = 1000
"""At most this many uses of one accelerator are looked at."""


class Devices:
    """The accelerators of one worker, by the names that `CUDA_VISIBLE_DEVICES` uses. `shared` names those that another
    worker already used when this worker started. The zygote and the worker both have the locks: the accelerators are
    free again when each of the two has closed its copies or has ended."""

    def __init__(self, names: Sequence[str] = (), shared: Sequence[str] = (), locks: Sequence[int] = ()) -> None:
        self.names = (*names, *shared)
        self.shared = tuple(shared)
        self._locks = list(locks)

    def close(self) -> None:
        """Close this process's copies of the locks. A second call does nothing."""
        while self._locks:
            os.close(self._locks.pop())


def take(number: int, cache: Callable[[], Path], used: Sequence[str] = (), known: int = 0) -> Devices:
    """Lock and return `number` accelerators that this process may use, beginning with those that the fewest workers
    use. The driver makes sure that enough of them are free. If fewer are free nevertheless, something that the driver
    doesn't know of uses some of them.

    `cache` returns the folder of this machine's caches. `used` names the accelerators that the caller's own workers
    use: once for each worker, so a name may occur several times. If files can't be locked, no other uses are known.
    `known` is how many accelerators the machine has, if they can't be counted.
    """
    if not number:
        return Devices()
    with _turn(cache) as folder:
        uses = []
        for name in _present(max(number, known)):
            users, lock = _lock_a_use(folder, name) if folder else (0, None)
            uses.append((max(users, used.count(name)), name, lock))
        uses.sort(key=lambda use: use[0])
        for _, _, lock in uses[number:]:
            if lock is not None:
                os.close(lock)
    chosen = uses[:number]
    return Devices(
        [name for users, name, _ in chosen if not users],
        [name for users, name, _ in chosen if users],
        [lock for _, _, lock in chosen if lock is not None],
    )


def _present(known: int) -> Sequence[str]:
    """Return the names of the accelerators that this process may use. If they can't be counted, there are `known`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    files = []
    with suppress(OSError):
        files = [name for name in os.listdir("/dev") if name.removeprefix("nvidia").isdecimal()]
    return [str(number) for number in range(len(files) or known)]


@contextmanager
def _turn(cache: Callable[[], Path]) -> Iterator[Path | None]:
    """Yield the folder of the locks, and let no other process choose accelerators meanwhile. If there can't be such a
    folder, yield None."""
    folder, turn = None, None
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home folder
        place = cache() / "devices" / os.uname().nodename  # several machines may have the same cache
        place.mkdir(parents=True, exist_ok=True)
        folder = place
        turn = _lock_soon(folder / "choosing")
    try:
        yield folder
    finally:
        if turn is not None:
            os.close(turn)


def _lock_a_use(folder: Path, name: str) -> tuple[int, int | None]:
    """Return how many workers use an accelerator, and the descriptor of the file that is now locked for one more use.
    The descriptor is None if no file can be locked."""
    users, lock = 0, None
    with suppress(OSError):
        for number in range(USES):
            path = folder / (quote(name, safe="") + (f".{number}" if number else ""))
            if lock is not None and not path.exists():
                break
            try:
                descriptor = _lock(path)
            except BlockingIOError:
                users += 1
                continue
            if lock is None:
                lock = descriptor
            else:
                os.close(descriptor)
    return users, lock


def _lock_soon(path: Path) -> int | None:
    """Lock a file and return its descriptor, or None if another process has it locked for `TURN_S` seconds."""
    due = time.monotonic() + TURN_S
    while time.monotonic() < due:
        try:
            return _lock(path)
        except BlockingIOError:
            time.sleep(0.0005)
    return None


def _lock(path: Path) -> int:
    """Lock a file and return its descriptor.

    Raises:
        BlockingIOError: another process has it locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)  # NFS locks no read-only files
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY)  # another user's file
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
