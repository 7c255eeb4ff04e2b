"""The waits of this process at this moment: for the answer of a server, a store or a worker.

    with waiting("an answer of the ledger", within_s=60.0):
        ...

This module only records waits; the code that waits ends each wait in time. The record serves two purposes. A progress
display can show what takes so long. And after a second ^C, `is_hurried` is true, and the code that waits for a silent
peer gives up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct


class Wait(Struct, frozen=True):
    """A wait: what it is for, when it began, and when it ends at the latest (both times by `time.monotonic`)."""

    what: str
    since: float
    until: float


_now: dict[int, Wait] = {}
_hurried = threading.Event()


def begin(what: str, within_s: float) -> Wait:
    """Record a wait that may last `within_s` seconds, and return it; `end` removes it from the record."""
    now = time.monotonic()
    wait = Wait(what, now, now + within_s)
    _now[id(wait)] = wait
    return wait


def end(wait: Wait | None) -> None:
    """Remove a wait from the record; do nothing for None."""
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
    """Return the wait that began first among those of all threads of this process, or None if there is no wait."""
    return min(list(_now.values()), key=lambda wait: wait.since, default=None)


def hurry() -> None:
    """Make `is_hurried` return true: the user wants to leave, so waits for silent peers should end now."""
    _hurried.set()


def take_time() -> None:
    """Make `is_hurried` return false again, so that waits may last their full time."""
    _hurried.clear()


def is_hurried() -> bool:
    """Return whether the user wants to leave, so that waits for silent peers should end now."""
    return _hurried.is_set()
