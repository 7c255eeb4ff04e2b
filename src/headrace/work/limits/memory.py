"""The memory of a worker and of all processes that it has started, as Linux reports it."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_GIB = os.sysconf("SC_PAGE_SIZE") / 2**30
_KIB_GIB = 2**-20
CAREFUL_EVERY_S = 0.5
FREE_SHARE = 0.03
"""The share of the machine's memory that should be free."""


class Scale:
    """Measures the memory of one worker. The first measurement is quick (0.1 ms) and counts each process's own pages.
    Only if its result is above the limit, a precise measurement follows.

    After a fork, parent and child each count the pages that they still share. So the quick result may be too large. The
    kernel's proportional count is right, but the kernel reads all pages for it, which takes a tenth of a second for
    some GiB.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._careful = (-CAREFUL_EVERY_S, 0.0)

    def weigh_gib(self, limit_gib: float, now: float) -> float:
        """Return the memory that the worker takes now, in GiB; `now` is the present time in seconds, by any clock."""
        family = _family(self._pid)
        size = sum(map(_own_gib, family))
        if size <= limit_gib or len(family) == 1:
            return size
        at, careful = self._careful
        if now - at >= CAREFUL_EVERY_S:
            careful = sum(map(_proportional_gib, family))
            self._careful = now, careful
        return careful

    def shared_gib(self) -> float:
        """Return the shared memory that the worker's largest process uses, in GiB. It isn't part of `weigh_gib`,
        because processes that aren't the worker's may use it too."""
        return max(map(_shared_gib, _family(self._pid)))


def wanted_gib() -> float:
    """Return how many GiB of memory should be free, or 0 if at least that many are free now."""
    try:
        text = Path("/proc/meminfo").read_bytes()
    except OSError:
        return 0.0
    total = int(text.split(b"MemTotal:")[1].split()[0])
    free = int(text.split(b"MemAvailable:")[1].split()[0])
    return total * FREE_SHARE / 2**20 if free < total * FREE_SHARE else 0.0


def _family(pid: int) -> list[int]:
    """Return the ids of a process, its children, their children, and so on."""
    pids = [pid]
    for current in pids:
        try:
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children", "rb") as file:
                    pids += map(int, file.read().split())
        except OSError:
            continue  # the process has ended meanwhile
    return pids


def _own_gib(pid: int) -> float:
    """Return a process's resident memory in GiB, without pages of files and shared memory."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return 0.0
    return (int(fields[1]) - int(fields[2])) * _PAGE_GIB


def _shared_gib(pid: int) -> float:
    """Return the resident shared memory of a process in GiB, without pages of files on a disk."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) * _KIB_GIB for line in file if line.startswith(b"RssShmem:")), 0.0)
    except OSError:
        return 0.0


def _proportional_gib(pid: int) -> float:
    """Return a process's resident memory in GiB without pages of files, each page divided by the number of processes
    that share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss_Anon:"):
                    return int(line.split()[1]) * _KIB_GIB
    except OSError:
        pass
    return _own_gib(pid)
