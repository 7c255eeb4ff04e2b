"""The values that the tasks of a run have logged: a curve for each task and name, with a summary of each curve.

Pure. The state machine keeps curves while a task is alive, to write the summaries to the ledger. Readers make curves
from stored events.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct

from headrace.run.events import Logged, Points, Shown

T = TypeVar("T", int, float)

LoggedKind = Literal["number", "text", "figure"]


class Summary(Struct, frozen=True, kw_only=True):
    """The summary of what a task logged under one name: a row of the ledger's table `metrics`.

    `least` and `greatest` ignore NaN, and are None if all values are NaN. `last` is None if the last value is NaN. For
    texts and figures, `least`, `greatest` and `last` are None. `at` is when the last item was logged (Unix seconds).
    """

    task: str
    kind: LoggedKind
    name: str
    last: float | None
    least: float | None
    greatest: float | None
    count: int
    first_step: int
    last_step: int
    at: float


class Curve:
    """The points logged under one name, in the order in which they were logged: `steps`, `values` and `at` (Unix
    seconds)."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.at = array("d")
        self._attempt = 0
        self._least = math.inf
        self._greatest = -math.inf

    def extend(self, attempt: int, since: float, points: Points) -> None:
        """Add points to the curve. `points.after` counts from the time `since` (Unix seconds). Points of a later
        attempt replace the earlier attempts' points, beginning with the first step that the later attempt logged."""
        steps = _column(array("q"), points.steps)
        values, after = _column(array("d"), points.values), _column(array("f"), points.after)
        if not steps:
            return
        if attempt != self._attempt and self.steps:
            self._cut(steps[0])
        self._attempt = attempt
        self.steps.extend(steps)
        self.values.extend(values)
        self.at.extend(since + each for each in after)
        self._measure(values)

    def summary(self, task: str, name: str) -> Summary:
        """Return the curve's summary."""
        nothing = self._least > self._greatest
        last = self.values[-1]
        return Summary(
            task=task,
            kind="number",
            name=name,
            last=None if math.isnan(last) else last,
            least=None if nothing else self._least,
            greatest=None if nothing else self._greatest,
            count=len(self.steps),
            first_step=self.steps[0],
            last_step=self.steps[-1],
            at=self.at[-1],
        )

    def _cut(self, step: int) -> None:
        """Drop the curve's points from this step on."""
        kept = [place for place, each in enumerate(self.steps) if each < step]
        self.steps = array("q", [self.steps[place] for place in kept])
        self.values = array("d", [self.values[place] for place in kept])
        self.at = array("d", [self.at[place] for place in kept])
        self._least, self._greatest = math.inf, -math.inf
        self._measure(self.values)

    def _measure(self, values: array[float]) -> None:
        least, greatest = min(values, default=math.nan), max(values, default=math.nan)
        if math.isnan(least):  # `min` ignores NaN, except when the first value is NaN
            numbers = [each for each in values if not math.isnan(each)]
            least, greatest = min(numbers, default=math.inf), max(numbers, default=-math.inf)
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)


class Gathered:
    """Texts or figures of one name, in the order in which they were logged."""

    def __init__(self) -> None:
        self.items: list[Shown] = []
        self._attempt = 0

    def append(self, attempt: int, item: Shown) -> None:
        """Add a text or figure. An item of a later attempt replaces the earlier attempts' items that have the same or a
        later step."""
        if attempt != self._attempt:
            self.items = [each for each in self.items if each.step < item.step]
        self._attempt = attempt
        self.items.append(item)

    def summary(self, task: str, kind: LoggedKind, name: str) -> Summary:
        """Return the summary of the items."""
        first, last = self.items[0], self.items[-1]
        return Summary(
            task=task,
            kind=kind,
            name=name,
            last=None,
            least=None,
            greatest=None,
            count=len(self.items),
            first_step=first.step,
            last_step=last.step,
            at=last.at,
        )


