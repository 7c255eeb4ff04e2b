"""Progress as plain lines, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headrace.cli.terminal.terminal import tell
from headrace.operate.progress.observer import RunRow, TaskRow
from headrace.operate.progress.stage_counts import ENDED, Stage, StageCounts
from headrace.report.marks import STYLES
from headrace.report.measures import seconds_text
from headrace.spec.policy import NOT_ASKED

NAMED = 5
"""So many tasks that are skipped for one reason are named."""
WIDE = 8
"""A stage with more tasks than this is told of as a whole."""
EVERY_S = 2.0


class PlainObserver:
    """Writes a line on stderr when a task begins or ends; of a wide stage, one every two seconds.

    Of a run that is resumed, it says what had succeeded before.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._began = clock()
        self._counts = StageCounts()
        self._told: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._last: dict[str, tuple[str, str]] = {}
        self._errors: list[str] = []

    def opened(self, run_id: str) -> None:
        tell(run_id, "bold", label="run")

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        self._counts.absorb(rows)
        rows = [row for row in rows if row.reason != NOT_ASKED]
        stages = {name: self._counts[name] for name in dict.fromkeys([row.stage for row in rows])}
        wide = {name for name, stage in stages.items() if stage.total > WIDE}
        for row in rows:
            if row.stage in wide:
                if row.state == "failed":
                    self._failed_element(row)
            elif self._is_news(row):
                self._tell_task(row)
        self._tell_skipped([row for row in rows if row.state == "skipped" and row.stage not in wide])
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

    def shorten(self, why: str) -> str:
        """Return why a run ended without the error at its end, where that was told when the task failed."""
        for error in self._errors:
            why = why.removesuffix(f": {error}")
        return why

    def _is_news(self, row: TaskRow) -> bool:
        """Return whether a task has a line of its own: of one that waits, that it does though it had begun, once.

        Of a map its elements begin, and what is skipped has a line together.
        """
        if row.state == "skipped" or (row.state == "running" and self._counts.is_map(row.name)):
            return False
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
            words.append(self.shorten(row.reason))
        if row.state == "failed":
            self._errors.append(row.reason)
        self._last[row.name] = row.state, row.reason
        before = row.state == "succeeded" and row.started and row.started + row.seconds < self._began
        label = "had succeeded" if before else f"{row.state:<9}"
        tell("  ".join(word for word in words if word), STYLES[row.state], label=label)

    def _tell_skipped(self, rows: Sequence[TaskRow]) -> None:
        """Tell of what was skipped at once: a line for each cause, with what was skipped since that was."""
        causes = {f"`{row.name}` was skipped": row.reason for row in rows}
        skipped: dict[str, list[str]] = {}
        for row in rows:
            cause = row.reason
            while cause in causes:
                cause = causes[cause]
            skipped.setdefault(cause, []).append(row.name)
        for cause, names in skipped.items():
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            tell(f"{', '.join(names[:NAMED])}{more}  {cause}", STYLES["skipped"], label=f"{'skipped':<9}")
