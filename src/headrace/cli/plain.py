"""Progress as plain lines, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headrace.app.marks import STYLES
from headrace.app.measures import seconds_text
from headrace.app.tally import ENDED, Stage, Tally
from headrace.app.watcher import RunRow, TaskRow
from headrace.cli.terminal import tell

WIDE = 8
"""A stage with more tasks than this is told of as a whole."""
EVERY_S = 2.0


class PlainWatcher:
    """Writes a line on stderr when a task begins or ends; of a wide stage, one every two seconds.

    Of a run that is resumed, it says what had succeeded before.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._began = clock()
        self._tally = Tally()
        self._told: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._last: dict[str, tuple[str, str]] = {}

    def opened(self, run_id: str) -> None:
        tell(run_id, "bold", label="run")

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        self._tally.absorb(rows)
        stages = {name: self._tally[name] for name in dict.fromkeys([row.stage for row in rows])}
        wide = {name for name, stage in stages.items() if stage.total > WIDE}
        for row in rows:
            if row.stage in wide:
                if row.state == "failed":
                    self._failed_element(row)
            elif self._is_news(row) and not (
                row.parent is None and row.state == "running" and stages[row.stage].total > 1
            ):
                self._tell_task(row)
        for name in stages:
            if name in wide:
                self._tell_stage(stages[name])

    def note(self, text: str) -> None:
        tell(text)

    def closed(self, row: RunRow) -> None:
        pass

    def _tell_stage(self, stage: Stage) -> None:
        now = self._monotonic()
        whole = stage.done == stage.total
        if not whole and now - self._told.get(stage.name, -EVERY_S) < EVERY_S:
            return
        self._told[stage.name] = now
        counts = ", ".join(f"{count} {state}" for state, count in stage.states.items() if count and state != "waiting")
        tell(f"{stage.name} {stage.done}/{stage.total}: {counts}", STYLES[stage.state], label=f"{stage.state:<9}")

    def _failed_element(self, row: TaskRow) -> None:
        """Tell of the first failures in a wide stage, each on its own."""
        if self._failures.get(row.stage, 0) < WIDE:
            self._failures[row.stage] = self._failures.get(row.stage, 0) + 1
            self._tell_task(row)

    def _is_news(self, row: TaskRow) -> bool:
        """Say whether there is something to tell: of a task that waits, that it does though it had begun, once."""
        if row.state != "waiting":
            return True
        told = self._last.get(row.name)
        return told is not None and told[0] == "running" and row.reason != ""

    def _tell_task(self, row: TaskRow) -> None:
        """Tell of a task: of one that waited, not again why."""
        state, reason = self._last.get(row.name, ("", ""))
        words = [row.name]
        if row.state == "succeeded":
            words.append(seconds_text(row.seconds))
        elif row.state in (*ENDED, "waiting") or (row.attempts > 1 and (state, reason) != ("waiting", row.reason)):
            words.append(row.reason)
        self._last[row.name] = row.state, row.reason
        before = row.state == "succeeded" and row.started and row.started + row.seconds < self._began
        label = "had succeeded" if before else f"{row.state:<9}"
        tell("  ".join(word for word in words if word), STYLES[row.state], label=label)
