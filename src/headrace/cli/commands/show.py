"""`headrace show`."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.metrics import say_metrics
from headrace.cli.terminal.notices import unsent_text
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import paint, say, say_file, say_json, say_styled
from headrace.inspect.notices import notices
from headrace.inspect.passed import may_have_failed_gates
from headrace.inspect.run_json import run_object
from headrace.inspect.run_record import NextState, decided_text, next_state
from headrace.inspect.views import (
    TASK_NUMBERS,
    RunView,
    StageView,
    TaskView,
    Views,
    maps,
    read,
    stages_of,
    took_s,
)
from headrace.inspect.warnings import all_warnings
from headrace.project import project
from headrace.report.marks import MARKS, STYLES, printable
from headrace.report.measures import bytes_text, seconds_text, usd_text

MINOR = [number.head for number in TASK_NUMBERS if number.is_minor]
SPARE = (*reversed(MINOR), "pool", "tries", "kind", "output", "cost", "time")
"""The columns that may be left out on a narrow terminal, in the order in which they are left out."""
FEW = 200
"""If a run has more tasks than this, the table of stages shows no reasons."""


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=complete.runs)
@click.option("--tasks", is_flag=True, help="Show every task, not only every stage.")
@click.option(
    "--html", is_flag=True, help="Write one self-contained HTML page: graph, times, reasons, metrics, figures."
)
@click.option("--to", type=options.FILE, metavar="FILE", help="Where to write the HTML page; by default `RUN.html`.")
@options.as_json
@options.config
def command(run_id: str | None, tasks: bool, html: bool, to: Path | None, as_json: bool, config: Path | None) -> int:
    """RUN is a run's id, the beginning or last part (`3f2a`) of an id, or `latest` (the default)."""
    found = project.load(overlay=config)
    with read(found) as views:
        if html or to is not None:
            _write_page(found, views, run_id, to, as_json=as_json)
            if not as_json:
                return 0
        if as_json:
            say_json(run_object(found, views, run_id))
            return 0
        view = views.show(run_id) if tasks else views.find(run_id)
        _say_head(views, view)
        if tasks:
            _say_tasks(view)
            _say_warnings(views, view.run)
            _say_refusals(found, views, view.run)
            say_metrics(views, view.run, every=True)
        else:
            stages = views.stages(view.run)
            _say_stages(views, view, stages)
            _say_warnings(views, view.run)
            _say_refusals(found, views, view.run, stages)
            say_metrics(views, view.run, every=False)
            _say_failures(views.failures(run_id))
    return 0


def _say_head(views: Views, run: RunView) -> None:
    state = paint(f"{MARKS[run.state]} {run.state}", STYLES[run.state], stream=sys.stdout)
    say_styled(f"{paint(printable(run.pipeline), 'bold', stream=sys.stdout)}  {run.run}  {state}")
    started = f"{datetime.fromtimestamp(run.created).astimezone():%Y-%m-%d %H:%M:%S}"
    facts = [started, seconds_text(took_s(views, run, time.time())), usd_text(run.usd) if run.usd else ""]
    facts += [f"{name}={value}" for name, value in run.params.items()]
    say("  ".join(fact for fact in facts if fact), "dim")
    if run.why:
        say(run.why)
    for gone in views.gone_pools(run.run):
        say(printable(f"went on without pool `{gone.pool}`: {gone.why}"), "yellow")
    for each in views.held_signals(run.run):
        when = f"{datetime.fromtimestamp(each.at).astimezone():%Y-%m-%d %H:%M:%S}"
        told = f"holds the signal `{each.kind:.40}` by {each.by:.40} ({when}), which this Headrace doesn't know:"
        say(printable(f"{told} to act on it, use `headrace resume {run.run}` of the release that sent it"), "yellow")
    if run.state == "waiting" and (views.decisions(run.run) or views.limits_approvals(run.run)):
        _say_approvals(next_state(views, run.run))
    for notice in notices(views, time.time(), run.run):
        if notice.error is not None and notice.state != "sent":  # without an error, no try has failed yet
            say(unsent_text(notice), "yellow")
    say()


def _say_approvals(state: NextState) -> None:
    """Print what the run's next driver will do about tasks that wait for an approval."""
    resume = f"`headrace resume {state.run}`"
    for decision in state.decided:
        say(printable(f"{decided_text(decision)}; {resume} obeys that"), "yellow")
    for task in state.machine.approvals.overdue(time.time()):
        until = f"{datetime.fromtimestamp(task.due, UTC):%Y-%m-%d %H:%M} UTC"
        say(f"`{task.name}` was to be approved until {until}: {resume} refuses it", "yellow")


