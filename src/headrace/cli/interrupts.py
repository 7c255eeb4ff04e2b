"""What ^C and SIGTERM do to this process when no other code handles them. `main` imports this module first."""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import time
from types import FrameType

INTERRUPTED = 3
LEAVE_S = 8.0
"""After the second ^C or SIGTERM, this process ends within this many seconds in any case, even if it is still waiting
for a peer."""


def leave_at_once(_number: int, _frame: FrameType | None) -> None:
    """Print that this process was interrupted, and end it at once with exit code `INTERRUPTED`.

    Nothing is lost: results are stored already, and child processes end by themselves when this process is gone.
    """
    _leave(*interrupted())


def interrupted(message: str = "interrupted") -> tuple[bytes, int]:
    """Return the message that the command was interrupted, as bytes, and the file descriptor to which it is written:
    stderr, or with `--json`, stdout (the message is then a JSON object). For `headrace logs` the message is empty,
    because users stop following a log by an interrupt."""
    if sys.argv[1:2] == ["logs"]:
        return b"", 2
    if "--json" in sys.argv:
        return f'{{"error": "Interrupted", "message": "{message}", "hint": "call the command again"}}\n'.encode(), 1
    return f"{message}\n".encode(), 2


def _leave(words: bytes, to: int = 2) -> None:
    try:
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # a table that stays in place may have hidden the cursor
        os.write(to, words)
    finally:
        os._exit(INTERRUPTED)  # even if nobody reads stderr


def watch() -> None:
    """Start a thread that ends this process after ^C or SIGTERM if the main thread doesn't.

    The main thread can't end the process while it waits inside a library, because Python then runs no signal handler.
    Threads don't survive a fork, so a forked process must call `watch` itself.
    """
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
            time.sleep(1.0)  # Python calls the handler in this second, unless the main thread waits in a library
            leave_at_once(signal.SIGINT, None)
        count += 1
        if count == 2:
            select.select([signals], [], [], LEAVE_S)  # a third signal ends the wait
            _leave(b"left without waiting any longer; `headrace resume` goes on from what was recorded\n")
