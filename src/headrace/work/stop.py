"""Tells an attempt to stop, by an exception in the user's code."""

from __future__ import annotations

import os
import signal
from _signal import getsignal  # type: ignore[import-not-found]  # `signal.getsignal` tries an enum first: 15 us a task
from threading import get_ident
from types import FrameType
from typing import Any, NoReturn


class StopAttempt(BaseException):
    """Raised in the user's code when the attempt is told to stop, so that `finally` blocks run."""


class Stop:
    """Turns SIGTERM into `StopAttempt` in the user's code, and nowhere else.

    Use it as a context manager around the user's code. If the signal comes during an attempt but while Headrace's own
    code runs, it is only recorded in `told`, and the worker ends after its report. If the signal comes outside of an
    attempt, it ends the process.
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
                self._running = False  # if `__enter__` raises, `__exit__` isn't called

    def __exit__(self, *_: Any) -> None:
        self._running = False

    def cry(self) -> None:
        """Raise `StopAttempt` if the user's code runs."""
        if self._running:
            raise StopAttempt("it was told to stop")

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self.told = True
        if self.shield.up:
            self.shield.owes = True
        else:
            self.obey()

    def obey(self) -> None:
        """Stop what runs now: raise `StopAttempt` in the user's code, or end a process that has no attempt. While
        Headrace's own code runs in an attempt, do nothing: the worker ends after its report."""
        if self._running:
            self.cry()
        elif not self.under_way:
            self.leave()

    def leave(self) -> NoReturn:
        """End the process by the signal SIGTERM, so that its parent sees this reason: the process didn't fail, and
        wasn't asked to quit by a message."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)  # the first process of a namespace survives that signal


class _Shield:
    """Delays `StopAttempt` while the user's code calls Headrace's own code, which could otherwise be stopped in the
    middle of a message. Half a message would corrupt the connection.

    In other threads than the main one, a shield does nothing, since only the main thread gets signals.
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
            self._stop.obey()  # not only `cry`: the tracer has no attempt, and would wait for its next message
