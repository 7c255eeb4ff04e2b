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
"""A line about tasks that were skipped for the same reason names at most this many of them."""
WIDE = 8
"""A stage with more tasks than this is wide: its tasks are counted on one line, not listed."""
EVERY_S = 2.0


class PlainObserver:
    """An observer that prints a line on stderr when a task begins or ends. For a wide stage (one with more than `WIDE`
    tasks), it prints one line every two seconds instead.

    For a resumed run, it also prints which tasks had succeeded before.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts = StageCounts()
        self._told: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._last: dict[str, tuple[str, str]] = {}
        self._ran: set[str] = set()
        self._errors: list[str] = []

    def opened(self, run_id: str) -> None:
        tell(run_id, "bold", label="run")

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        self._counts.absorb(rows)
        rows = [row for row in rows if row.reason != NOT_ASKED]
        self._ran.update(row.name for row in rows if row.state == "running")
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
        """Print a line for a failed task of a stage with more than `WIDE` tasks, but only for the stage's first `WIDE`
        failures."""
        if self._failures.get(row.stage, 0) < WIDE:
            self._failures[row.stage] = self._failures.get(row.stage, 0) + 1
            self._tell_task(row)

    def shorten(self, why: str) -> str:
        """Return the text `why`. If it ends with an error that was printed already, leave this error out."""
        for error in self._errors:
            why = why.removesuffix(f": {error}")
        return why

    def _is_news(self, row: TaskRow) -> bool:
        """Return whether a task gets a line now.

        A waiting task gets a line only if it was running before. A skipped task gets none of its own, because skipped
        tasks share a line. A mapped task that runs gets none, because each of its elements gets a line.
        """
        if row.state == "skipped" or (row.state == "running" and self._counts.is_map(row.name)):
            return False
        if row.state != "waiting":
            return True
        last = self._last.get(row.name)
        return last is not None and last[0] == "running" and row.reason != ""

    def _tell_task(self, row: TaskRow) -> None:
        """Print a task's line. If the reason why the task waited was printed before, it isn't printed again."""
        state, reason = self._last.get(row.name, ("", ""))
        words = [row.name]
        if row.state == "succeeded":
            words.append(seconds_text(row.seconds))
        elif row.state in (*ENDED, "waiting") or (row.attempts > 1 and (state, reason) != ("waiting", row.reason)):
            words.append(self.shorten(row.reason))
        if row.state == "failed":
            self._errors.append(row.reason)
        self._last[row.name] = row.state, row.reason
        label = "had succeeded" if self._is_earlier(row) else f"{row.state:<9}"
        tell("  ".join(word for word in words if word), STYLES[row.state], label=label)

    def _is_earlier(self, row: TaskRow) -> bool:
        """Return whether a task had succeeded before this driver: it has run, but not since this observer began."""
        has_run = row.started > 0 or self._counts.is_map(row.name)  # a map without elements never runs
        return row.state == "succeeded" and has_run and row.name not in self._ran

    def _tell_skipped(self, rows: Sequence[TaskRow]) -> None:
        """Print the skipped tasks, one line for each cause.

        A task that was skipped because of another skipped task is listed under that task's cause.
        """
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