class Name(NamedTuple):
    """The key of logged values: the task that logged them, their kind and their name."""

    task: str
    kind: LoggedKind
    name: str


class Curves:
    """All that was logged in a run. `changed` holds the names whose present summary is not stored yet.

    What a task logged belongs to the key under which its attempt was launched, like its output.
    """

    def __init__(self) -> None:
        self.numbers: dict[Name, Curve] = {}
        self.shown: dict[Name, Gathered] = {}
        self.changed: dict[Name, None] = {}
        self._of: dict[str, list[Name]] = {}
        self._ended: dict[Name, Summary] = {}
        self._taken: dict[str, set[int]] = {}
        self._keys: dict[str, str] = {}
        self._aside: dict[tuple[str, str], dict[Name, Curve | Gathered | Summary]] = {}

    def turn(self, task: str, key: str) -> None:
        """Note the key of a task that is launched, or that gets an output which it made earlier in this run. What the
        task logged under this key before the run got new code counts again."""
        self._keys[task] = key
        for name, logged in self._aside.pop((task, key), {}).items():
            self.changed[name] = None
            if isinstance(logged, Summary):
                self._ended[name] = logged
                continue
            self._know(name)
            if isinstance(logged, Curve):
                self.numbers[name] = logged
            else:
                self.shown[name] = logged

    def renew(self) -> None:
        """Set aside all that was logged, since the run got new code. It counts again for tasks that get the same key
        again (see `turn`)."""
        for found in (self._ended, self.numbers, self.shown):
            for name, logged in found.items():
                self._aside.setdefault((name.task, self._keys.get(name.task, "")), {})[name] = logged
            found.clear()
        self._of.clear()
        self.changed.clear()

    def knows(self, event: Logged) -> bool:
        """Return whether this event was added before.

        A driver may be killed after it stored an event and before it acknowledged the event. The next driver then gets
        the event again.
        """
        return hash(event) in self._taken.get(event.task, ())

    def add(self, event: Logged) -> None:
        """Add what an attempt logged, unless this event was added before."""
        if self.knows(event):
            return
        self._taken.setdefault(event.task, set()).add(hash(event))
        for points in event.points:
            name = Name(event.task, "number", points.name)
            curve = self.numbers.get(name)
            if curve is None:
                curve = self.numbers[name] = Curve()
                self._know(name)
            curve.extend(event.attempt, event.at, points)
            self.changed[name] = None
        kinds: tuple[tuple[LoggedKind, tuple[Shown, ...]], ...] = (("text", event.texts), ("figure", event.figures))
        for kind, items in kinds:
            for item in items:
                name = Name(event.task, kind, item.name)
                gathered = self.shown.get(name)
                if gathered is None:
                    gathered = self.shown[name] = Gathered()
                    self._know(name)
                gathered.append(event.attempt, item)
                self.changed[name] = None

    def end(self, task: str) -> None:
        """Drop the points, texts and figures of a task that has succeeded, and keep only their summaries."""
        self._taken.pop(task, None)
        for name in self._of.pop(task, ()):
            self._ended[name] = self._summary(name)
            self.numbers.pop(name, None)
            self.shown.pop(name, None)

    def summary(self, name: Name) -> Summary:
        """Return the summary of what was logged under a name."""
        return self._summary(name) if name in self.numbers or name in self.shown else self._ended[name]

    def summaries(self) -> Iterator[Summary]:
        """Yield the summary of each name under which something was logged."""
        for name in {**self._ended, **self.numbers, **self.shown}:
            yield self.summary(name)

    def _know(self, name: Name) -> None:
        self._of.setdefault(name.task, []).append(name)

    def _summary(self, name: Name) -> Summary:
        if name.kind == "number":
            return self.numbers[name].summary(name.task, name.name)
        return self.shown[name].summary(*name)


def _column(column: array[T], data: bytes) -> array[T]:
    """Add little-endian numbers to a column and return the column."""
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
