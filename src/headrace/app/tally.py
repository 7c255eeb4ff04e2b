"""How far each stage of a run is, counted from the rows of its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from headrace.app.watcher import TaskRow

ENDED = ("succeeded", "reused", "failed", "skipped", "cancelled")


@dataclass(slots=True)
class Stage:
    """One stage: its tasks by state (elements of a map each count, the map itself doesn't), and its first start.

    `total` and `done` are counted along, since they are asked for at each tick. `awaits` is what a task of it that has
    begun waits for, as it was told last.
    """

    name: str
    kind: str
    states: Counter[str] = field(default_factory=Counter)
    total: int = 0
    done: int = 0
    started: float | None = None
    seconds: float = 0.0
    awaits: str = ""

    def count(self, state: str, by: int) -> None:
        """Count one more task, or one less, that is in this state."""
        self.states[state] += by
        self.total += by
        if state in ENDED:
            self.done += by

    @property
    def state(self) -> str:
        """The state of the whole stage: what its worst or its busiest task is at."""
        if self.states["running"]:
            return "running"
        if self.done < self.total:
            return "running" if self.done else "waiting"
        for state in ("failed", "cancelled", "succeeded", "reused"):
            if self.states[state]:
                return state
        return "skipped"


class Tally:
    """All stages of a run, in the order in which they were met."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._states: dict[str, str] = {}
        self._maps: set[str] = set()

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __getitem__(self, stage: str) -> Stage:
        return self._stages[stage]

    def absorb(self, rows: Iterable[TaskRow]) -> None:
        """Count what changed."""
        for row in rows:
            stage = self._stages.get(row.stage) or self._stages.setdefault(row.stage, Stage(row.stage, row.kind))
            if row.parent is not None and row.parent not in self._maps:
                self._maps.add(row.parent)
                self._count(stage, row.parent, None)
            if row.name not in self._maps:
                self._count(stage, row.name, row.state)
                stage.seconds += row.seconds if row.state in ENDED else 0.0
            if row.state == "waiting" and row.attempts:
                stage.awaits = row.reason
            if row.started and (stage.started is None or row.started < stage.started):
                stage.started = row.started

    def _count(self, stage: Stage, name: str, state: str | None) -> None:
        before = self._states.pop(name, None)
        if before is not None:
            stage.count(before, -1)
        if state is not None:
            self._states[name] = state
            stage.count(state, 1)
