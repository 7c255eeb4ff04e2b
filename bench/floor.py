"""What the floors are made of: a round trip through a pipe, a digest, a commit that is on the disk."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from blake3 import blake3

TIMES = 1000
"""How often each is done in one measurement."""


class Echo:
    """A process that sends back what it gets, through two pipes."""

    def __enter__(self) -> Self:
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write)
            while data := os.read(there, 4096):
                os.write(back, data)
            os._exit(0)
        os.close(there)
        os.close(back)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        os.waitpid(self._pid, 0)

    def round_trip(self) -> float:
        """Return the seconds that 100 bytes take there and back."""
        data = bytes(100)
        began = time.perf_counter()
        for _ in range(TIMES):
            os.write(self._write, data)
            os.read(self._read, 4096)
        return (time.perf_counter() - began) / TIMES


def commit(folder: Path) -> float:
    """Return the seconds that the commit of one small row takes, in a database kept as the ledger is.

    That is: in a write-ahead log, each commit on the disk. As for a run, the log is a new one, which grows; writing
    over an old one would be faster.
    """
    with TemporaryDirectory(dir=folder) as place:
        db = sqlite3.connect(f"{place}/floor.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        began = time.perf_counter()
        for _ in range(TIMES):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO events (body) VALUES (?)", (bytes(100),))
            db.execute("COMMIT")
        took = time.perf_counter() - began
        db.close()
    return took / TIMES


def digest(value: bytes) -> float:
    """Return the seconds that the BLAKE3 digest of a value takes."""
    began = time.perf_counter()
    for _ in range(TIMES):
        blake3(value).hexdigest()
    return (time.perf_counter() - began) / TIMES
