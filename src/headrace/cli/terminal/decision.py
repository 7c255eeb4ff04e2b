"""Prints the result of `headrace approve` and `headrace reject` on a terminal."""

from __future__ import annotations

from headrace.cli.terminal.summary import finish
from headrace.cli.terminal.terminal import say_json, tell
from headrace.errors import listed
from headrace.inspect.run_record import decided_text
from headrace.inspect.views import read
from headrace.operate.approval import Decided
from headrace.operate.progress.observer import Observer
from headrace.project.project import Project


def finish_decision(project: Project, decided: Decided, done: str, observer: Observer, *, as_json: bool) -> int:
    """Print what was decided (`done`: approved or rejected) and how the run went on, and return the exit code."""
    verb = "is" if len(decided.tasks) == 1 else "are"
    what = f"{listed(decided.tasks)} of run {decided.run} {verb}"
    for each in decided.earlier:
        tell(f"{decided_text(each)}; this was decided first, so it counts")
    if decided.late:
        tell(decided.late)
    if decided.ended is not None:
        if not as_json:
            tell(f"{what} {done}" if decided.tasks else f"no task of run {decided.run} is {done} by this")
        return finish(project, decided.ended, observer, as_json=as_json)
    if as_json:
        with read(project) as views:
            say_json(views.show(decided.run))
    elif decided.is_driven:
        tell(f"{what} recorded as {done}; its driver was told")
    else:
        tell(f"{what} recorded as {done}; `headrace resume {decided.run}` goes on")
    return 0
