"""A witness: it reads the events of a ledger again and again while runs go on, and remembers all that it saw."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

import psycopg

from tests.faults.reading import Rows, rows_of

EVERY_S = 0.02


class Witness:
    """Looks on from a connection of its own; what it saw was committed, so it must be there when all is over.

    `seen` are the events of each run, by the run's number and their own.
    """

    def __init__(self, url: str) -> None:
        self.seen: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._ended.is_set():
            try:
                with rows_of(self._url) as rows:
                    while not self._ended.wait(EVERY_S):
                        self._look(rows)
            except (sqlite3.Error, psycopg.Error, OSError):
                time.sleep(EVERY_S)  # it isn't there yet, or down

    def _look(self, rows: Rows) -> None:
        for (number,) in rows.query("select number from runs"):
            seen = self.seen[number]
            found = rows.query("select seq, body from events where run = ? and seq >= ?", number, len(seen))
            for seq, body in found:
                seen.setdefault(seq, bytes(body))
