"""The progress of each stage of a run, counted from the rows of its tasks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct, field

from headrace.ledger.views.rows import RunView
from headrace.operate.progress.observer import TaskRow
from headrace.report.measures import seconds_text, usd_text
from headrace.spec.policy import NOT_ASKED

ENDED = ("succeeded", "reused", "failed", "skipped", "cancelled")


class Stage(Struct, eq=False):
    """The progress of one stage.

    `states` counts its tasks by state. Each element of a mapped task counts; the mapped task itself doesn't. `total`
    and `done` are the numbers of all tasks and of those that have ended. `started` is the earliest start of a task
    (Unix seconds). `seconds` is the sum of the ended tasks' times. `awaits` is the latest reason why a task that has
    begun must wait. `began` and `ended` are when this process saw the first task begin and the last one end, by a
    monotonic clock.
    """

    name: str
    kind: str
    states: Counter[str] = field(default_factory=Counter)
    total: int = 0
    done: int = 0
    started: float | None = None
    seconds: float = 0.0
    awaits: str = ""
    began: float | None = None
    ended: float | None = None

    def count(self, state: str, by: int) -> None:
        """Add `by` (1 or -1) to the number of tasks in this state."""
        self.states[state] += by
        self.total += by
        if state in ENDED:
            self.done += by

    @property
    def state(self) -> str:
        """The state of the whole stage: `running` or `waiting` until all its tasks have ended, then the worst of their
        states."""
        if self.states["running"]:
            return "running"
        if self.done < self.total:
            return "running" if self.done else "waiting"
        for state in ("failed", "cancelled", "succeeded", "reused"):
            if self.states[state]:
                return state
        return "skipped"

    @property
    def counts(self) -> str:
        """The numbers of tasks that run, were reused, failed, were skipped or cancelled, as text.

        If there are no such tasks, the text is the stage's state and, if known, what the stage waits for.
        """
        states = ("running", "reused", "failed", "skipped", "cancelled")
        counts = [f"{self.states[state]} {state}" for state in states if self.states[state]]
        if counts:
            return ", ".join(counts)
        return f"{self.state}: {self.awaits}" if self.state == "waiting" and self.awaits else self.state

    def took(self, now: float) -> str:
        """Return how long the stage has run, as text; empty if none of its tasks ran."""
        if self.began is None or self.state in ("reused", "skipped"):
            return ""
        return seconds_text((self.ended or now) - self.began)


class StageCounts:
    """The progress of all stages of a run, in the order in which their first tasks were seen."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._stages: dict[str, Stage] = {}
        self._states: dict[str, str] = {}
        self._maps: set[str] = set()

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __getitem__(self, stage: str) -> Stage:
        return self._stages[stage]

    def absorb(self, rows: Iterable[TaskRow]) -> None:
        """Update the counts by rows that changed. Tasks that `--only` leaves out aren't counted."""
        touched = set()
        for row in rows:
            if row.reason == NOT_ASKED:
                self._leave_out(row)
                continue
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
            touched.add(stage.name)
        for name in touched:
            self._time(self._stages[name])

    def is_map(self, task: str) -> bool:
        """Return whether a task is known to be mapped, because elements of it have been seen."""
        return task in self._maps

    def _leave_out(self, row: TaskRow) -> None:
        """Remove from the counts a task that `--only` leaves out. Also remove its stage if the stage has no other
        task."""
        stage = self._stages.get(row.stage)
        if stage is not None:
            self._count(stage, row.name, None)
            if not stage.total:
                del self._stages[row.stage]

    def _time(self, stage: Stage) -> None:
        """Set the times at which the stage's first task began and its last one ended."""
        if stage.state != "waiting":
            now = self._monotonic()
            stage.began = now if stage.began is None else stage.began
            stage.ended = now if stage.done == stage.total else None

    def _count(self, stage: Stage, name: str, state: str | None) -> None:
        before = self._states.pop(name, None)
        if before is not None:
            stage.count(before, -1)
        if state is not None:
            self._states[name] = state
            stage.count(state, 1)


def ended_text(view: RunView, states: Mapping[str, int]) -> str:
    """Return, as text, how a run ended: `run 3f2a succeeded in 3.2 s: 3 succeeded, 1 reused`."""
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    cost = f", {usd_text(view.usd)}" if view.usd else ""
    state = "waits, after" if view.state == "waiting" else f"{view.state} in"
    return f"run {view.run} {state} {seconds_text(view.seconds)}{cost}" + (f": {counts}" if counts else "")
