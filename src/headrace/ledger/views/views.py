"""Views of runs, tasks and attempts, for users and programs, and the history that the planner uses.

    views = Views(address)
    views.show("latest").state
    views.runs(limit=20)

A run whose driver died is shown as waiting for another driver. Each call reads the ledger anew, so a run may have
changed between two calls.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

import msgspec

from headrace.errors import NotFoundError, near
from headrace.ledger.database.database import NO_END
from headrace.ledger.database.leases import Leases
from headrace.ledger.records import TASK_ROWS
from headrace.ledger.views.artifacts import ArtifactViews
from headrace.ledger.views.rows import (
    GONE,
    PAST_VIEWS,
    RUN_LINES,
    STAGE_LINES,
    TASK_VIEWS,
    PastView,
    RunLine,
    RunsView,
    RunView,
    StageLine,
    StageView,
    TaskView,
    now_of,
    stage_view,
)
from headrace.run.events import Event, Taken, stored_event
from headrace.run.ports import LIVE, Earlier, TaskRow
from headrace.run.story import Story
from headrace.spec.noun import stored

HISTORY_RUNS = 10

MADE = 1000
"""How many earlier outputs of a task are searched, at most, for an output to reuse."""

_decode_params = stored(msgspec.json.Decoder(dict[str, Any]).decode, "a run's stored parameters")


class Views(ArtifactViews):
    """Reads a ledger. A missing ledger is shown as empty, and isn't created."""

    def find(self, name: str | None = None) -> RunView:
        """Return a run without its tasks, by its id, by the beginning or the last part of its id (`3f2a`), or the
        newest run (`latest` or None).

        Raises:
            NotFoundError: no run matches, or several do; the message lists similar ids.
        """
        return run_view(self._query.run(name), self._db.leases)

    def runs(self, *, limit: int = 1000, pipeline: str | None = None, before: int | None = None) -> RunsView:
        """Return the newest runs, without their tasks. With `before`, only runs older than the run with this number are
        returned; with `pipeline`, only runs of this pipeline."""
        first = NO_END if before is None else before
        if pipeline is None:
            lines = self._query.read(RUN_LINES, self._sql.RUN_LINES, first, limit)
        else:
            lines = self._query.read(RUN_LINES, self._sql.RUN_LINES_OF, pipeline, first, limit)
        return RunsView(
            runs=tuple(run_view(line, self._db.leases) for line in lines),
            more=lines[-1].number if lines and len(lines) == limit else None,
        )

    def show(self, name: str | None = None) -> RunView:
        """Return a run with all of its tasks, in their order."""
        line = self._query.run(name)
        view = run_view(line, self._db.leases)
        gone, now = view.why == GONE, time.time() if view.state in LIVE else None
        with self._db.troubles():
            # Converted row by row, so that only one row at a time is in memory beside the views.
            rows = self._db.execute(self._sql.TASK_LINES, (line.number,))
            found = sorted(TASK_VIEWS.beside(rows, "ordinal", "started"), key=itemgetter(1))
        tasks = [
            task if task.state != "running" else now_of(task, started, gone=gone, now=now) for task, _, started in found
        ]
        return msgspec.structs.replace(view, tasks=tuple(tasks))

    def states(self, name: str | None = None) -> dict[str, int]:
        """Return how many of a run's tasks are in each state, in the order in which the states first occur.
        Once a mapped task has elements, the elements are counted instead of it."""
        number = self._query.run(name).number
        return dict(self._query.all(self._sql.TASK_STATES, number, number))

    def stages(self, name: str | None = None) -> list[StageView]:
        """Return a summary of a run's tasks for each stage, in the order of the stages' first tasks."""
        run = self._query.run(name)
        found: dict[tuple[str, str], list[StageLine]] = {}
        for line in sorted(
            self._query.read(STAGE_LINES, self._sql.STAGE_LINES, run.number), key=lambda line: line.first
        ):
            found.setdefault((line.stage, line.kind), []).append(line)
        running: dict[tuple[str, str], list[float]] = {}
        if (view := run_view(run, self._db.leases)).state in LIVE and view.why != GONE:
            now = time.time()
            for stage, kind, started in self._query.all(self._sql.RUNNING_LINES, run.number):
                running.setdefault((stage, kind), []).append(max(0.0, now - started))
        return [stage_view(lines, running.get(of, ())) for of, lines in found.items()]

    def failures(self, name: str | None = None, *, limit: int = 20) -> list[TaskView]:
        """Return a run's failed tasks, the earliest first."""
        return self._query.read(TASK_VIEWS, self._sql.FAILED_LINES, self._query.run(name).number, limit)

    def has(self, run: str, task: str) -> bool:
        """Return whether a run has a task of this name."""
        return bool(self._query.all(self._sql.TASK_ROW, self._query.run(run).number, task))

    def task(self, run: str | None, task: str) -> TaskRow:
        """Return the full row of a task.

        Raises:
            NotFoundError: the run has no such task; the hint lists similar names.
        """
        line = self._query.run(run)
        rows = self._query.read(TASK_ROWS, self._sql.TASK_ROW, line.number, task)
        if not rows:
            names = [name for (name,) in self._query.all(self._sql.TASK_NAMES, line.number)]
            raise NotFoundError(f"run `{line.id}` has no task `{task}`", hint=near(task, names, "its tasks are"))
        return rows[0]

    def rows(self, run: str | None = None, *, kind: str | None = None) -> list[TaskRow]:
        """Return the full rows of a run's tasks, in their order. With `kind`, only tasks of this kind are returned."""
        number = self._query.run(run).number
        if kind is None:
            rows = self._query.read(TASK_ROWS, self._sql.TASK_ROWS, number)
        else:
            rows = self._query.read(TASK_ROWS, self._sql.TASK_ROWS_OF_KIND, number, kind)
        return sorted(rows, key=lambda row: row.ordinal)

    def earlier(self, run: str | None, task: str) -> Earlier | None:
        """Return how a task's key was made in an earlier run, or None. The earlier run is the pipeline's latest run
        that has a key for the task and that had ended when this run began."""
        line = self._query.run(run)
        for before, run_id in self._query.all(
            self._sql.EARLIER_RUNS, line.pipeline, line.number, line.number, HISTORY_RUNS
        ):
            for found in self._query.read(TASK_ROWS, self._sql.TASK_ROW, before, task):
                if found.key is not None:
                    return Earlier(run=run_id, key=found.key, code=found.code or "", inputs=found.inputs or b"")
        return None

    def story(self, run: str | None = None) -> Story:
        """Return a summary of a run, built from its events."""
        return Story.of(self.events(run))

    def events(self, run: str | None = None) -> Iterator[Event]:
        """Yield a run's events, in order."""
        for body in self.bodies(run):
            yield stored_event(body)

    def events_until_taken(self, run: str | None = None) -> Iterator[Event]:
        """Yield a run's events up to and including the last `Taken`, the event by which the latest driver took the run.
        Later events aren't decoded."""
        taken = self._query.of_kind(run, Taken)
        return islice(self.events(run), taken[-1][0] + 1 if taken else 1)

    def history(self, pipeline: str, *, runs: int = HISTORY_RUNS) -> list[PastView]:
        """Return the times and sizes of a pipeline's tasks in its latest runs, newest run first."""
        return sorted(self._query.read(PAST_VIEWS, self._sql.HISTORY, pipeline, runs), key=lambda past: -past.run)

    def made_of(self, pipeline: str, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        """Return the encoded inputs from which the keys of a task's outputs were made, for all runs of the pipeline
        that had the task with the code `code`.

        For a map, these are the inputs of its elements. Return None if there are more than `MADE` outputs.
        """
        first, last = (f"{task}[", f"{task}\\") if is_map else (task, task)
        found = self._query.all(self._sql.MADE_OF, pipeline, first, last, code, MADE + 1)
        return None if len(found) > MADE else [inputs for (inputs,) in found]


def run_view(line: RunLine, leases: Leases) -> RunView:
    """Return the view of a run. A run whose driver is gone is shown as waiting. A run that waits for something outside
    needs no driver."""
    gone = line.state in LIVE and line.state != "waiting" and leases.holder(line.id) is None
    return RunView(
        run=line.id,
        pipeline=line.pipeline,
        state="waiting" if gone else line.state,
        created=line.created,
        seconds=line.seconds,
        usd=line.usd,
        params=_decode_params(line.params),
        why=GONE if gone else line.why,
    )