def _say_stages(views: Views, run: RunView, stages: Sequence[StageView]) -> None:
    reasons: dict[str, str] = {}
    if sum(stage.tasks for stage in stages) <= FEW:
        tasks = views.show(run.run).tasks or ()
        stages, reasons = stages_of(tasks), _reasons(tasks)
    pools = {pool for stage in stages for pool in stage.pools}
    is_spread = len(pools) > 1 or (len(pools) == 1 and views.had_several_pools(run.run))
    heads = ["", "stage", "kind", "tasks", "time", "longest", "cost", "output", *(["pool"] * is_spread), "why"]
    rows = [_stage_row(stage, reasons.get(stage.stage, ""), is_spread=is_spread) for stage in stages]
    for line in table(heads, rows, numbers=(4, 5, 6, 7), spare=("longest", "output", "kind", "cost")):
        say_styled(line)


def _stage_row(stage: StageView, reason: str, *, is_spread: bool) -> list[Cell]:
    state = _state(stage.states)
    single = stage.tasks == 1
    counts = state if single else ", ".join(f"{count} {state}" for state, count in stage.states.items())
    return [
        (MARKS[state], STYLES[state]),
        stage.stage,
        stage.kind,
        (counts, STYLES[state]),
        seconds_text(stage.seconds) if stage.attempts else "",
        seconds_text(stage.longest_s) if stage.attempts and not single else "",
        usd_text(stage.usd) if stage.usd else "",
        bytes_text(stage.bytes) if stage.bytes else "",
        *([", ".join(stage.pools)] * is_spread),
        (reason, "dim"),
    ]


def _state(states: dict[str, int]) -> str:
    """Return the most important of the states in which a stage's tasks are: `running` if a task runs, else `failed` if
    one failed, and so on."""
    order = ("running", "failed", "cancelled", "waiting", "succeeded", "reused", "skipped")
    return next((state for state in order if states.get(state)), "waiting")


def _reasons(tasks: Sequence[TaskView]) -> dict[str, str]:
    """Return a reason for each stage: it says why tasks of the stage are in their most important state. `failed` is the
    most important state and `reused` the least; `_state` uses another order.

    If tasks are in this state for different reasons, the text gives the first task's reason and says how many tasks
    have another reason.
    """
    order = ("failed", "cancelled", "skipped", "running", "succeeded", "waiting", "reused")
    mapped = maps(task.name for task in tasks)
    by_stage: dict[str, list[TaskView]] = {}
    for task in tasks:
        if task.name not in mapped:
            by_stage.setdefault(task.stage, []).append(task)
    reasons = {}
    for stage, members in by_stage.items():
        state = min((each.state for each in members), key=order.index)
        first, *others = [each.reason for each in members if each.state == state]
        apart = sum(each != first for each in others)
        reasons[stage] = f"{first}; {apart} more for other reasons" if first and apart else first
    return reasons


def _say_tasks(run: RunView) -> None:
    numbers = [number.head for number in TASK_NUMBERS]
    heads = ["", "task", "kind", "state", *numbers, "pool", "output", "why"]
    right = [heads.index(head) for head in (*numbers, "output")]
    for line in table(heads, [_task_row(task) for task in run.tasks or ()], numbers=right, spare=SPARE):
        say_styled(line)


def _task_row(task: TaskView) -> list[Cell]:
    return [
        (MARKS[task.state], STYLES[task.state]),
        task.name,
        task.kind,
        (task.state, STYLES[task.state]),
        *(number.text(task) for number in TASK_NUMBERS),
        task.pool or "",
        bytes_text(sum(output.bytes for output in task.outputs)) if task.outputs else "",
        (f"{task.reason}; in `{task.pool}`: {task.pool_reason}" if task.pool_reason else task.reason, "dim"),
    ]


def _say_warnings(views: Views, run: str) -> None:
    found = all_warnings(views, run)
    if found:
        say()
    for each in found:
        say(str(each), "yellow")


def _say_refusals(found: project.Project, views: Views, run: str, stages: Sequence[StageView] | None = None) -> None:
    if may_have_failed_gates(views, run, stages):  # reports are read by the codecs, which tables don't need
        importlib.import_module("headrace.cli.terminal.refusals").say_refusals(found, views, run)


def _say_failures(tasks: list[TaskView]) -> None:
    """Print the failed tasks with their errors. A mapped task is left out: its failed elements are printed."""
    mapped = maps(task.name for task in tasks)
    for task in tasks:
        if task.name in mapped:
            continue
        say()
        say(task.name, "bold", "red")
        for line in task.reason.splitlines():
            say(f"  {line}")


def _write_page(found: project.Project, views: Views, run_id: str | None, to: Path | None, *, as_json: bool) -> None:
    writing = importlib.import_module("headrace.inspect.page.write")  # it loads the codecs, which tables don't need
    page = writing.write_page(found, views, run_id, to)
    if not as_json:
        say_file(page)
