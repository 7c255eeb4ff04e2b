"""How an attempt is told to end."""

from __future__ import annotations

import os
import signal
from _signal import getsignal  # type: ignore[import-not-found]  # that of `signal` tries an enum first: 15 us a task
from threading import get_ident
from types import FrameType
from typing import Any, NoReturn


class StopAttempt(BaseException):
    """The attempt is told to end: raised in the user's code, so that its `finally` blocks run."""


class Stop:
    """Turns SIGTERM into `StopAttempt` in the user's code, and nowhere else.

    Used as a context manager it lasts as long as the user's code runs. While an attempt is under way, but our own code
    is at work, the signal is noted: `told` says so, and the worker leaves once it has reported. At any other time it
    ends the process.
    """

    def __init__(self) -> None:
        self.told = False
        self.under_way = False
        self.shield = _Shield(self)
        self._running = False
        self._handler = self._signalled
        signal.signal(signal.SIGTERM, self._handler)

    def __enter__(self) -> None:
        if getsignal(signal.SIGTERM) is not self._handler:
            signal.signal(signal.SIGTERM, self._handler)
        self._running = True
        if self.told:
            try:
                self.cry()
            finally:
                self._running = False  # what `__enter__` raises, `__exit__` doesn't hear of

    def __exit__(self, *_: Any) -> None:
        self._running = False

    def cry(self) -> None:
        """Raise it, if the user's code runs."""
        if self._running:
            raise StopAttempt("it was told to stop")

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self.told = True
        if self.shield.up:
            self.shield.owes = True
        elif self._running:
            self.cry()
        elif not self.under_way:
            self.leave()

    def leave(self) -> NoReturn:
        """End the process by the signal that told it so: who sees that knows that it was neither asked nor at fault."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)  # the first process of a namespace outlives that


class _Shield:
    """Holds the exception back while our code is at work inside of the user's: half a message would spoil the line.

    To threads of the user's it is nothing: a signal comes to the main thread alone.
    """

    def __init__(self, stop: Stop) -> None:
        self.up = False
        self.owes = False
        self._stop = stop
        self._thread = get_ident()

    def __enter__(self) -> None:
        if get_ident() == self._thread:
            self.up = True

    def __exit__(self, *_: Any) -> None:
        if get_ident() != self._thread:
            return
        self.up = False
        if self.owes:
            self.owes = False
            self._stop.cry()
