"""What this process waits for at this moment: an answer of a peer, such as a server, a store or a worker.

    with waiting("an answer of the ledger", within_s=60.0):
        ...

A wait has an end, which its owner sees to. Here it is noted, so that somebody who looks on can say what takes so long,
and told who is in a hurry: after a second ^C nobody waits for a peer that says nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct


class Wait(Struct, frozen=True):
    """A wait for `what`, since when, and until when at most (both by `time.monotonic`)."""

    what: str
    since: float
    until: float


_now: dict[int, Wait] = {}
_hurried = threading.Event()


def begin(what: str, within_s: float) -> Wait:
    """Note a wait, until `end`."""
    now = time.monotonic()
    wait = Wait(what, now, now + within_s)
    _now[id(wait)] = wait
    return wait


def end(wait: Wait | None) -> None:
    """Note that a wait is over; None was none."""
    if wait is not None:
        _now.pop(id(wait), None)


@contextmanager
def waiting(what: str, within_s: float) -> Iterator[None]:
    """Note a wait for as long as this lasts."""
    wait = begin(what, within_s)
    try:
        yield
    finally:
        end(wait)


def longest() -> Wait | None:
    """Return the wait that has lasted longest, of all that this process's threads are at."""
    return min(list(_now.values()), key=lambda wait: wait.since, default=None)


def hurry() -> None:
    """End each wait for a peer that says nothing: the user wants to leave."""
    _hurried.set()


def take_time() -> None:
    """Let waits last as long as they are meant to."""
    _hurried.clear()


def is_hurried() -> bool:
    """Say whether the user wants to leave."""
    return _hurried.is_set()
