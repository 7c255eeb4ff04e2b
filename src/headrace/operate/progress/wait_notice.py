"""A thread that reports what this process waits for when a wait takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.report.measures import seconds_text
from headrace.waits import Wait, longest

SAY_S = 5.0
"""A wait is reported when it has lasted this many seconds."""
AGAIN_S = 30.0
"""A wait that goes on is reported again after this many seconds."""
LOOK_S = 0.5


@contextmanager
def looking_out(say: Callable[[str], None], look_s: float = LOOK_S) -> Iterator[None]:
    """Report waits of this process while the context lasts: call `say` with a message for each wait that takes long.

    A thread looks for such waits every `look_s` seconds. A message says what the wait is for, how long it has lasted,
    and how long it may still last.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_look_out, args=(say, ended, look_s), name="headrace-lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _look_out(say: Callable[[str], None], ended: threading.Event, look_s: float) -> None:
    last: Wait | None = None
    said_at = 0.0
    while not ended.wait(look_s):
        now, wait = time.monotonic(), longest()
        if wait is None or now - wait.since < SAY_S:
            last = None
        elif last != wait or now - said_at >= AGAIN_S:
            last, said_at = wait, now
            say(text(wait, now))


def text(wait: Wait, now: float) -> str:
    """Return a message that says what a wait is for, how long it has lasted, and how much longer it may last.

    >>> text(Wait("an answer of the store", 0.0, 60.0), 5.0)
    'waiting for an answer of the store, for 5.0 s so far, and for 55.0 s more at most'
    """
    left = f", and for {seconds_text(wait.until - now)} more at most" if wait.until > now else ""
    return f"waiting for {wait.what}, for {seconds_text(now - wait.since)} so far{left}"
