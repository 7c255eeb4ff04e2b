"""The journal of a worker: a file in memory that the worker writes and its zygote reads.

From the journal, the zygote can tell a new driver which attempt the worker runs and which of its reports nobody has
acknowledged. The worker needn't answer for this. So a takeover is possible even if the worker is busy for hours in code
that doesn't return to Python.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from headrace.run.events import Failed, Moved, Succeeded, decode_event
from headrace.run.wire import Frames, Report, frame

LARGE_BYTES = 1 << 16
"""When the journal is larger than this, it is written anew, without the reports that were acknowledged."""
TRIES = 200
_PAUSE_S = 0.001
_VERSION = struct.Struct("<q")  # the file begins with a number, which is odd while the file is being written anew


class Began(Struct, frozen=True, array_like=True, tag="began"):
    """The worker begins an attempt of a task. Before this attempt, it has finished `done` other attempts. Its reports
    with numbers up to `acknowledged` are stored. If `task` is empty, the worker runs no attempt."""

    task: str
    attempt: int
    done: int
    acknowledged: int


class Standing(Struct, frozen=True):
    """The state of a worker: the attempt that it runs (None if it runs none), how many attempts it has finished, and
    its reports that no driver has acknowledged, oldest first."""

    attempt: tuple[str, int] | None
    done: int
    reports: tuple[Report, ...]


_decode = msgspec.msgpack.Decoder(Began | Report).decode


class Journal:
    """The journal of one worker. The zygote makes it before it forks the worker, so that both have it."""

    def __init__(self) -> None:
        self._file = _memory()
        self._size = _VERSION.size
        self._version = 0
        self._began = Began("", 0, 0, 0)
        os.pwrite(self._file, _VERSION.pack(0), 0)

    # -- the worker ----------------------------------------------------------------------------------------------

    def begin(self, task: str, attempt: int, done: int, acknowledged: int) -> None:
        """Write that an attempt begins (see `Began`)."""
        self._began = Began(task, attempt, done, acknowledged)
        self._append(frame(self._began))

    def report(self, framed: bytes) -> bool:
        """Write a report, given as a frame. Return whether the journal is large by now (see `LARGE_BYTES`)."""
        self._append(framed)
        return self._size > LARGE_BYTES

    def rewrite(self, reports: Iterable[tuple[int, bytes]], acknowledged: int) -> None:
        """Write the journal anew, with the present attempt and `reports`, those that no driver has acknowledged, as
        pairs of number and body. If these reports are more than half of the journal, leave it as it is."""
        kept = b"".join([frame(Report(seq, body)) for seq, body in reports])
        if 2 * len(kept) > self._size:
            return
        began = self._began
        data = frame(Began(began.task, began.attempt, began.done, acknowledged)) + kept
        self._turn()
        os.pwrite(self._file, data, _VERSION.size)
        self._size = _VERSION.size + len(data)
        os.ftruncate(self._file, self._size)
        self._turn()

    # -- the zygote ----------------------------------------------------------------------------------------------

    def read(self) -> Standing | None:
        """Return the worker's state, or None if the worker was stopped while it was writing."""
        for _ in range(TRIES):
            before = os.pread(self._file, _VERSION.size, 0)
            if _VERSION.unpack(before)[0] % 2 == 0:
                data = os.pread(self._file, os.fstat(self._file).st_size, _VERSION.size)
                if os.pread(self._file, _VERSION.size, 0) == before:
                    return _standing(data)
            time.sleep(_PAUSE_S)
        return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    # -- inside --------------------------------------------------------------------------------------------------

    def _append(self, data: bytes) -> None:
        self._size += os.pwrite(self._file, data, self._size)

    def _turn(self) -> None:
        self._version += 1
        os.pwrite(self._file, _VERSION.pack(self._version), 0)


def _standing(data: bytes) -> Standing:
    attempt, done, acknowledged = None, 0, 0
    reports = []
    for body in Frames().feed(data):
        match _decode(body):
            case Began() as began:
                attempt = (began.task, began.attempt) if began.task else None
                done, acknowledged = began.done, began.acknowledged
            case Report() as report:
                reports.append(report)
                event = decode_event(report.body)
                if isinstance(event, Succeeded | Moved | Failed) and (event.task, event.attempt) == attempt:
                    attempt, done = None, done + 1
    return Standing(attempt, done, tuple([report for report in reports if report.seq > acknowledged]))


def _memory() -> int:
    """Return the descriptor of a new file in memory. If the system has no such files, the file is a temporary one that
    has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("headrace-journal")
    import tempfile  # noqa: PLC0415  1 ms, and only macOS needs it

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
