"""Prints how a run ended on a terminal: one line or the run's JSON object, then hints and warnings. Returns the exit
code."""

from __future__ import annotations

import importlib
import os
import sys
from itertools import islice

from headrace.cli.terminal.progress_lines import PlainObserver
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.errors import LedgerError, StoreError, listed
from headrace.inspect.history import rows_past, sources_kept
from headrace.inspect.passed import may_have_failed_gates
from headrace.inspect.run_json import run_object
from headrace.inspect.views import RunView, Views, read
from headrace.inspect.warnings import warnings
from headrace.operate.bundle import is_of_notebook
from headrace.operate.pools.resumed import without_lost
from headrace.operate.progress.observer import Observer
from headrace.operate.progress.stage_counts import ended_text
from headrace.operate.session import Ended
from headrace.project.project import Project
from headrace.report.marks import STYLES
from headrace.spec.policy import NOT_ASKED, TOO_LONG, Policy

SHOWN = 10
MANY = 10_000
"""If a run has more tasks than this, tasks that can't be reused aren't listed, because all tasks would have to be
read."""
EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 3, "refused": 4, "waiting": 6}


def finish(project: Project, ended: Ended, observer: Observer, *, as_json: bool, policy: Policy | None = None) -> int:
    """Print how a run ended, and return the exit code.

    An error that `observer` has printed isn't printed again. If the ledger or the store can't be read, only the state
    in `ended` is printed. If stdout is a pipe whose reader has left, that isn't an error. With `policy`, a warning is
    printed for each stage that `policy` names and that the run didn't have.
    """
    shown = False
    try:
        views = read(project)  # not closed: on a full disk, the next command couldn't make SQLite's extra files
        view = run_object(project, views, ended.run) if as_json else views.find(ended.run)
        say_json(view) if as_json else say(ended_text(view, views.states(ended.run)), STYLES[view.state])
        shown = True
        sys.stdout.flush()
        if not as_json:
            _tell_more(project, views, view, observer)
        if policy is not None:
            tell_unknown(views, ended.run, policy)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (LedgerError, StoreError) as error:
        if as_json and not shown:
            say_json({"run": ended.run, "state": ended.state, "why": ended.why, "unread": error.message})
        elif not shown:
            say(f"run {ended.run} {ended.state}", STYLES[ended.state])
        tell(f"the run {ended.state}, but its record can't be read now: {error.message}", label="warning:")
    return EXIT_CODES.get(ended.state, 0)


def _tell_more(project: Project, views: Views, view: RunView, observer: Observer) -> None:
    """Print a run's warnings, which gates failed, why it ended, and how to go on."""
    tell_warnings(views, view.run)
    _tell_unreusable(views, view.run)
    if view.state == "succeeded" and may_have_failed_gates(views, view.run):
        _tell_refusals(views, view.run)
    if view.why:
        tell(observer.shorten(view.why) if isinstance(observer, PlainObserver) else view.why)
    if view.state == "failed":
        see = f"`headrace show {view.run}` for its tasks, `headrace logs {view.run}` for what they printed"
        tell(see, label="hint:")
        tell(_again(views, view), label="hint:")
        if without := without_lost(project, views, view.run):
            tell(without, label="hint:")
    elif view.state == "cancelled":
        tell(f"`headrace resume {view.run}` goes on from here", label="hint:")
    elif view.state == "waiting":
        decides = f'`headrace approve {view.run} --why "..."`, or `headrace reject`, goes on; nothing runs until then'
        tell(decides, label="hint:")


def tell_warnings(views: Views, run: str) -> None:
    """Print the first `SHOWN` warnings of a run's tasks on stderr."""
    found = warnings(views, run)
    for each in found[:SHOWN]:
        tell(f"{each.who}: {each.text}", label="warning:")
    if len(found) > SHOWN:
        tell(f"{len(found) - SHOWN} more warnings: `headrace show {run}`", label="hint:")


def _tell_refusals(views: Views, run: str) -> None:
    """Print which gates said no, and to which tasks. Gates for which no task waited share a line."""
    refusals = importlib.import_module("headrace.inspect.gates").refusals  # it loads the codecs
    gates_by_tasks: dict[tuple[str, ...], list[str]] = {}
    for each in refusals(views, run):
        gates_by_tasks.setdefault(each.tasks, []).append(each.gate)
    for tasks, gates in islice(gates_by_tasks.items(), SHOWN):
        to = f" to {listed(tasks, 3)}" if tasks else ""
        tell(f"{listed(gates, 3)} said no{to}: `headrace show {run}` says why", label="hint:")
    if more := sum(map(len, islice(gates_by_tasks.values(), SHOWN, None))):
        tell(f"{more} more that said no: `headrace show {run}`", label="hint:")


def _tell_unreusable(views: Views, run: str) -> None:
    """Print which tasks succeeded with an output that no later run reuses, such as tasks that were stopped early."""
    if sum(views.states(run).values()) > MANY:
        return
    mark = "not reusable: "
    unreusable = [row for row in views.rows(run) if row.state == "succeeded" and f"; {mark}" in row.reason]
    for row in unreusable[:SHOWN]:
        tell(f"`{row.name}` is {mark}{row.reason.partition(mark)[2]}", label="note:")
    if len(unreusable) > SHOWN:
        tell(f"{len(unreusable) - SHOWN} more that are not reusable: `headrace show {run} --tasks`", label="hint:")


def tell_unknown(views: Views, run: str, policy: Policy) -> None:
    """Print a warning for each stage that `--only` or `--force` names and that the run didn't have, and for each forced
    stage that `--only` left out.

    This can't always be checked before the run, because a pipeline that asks for values may choose its stages by these
    values.
    """
    options = [("--only", name) for name in policy.only] + [("--force", name) for name in policy.force]
    if not options:
        return
    tasks = views.show(run).tasks or ()
    stages = {task.stage for task in tasks}
    known = {"--only": stages | {task.name for task in tasks}, "--force": stages}
    asked = {task.stage for task in tasks if task.reason != NOT_ASKED}
    for option, name in options:
        if name not in known[option]:
            tell(f"`{option} {name}`: the run had no such stage", label="warning:")
        elif option == "--force" and name not in asked:
            tell(f"`--force {name}`: `--only` left this stage out", label="warning:")


def _again(views: Views, view: RunView) -> str:
    """Return a hint that says how to resume a failed run, and when to start a new one."""
    run = view.run
    fixed = "; add `--new-code` if you have fixed code or a file"
    if is_of_notebook(next(views.events(run))):
        fixed = "; if you have fixed code or a file, run the pipeline again in the notebook"
    how = f"`headrace resume {run}` runs again what failed{fixed}"
    if view.why.startswith(TOO_LONG):
        how = f"`headrace resume {run} --timeout TIME` goes on for a longer time"
    if past := rows_past(views, run):
        how = f"{how}. {past}"
    elif kept := sources_kept(views, run):
        how = f"{how}. A resumed run doesn't ask {listed(kept, 3)} again; if you have fixed the data, start a new run"
    return how


def begun(view: RunView, *, as_json: bool) -> int:
    """Print the id of a detached run, or its JSON object, and return exit code 0."""
    say_json(view) if as_json else say(view.run)
    return 0
