"""What ^C and SIGTERM do to this process where nobody else hears them. `main` imports it before all else."""

from __future__ import annotations

import _thread
import os
import select
import signal
import time
from types import FrameType

INTERRUPTED = 3
LEAVE_S = 8.0
"""So long a run whose user has twice said to end it may take: it ends in order, but for a peer that says nothing."""


def leave_at_once(_number: int, _frame: FrameType | None) -> None:
    """Leave at once. What counts is stored, and what has been begun ends by itself when it sees this process gone."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a table that stays in place may have hidden the cursor
    os._exit(INTERRUPTED)


def watch() -> None:
    """End this process where nobody else does: what waits in a library hears of no signal. A thread does this, so a
    process that was forked has to ask for its own."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (reading,))


def _watch(signals: int) -> None:
    count = 0
    while number := os.read(signals, 1):
        if number[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        if signal.getsignal(signal.SIGINT) is leave_at_once:
            time.sleep(1.0)  # it is called, unless this process waits
            os._exit(INTERRUPTED)
        count += 1
        if count == 2:
            select.select([signals], [], [], LEAVE_S)  # a third is heeded at once
            os.write(2, b"left without waiting any longer; `headrace resume` goes on from what was recorded\n")
            leave_at_once(signal.SIGINT, None)
