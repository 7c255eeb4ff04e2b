"""The lookout: a thread that says what this process waits for, once that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.report.measures import seconds_text
from headrace.waits import Wait, longest

SAY_S = 5.0
"""A wait that lasts as long as this is told."""
AGAIN_S = 30.0
"""One that goes on is told again so often."""
LOOK_S = 0.5


@contextmanager
def looking_out(say: Callable[[str], None], look_s: float = LOOK_S) -> Iterator[None]:
    """Return what this process waits for, since when, and until when, for as long as this lasts."""
    ended = threading.Event()
    thread = threading.Thread(target=_look_out, args=(say, ended, look_s), name="headrace-lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _look_out(say: Callable[[str], None], ended: threading.Event, look_s: float) -> None:
    told: Wait | None = None
    told_at = 0.0
    while not ended.wait(look_s):
        now, wait = time.monotonic(), longest()
        if wait is None or now - wait.since < SAY_S:
            told = None
        elif told != wait or now - told_at >= AGAIN_S:
            told, told_at = wait, now
            say(text(wait, now))


def text(wait: Wait, now: float) -> str:
    """Return what a wait is for, since when, and how much longer it may last.

    >>> text(Wait("an answer of the store", 0.0, 60.0), 5.0)
    'waiting for an answer of the store, for 5.0 s so far, and for 55.0 s more at most'
    """
    left = f", and for {seconds_text(wait.until - now)} more at most" if wait.until > now else ""
    return f"waiting for {wait.what}, for {seconds_text(now - wait.since)} so far{left}"
