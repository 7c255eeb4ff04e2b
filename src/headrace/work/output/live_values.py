"""Collects the values that an attempt logs, and reports them several times a second."""

from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from headrace.codec.classes import is_a
from headrace.codec.values import Picture
from headrace.define.log import MOST, check_name, counts, number, pass_on, records, whole
from headrace.errors import HeadraceError
from headrace.run.events import Logged, Points, Shown
from headrace.spec.artifact import Ref

EVERY_S = 0.5
"""The most seconds that pass between the logging of a value and its report."""

LARGEST = 1 << 16
"""The most points (logged numbers) in one event."""

_Point = tuple[str, float, int, float]


class Log:
    """An attempt's log of values. `add` may be called from any thread; a separate thread reports the values.

    `report` sends an event, from any thread. `save` saves a value as an artifact. `mask` hides the secrets in a text.
    `look` reads the driver's messages. `passed` is the file to which the attempt's child processes append the values
    that they log, or None.
    """

    def __init__(
        self,
        task: str,
        attempt: int,
        rank: int,
        *,
        report: Callable[[Logged], None],
        save: Callable[[object], Ref],
        mask: Callable[[str], str],
        look: Callable[[], None],
        passed: Path | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self._task = task
        self._attempt = attempt
        self._rank = rank
        self._report = report
        self._save = save
        self._mask = mask
        self._look = look
        self._every_s = every_s
        self._passed = passed
        self._read = 0
        self._was_passed = False
        self._points: deque[_Point] = deque()
        self._texts: deque[Shown] = deque()
        self._figures: deque[Shown] = deque()
        self._counts: dict[str, bool] = {}
        self._steps: defaultdict[str, count[int]] = defaultdict(count)  # `next` is atomic, so threads can share it
        self._saving = threading.Lock()
        self._flushing = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, name: str, value: object, step: int | None = None) -> None:
        """Add a value to the log. Once added, it is reported even if the attempt fails, unless its process is killed.

        Raises:
            UsageError: the name, the value or the step can't be logged.
        """
        does_count = self._counts.get(name)
        if does_count is None:
            does_count = self._check(name)
        if not does_count or self._over.is_set():
            return
        if os.getpid() != self._pid:  # a forked process
            if self._passed is not None:
                pass_on(str(self._passed), name, value, step)
            return
        if step is None:
            step = next(self._steps[name])
        elif type(step) is not int or not -MOST <= step < MOST:
            step = whole(name, step)
        if type(value) is float:
            self._points.append((name, value, step, time.time()))
        elif isinstance(value, str | Picture) or is_a(value, "matplotlib.figure.Figure"):
            self._show(name, value, step)
        else:
            self._points.append((name, number(name, value), step, time.time()))
        if self._thread is None:
            self._begin()

    def close(self) -> None:
        """Report all values that have not been reported yet. Values that are added later are ignored."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._flush()
        if self._passed is not None and self._was_passed:
            self._passed.unlink(missing_ok=True)

    def _check(self, name: str) -> bool:
        """Return whether values with this name are logged on this node."""
        check_name(name)
        does_count = self._counts[name] = counts(name, self._rank)
        return does_count

    def _show(self, name: str, value: object, step: int) -> None:
        shown = Shown(name, step, time.time(), self._keep(value))
        (self._texts if isinstance(value, str) else self._figures).append(shown)

    def _begin(self) -> None:
        with self._flushing:
            if self._thread is None and not self._over.is_set():
                thread = threading.Thread(target=self._run, name="headrace-log", daemon=True)
                thread.start()
                self._thread = thread  # only after it has started: a thread that can't start can't be joined

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._flush()
            self._look()  # reads acknowledgements, which nothing else reads now: acknowledged reports aren't kept

    def _hear(self) -> None:
        """Add the values that other processes of the attempt have passed on since the last call."""
        try:
            if self._passed is None or os.stat(self._passed).st_size == self._read:
                return
            self._was_passed = True
            with self._passed.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return
        begun = self._read
        for record, end in records(data):
            self._read = begun + end
            if isinstance(record.value, str):
                with suppress(HeadraceError):  # if the store can't be written to, code that needs it reports so
                    self._texts.append(Shown(record.name, record.step, record.at, self._keep(record.value)))
            else:
                self._points.append((record.name, record.value, record.step, record.at))

    def _keep(self, value: object) -> Ref:
        with self._saving:
            return self._save(self._mask(value) if isinstance(value, str) else value)

    def _flush(self) -> None:
        with self._flushing:
            self._hear()
            texts, figures = _drain(self._texts), _drain(self._figures)
            points = _drain(self._points)
            while points or texts or figures:
                head, points = points[:LARGEST], points[LARGEST:]
                at = head[0][3] if head else (texts + figures)[0].at
                self._report(Logged(self._task, self._attempt, at, _columns(head, at), tuple(texts), tuple(figures)))
                texts, figures = [], []


def _drain(queue: deque[Any]) -> list[Any]:
    """Remove all items from a queue, and return them. Other threads may append items at the same time."""
    return [queue.popleft() for _ in range(len(queue))]


def _columns(points: list[_Point], at: float) -> tuple[Points, ...]:
    curves: dict[str, tuple[array[int], array[float], array[float]]] = {}
    for name, value, step, when in points:
        curve = curves.get(name)
        if curve is None:
            curve = curves[name] = array("q"), array("d"), array("f")
        curve[0].append(step)
        curve[1].append(value)
        curve[2].append(when - at)
    return tuple(
        Points(name, _bytes(steps), _bytes(values), _bytes(after)) for name, (steps, values, after) in curves.items()
    )


def _bytes(column: array[Any]) -> bytes:
    """Return a column of numbers as little-endian bytes."""
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()
