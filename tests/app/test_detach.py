"""A detached driver ends as an attached one does."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

from headrace.app.detach import Announcing, detached
from headrace.app.session import _interrupted_by
from headrace.cli.interrupts import watch
from tests.projects import wait_for


def hangs(watcher: Announcing) -> None:
    """Be in a library that hears of no signal: Python's own handlers run in it, and it goes on waiting."""
    with _interrupted_by(lambda: None):
        watcher.opened(str(os.getpid()))
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


def test_a_detached_driver_whose_library_hangs_ends_when_it_is_told_to_again_and_again() -> None:
    pid = int(detached(hangs, watch))
    try:
        for _ in range(3):
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: has_heard(pid))  # a signal that comes while another is pending is none
        wait_for(lambda: has_ended(pid), 5.0)
    finally:
        if not has_ended(pid):
            os.kill(pid, signal.SIGKILL)


def has_heard(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return True
    return not any(int(mask, 16) for mask in re.findall(r"^S(?:ig|hd)Pnd:\s*(\w+)$", status, re.MULTILINE))


def has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
