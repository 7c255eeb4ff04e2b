"""The end of `headrace approve` and `headrace reject` on a terminal."""

from __future__ import annotations

from headrace.cli.terminal.summary import finish
from headrace.cli.terminal.terminal import say_json, tell
from headrace.errors import listed
from headrace.inspect.views import read
from headrace.operate.approval import Decided
from headrace.operate.progress.observer import Observer
from headrace.project.project import Project


def finish_decision(project: Project, decided: Decided, done: str, observer: Observer, *, as_json: bool) -> int:
    """Print what was decided (`done`: approved or rejected) and how the run went on, and return the exit code."""
    what = f"{listed(decided.tasks)} of run {decided.run} {'is' if len(decided.tasks) == 1 else 'are'} {done}"
    if decided.ended is not None:
        if not as_json:
            tell(what)
        return finish(project, decided.ended, observer, as_json=as_json)
    if as_json:
        with read(project) as views:
            say_json(views.show(decided.run))
    elif decided.is_driven:
        tell(f"{what}; its driver was told")
    else:
        tell(f"{what}; `headrace resume {decided.run}` goes on")
    return 0
