"""The read side of a project: what its ledger says about runs, for commands and pages."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from headrace.ledger.views.evaluated import judged as judged
from headrace.ledger.views.rows import (
    GONE,
    AttemptView,
    GonePoolView,
    OutputView,
    RunsView,
    RunView,
    SignalView,
    StageView,
    TaskView,
    attempt_views,
)
from headrace.ledger.views.tracking import CursorView, MetricView, MoveView, SeriesView, ShownView, VersionView
from headrace.ledger.views.tracking import TrackingViews as Views
from headrace.project.state import views as read
from headrace.report.measures import seconds_text, usd_text
from headrace.run.duration import Duration
from headrace.run.ports import LIVE, TaskLine

__all__ = [
    "GONE",
    "LIVE",
    "TASK_NUMBERS",
    "AttemptView",
    "CursorView",
    "GonePoolView",
    "MetricView",
    "MoveView",
    "OutputView",
    "RunView",
    "RunsView",
    "SeriesView",
    "ShownView",
    "SignalView",
    "StageView",
    "TaskView",
    "VersionView",
    "Views",
    "attempt_views",
    "in_words",
    "maps",
    "read",
    "stages_of",
    "took_s",
    "up_to_now",
]


class TaskNumber(NamedTuple):
    """A number that tables show for each task. `text` returns an empty text if there is nothing to show.

    If `is_rare` is True, a page has the column only if some task has a text in it. If `is_minor` is True, the column is
    the first to be left out on a narrow terminal.
    """

    head: str
    value: Callable[[TaskLine], float]
    text: Callable[[TaskLine], str]
    is_rare: bool = False
    is_minor: bool = False


def _seconds(seconds: float) -> str:
    return seconds_text(seconds) if seconds >= 0.001 else ""


TASK_NUMBERS = (
    TaskNumber("tries", lambda task: task.attempts, lambda task: str(task.attempts or "")),
    TaskNumber(
        "queued",
        lambda task: task.queued_s or 0.0,
        lambda task: _seconds(task.queued_s or 0.0),
        is_rare=True,
        is_minor=True,
    ),
    TaskNumber("time", lambda task: task.seconds, lambda task: seconds_text(task.seconds) if task.attempts else ""),
    TaskNumber("load", lambda task: task.load_s, lambda task: _seconds(task.load_s), is_minor=True),
    TaskNumber("save", lambda task: task.save_s, lambda task: _seconds(task.save_s), is_minor=True),
    TaskNumber("cost", lambda task: task.usd, lambda task: usd_text(task.usd) if task.usd else "", is_rare=True),
)
"""The columns with numbers of tasks, in `headrace show --tasks` and on a run's page."""

_ELEMENT = re.compile(r"\[(?:#\d|[^\W\d]\w*=)")


def maps(names: Iterable[str]) -> set[str]:
    """Return the names of mapped tasks. A task such as `fit` is mapped if `names` also has an element of it, such as
    `fit[depth=4]` or `fit[#0]`.

    >>> maps(["fit", "fit[1]", "score", "score[#0]", "score[#1]"])
    {'score'}
    """
    known = set(names)
    return {
        name[: found.start()] for name in known for found in _ELEMENT.finditer(name) if name[: found.start()] in known
    }


def in_words(state: str) -> str:
    """Return a task's state as a verb that follows the task's name in a sentence.

    >>> in_words("failed"), in_words("running")
    ('has failed', 'is running')
    """
    return f"{'has' if state in ('succeeded', 'failed') else 'is'} {state}"


def took_s(views: Views, run: RunView, now: float) -> float:
    """Return how many seconds a run was worked on, up to `now` (Unix seconds) if a driver holds it."""
    if run.state not in LIVE or (run.state == "waiting" and run.why != GONE):  # it waits without a driver
        return run.seconds
    worked = Duration()
    is_gone = run.why == GONE
    for event in views.events(run.run) if is_gone else views.events_until_taken(run.run):
        worked.hear(event)
    return worked.seconds(None if is_gone else now)


def up_to_now(views: Views, run: RunView) -> RunView:
    """Return a run with the seconds that it was worked on up to now. The ledger has the seconds only up to the run's
    latest event."""
    return replace(run, seconds=took_s(views, run, time.time()))


def stages_of(tasks: Sequence[TaskView]) -> list[StageView]:
    """Return a summary of each stage's tasks (their number, time, cost and so on), in the order in which the stages
    appear. The elements of a map are counted, not the map."""
    mapped = maps(task.name for task in tasks)
    stages: dict[tuple[str, str], list[TaskView]] = {}
    for task in tasks:
        members = stages.setdefault((task.stage, task.kind), [])  # the map sets the stage's place, not its elements
        if task.name not in mapped:
            members.append(task)
    return [
        StageView(
            stage=stage,
            kind=kind,
            states=dict(Counter(task.state for task in members)),
            tasks=len(members),
            attempts=sum(task.attempts for task in members),
            seconds=sum(task.seconds for task in members),
            longest_s=max(task.seconds for task in members),
            usd=sum(task.usd for task in members),
            bytes=sum(output.bytes for task in members for output in task.outputs),
            pools=tuple(sorted({task.pool for task in members if task.pool})),
        )
        for (stage, kind), members in stages.items()
    ]
