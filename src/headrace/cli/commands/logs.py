"""`headrace logs`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.metrics import point_text
from headrace.cli.terminal.terminal import Harmless, paint, say_bytes, tell
from headrace.errors import FEW, listed
from headrace.inspect.logs import Piece, Told, follow, logs, maker
from headrace.inspect.views import Views, in_words, read
from headrace.project import project
from headrace.report.marks import printable


@click.command()
@options.run_id
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing until the run has ended.")
@options.config
def command(run_id: str, task: str | None, following: bool, config: Path | None) -> int:
    """RUN is a run's id, the beginning or last part (`3f2a`) of an id, or `latest`. Without TASK, the output of all
    tasks is printed, and a line above each part of it names the task. With TASK, only that task's output is printed,
    and a line on stderr says when another attempt begins.

    A reused task has printed nothing in RUN. If TASK was reused, the command prints its output from the run that made
    the result. Without TASK, lines on stderr name the tasks that were reused. Lines on stderr also name the failed
    tasks of which no printed text is stored, with their errors. Such a task printed nothing, or it crashed on another
    machine, which kept the text.

    On a terminal, only text and colours are passed on; other control codes are shown as text. With `--follow`, values
    logged with `hr.log` appear on stderr as they come.
    """
    found = project.load(overlay=config)
    with read(found) as views:
        run_id = views.find(run_id).run  # when this run has ended, `latest` may be another one
        if task is not None:
            run_id, task = _maker(views, run_id, task)
        printed = _print((follow if following else logs)(found, views, run_id, task), heads=task is None)
        if task is None:
            _say_what_was_reused(views, run_id, printed)
            _say_what_failed_silently(views, run_id, printed)
        else:
            _say_how_it_ended(views, run_id, task, printed=task in printed)
    return 0


def _say_what_was_reused(views: Views, run: str, printed: set[str]) -> None:
    """Print a note that names the run's reused tasks, and the command that prints what they printed where they ran.

    A task in `printed` isn't named: it printed something in this run, before new code let it be reused.
    """
    if not views.states(run).get("reused"):
        return
    rows = views.rows(run)
    mapped = {row.parent for row in rows}  # their elements print, they don't
    silent = {row.name for row in rows if row.state == "reused"} - mapped - printed
    names = [row.name for row in rows if row.name in silent]
    if names:
        command = f"`headrace logs {run} {'TASK' if names[1:] else shlex.quote(names[0])}`"
        told = f"{listed(names, FEW)} {'were' if names[1:] else 'was'} reused, and printed nothing in this run"
        tell(f"{told}: {command} prints the output of the run that made the result", label="note:")


def _say_what_failed_silently(views: Views, run: str, printed: set[str]) -> None:
    """Print a note on each failed task of which no printed text is stored, with its error. If nothing was printed, and
    no task failed or was reused, say that."""
    states = views.states(run)
    if states.get("failed"):
        heard = printed | {row.parent for row in views.rows(run)}  # of a map, the elements print
        silent = [each for each in views.show(run).tasks or () if each.state == "failed" and each.name not in heard]
        for each in silent[:FEW]:
            tell(f"no printed text of `{each.name}` is stored; it failed: {each.reason}", label="note:")
        if silent[FEW:]:
            tell(f"{len(silent) - FEW} more tasks without printed text failed: `headrace show {run}`", label="note:")
    elif not printed and not states.get("reused"):
        tell(f"no task of run `{run}` has printed anything", label="note:")


def _say_how_it_ended(views: Views, run: str, task: str, *, printed: bool) -> None:
    """Print a note with a task's state and the reason if the task printed nothing or was cancelled. If a ready-made
    stage failed, the reason has its error. If an attempt was killed, it could not print that itself."""
    shown = next((each for each in views.show(run).tasks or () if each.name == task), None)
    if shown is not None and not printed:
        tell(f"no printed text of `{task}` is stored; it {in_words(shown.state)}: {shown.reason}", label="note:")
    elif shown is not None and shown.state == "cancelled":
        tell(f"`{task}` {in_words(shown.state)}: {shown.reason}", label="note:")


def _maker(views: Views, run: str, task: str) -> tuple[str, str]:
    """Return the run and the task whose printed output is shown. For a reused task, these are the run and task that
    made its result, and a note on stderr says so. For any other task, these are `run` and `task`.
    """
    made = maker(views, run, task)
    if made is None:
        return run, task
    origin, name = made
    if not name:
        tell(f"`{task}` was reused from run `{origin}`, and what it printed there is no longer known", label="note:")
        return run, task
    tell(f"`{task}` was reused; this is what `{name}` printed in run `{origin}`", label="note:")
    return origin, name


def _print(pieces: Iterable[Piece | Told], *, heads: bool) -> set[str]:
    """Print pieces of output on stdout, and logged values on stderr. Return the names of the tasks that printed.

    Each time the output of another attempt begins, a head line names the task and the attempt. With `heads`, this line
    is printed on stdout. Without `heads`, it is printed on stderr, so that stdout has only the task's own output. Then
    the very first line is left out if it would name a task's first attempt.
    """
    before: tuple[str, int] | None = None
    printed: set[str] = set()
    ended = True
    shown = Harmless() if sys.stdout.isatty() else None
    for piece in pieces:
        if isinstance(piece, Told):
            _tell(piece)
            continue
        now = piece.task, piece.attempt
        if heads and now != before:
            again = f", attempt {piece.attempt}" if piece.attempt > 1 else ""
            head = paint(f"--- {printable(piece.task, keep='')}{again}", "dim", stream=sys.stdout)
            say_bytes(("" if ended else "\n").encode() + head.encode(errors="replace") + b"\n")
        elif now != before and (before is not None or piece.attempt > 1):
            tell(f"--- {piece.task}, attempt {piece.attempt}", "dim")
        say_bytes(piece.data if shown is None else shown.text(piece.data))
        before, ended = now, piece.data.endswith(b"\n")
        printed.add(piece.task)
    return printed


def _tell(logged: Told) -> None:
    if logged.points:
        points = ", ".join(point_text(*point) for point in logged.points)
        tell(points, "dim", label=f"{logged.task}:")
    for name, step, text in logged.texts:
        tell(f"{name} at step {step:,}: {text}", "dim", label=f"{logged.task}:")
