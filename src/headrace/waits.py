"""A record of what this process waits for at this moment, such as the answer of a server, a store or a worker.

    with waiting("an answer of the ledger", within_s=60.0):
        ...

This module only records waits. It doesn't enforce `within_s`: the waiting code must stop by itself when this time is
over. A progress display reads the record to show what takes so long.

The module also has `poll`, a wait that wakes up quickly, and `locked`, a wait for a file's lock. And it tells waiting
code that the user wants to leave: after a second ^C, `is_hurried` returns True. Then code that waits for a peer which
doesn't answer stops waiting.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

AWAKE_S = 0.0001
"""How long `poll` polls before it sleeps, in seconds. A short task ends within this time, and waking up from a sleep
takes about as long."""
_LOCK_EVERY_S = 0.005


class Wait(Struct, frozen=True):
    """A wait: what it is for, when it began, and when it ends at the latest (both times by `time.monotonic`)."""

    what: str
    since: float
    until: float


_now: dict[int, Wait] = {}
_hurried = threading.Event()


def begin(what: str, within_s: float) -> Wait:
    """Record a wait that may last `within_s` seconds, and return the wait. `end` removes the wait from the record."""
    now = time.monotonic()
    wait = Wait(what, now, now + within_s)
    _now[id(wait)] = wait
    return wait


def end(wait: Wait | None) -> None:
    """Remove a wait from the record of waits; do nothing for None."""
    if wait is not None:
        _now.pop(id(wait), None)


@contextmanager
def waiting(what: str, within_s: float) -> Iterator[None]:
    """Record a wait for as long as the `with` block lasts; the wait may last `within_s` seconds."""
    wait = begin(what, within_s)
    try:
        yield
    finally:
        end(wait)


def longest() -> Wait | None:
    """Return the wait that began first in any thread of this process, or None if there is no wait."""
    return min(list(_now.values()), key=lambda wait: wait.since, default=None)


def poll(selector: selectors.BaseSelector, timeout_s: float) -> list[tuple[selectors.SelectorKey, int]]:
    """Wait until files of a selector can be read or written, at most for `timeout_s`, and return these files.

    For the first `AWAKE_S`, poll without sleeping, and let other processes use the cpu between two polls.
    """
    until = time.monotonic() + min(AWAKE_S, timeout_s)
    while time.monotonic() < until:
        if ready := selector.select(0):
            return ready
        os.sched_yield()
    return selector.select(timeout_s)


@contextmanager
def locked(path: Path, within_s: float) -> Iterator[bool]:
    """Hold the lock of a file, which is made if it doesn't exist, during the `with` block. Wait at most `within_s`
    seconds for another thread or process that holds the lock.

    Yield False if another one held the lock all the time: it may be stopped. If the disk has no file locks, nothing is
    locked, and True is yielded.
    """
    lock, due = _opened(path), time.monotonic() + within_s
    try:
        if not (is_ours := _takes(lock)):
            with waiting(f"the lock {path}", within_s):
                while not is_ours and time.monotonic() < due and not is_hurried():
                    time.sleep(_LOCK_EVERY_S)
                    is_ours = _takes(lock)
        yield is_ours
    finally:
        os.close(lock)


def _opened(path: Path) -> int:
    """Open a file to lock it. NFS locks only files that are open for writing, but some may only be read."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _takes(lock: int) -> bool:
    """Lock a file, and return True; return False if another one has locked it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the disk has no file locks
        return True
    return True


def hurry() -> None:
    """Make `is_hurried` return True, because the user wants to leave."""
    _hurried.set()


def take_time() -> None:
    """Make `is_hurried` return False again, so that waits may last their full time."""
    _hurried.clear()


def is_hurried() -> bool:
    """Return whether waits for peers that don't answer should end now, because the user wants to leave."""
    return _hurried.is_set()
