"""`headrace logs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.metrics import point_text
from headrace.cli.terminal.terminal import Harmless, paint, say_bytes, tell
from headrace.inspect.logs import Piece, Told, follow, logs, maker
from headrace.inspect.views import Views, read
from headrace.project import project
from headrace.report.marks import printable


@click.command()
@options.run_id
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on printing until the run has ended.")
@options.config
def command(run_id: str, task: str | None, following: bool, config: Path | None) -> int:
    """RUN is a run's id, the beginning or last part (`3f2a`) of one, or `latest`. Without TASK, a line says whose
    output follows. With TASK, you get the output as it was printed; for a reused task, from the run that it was
    reused from. On a terminal, only text and colours pass; other control codes are shown as text. When another
    attempt begins, a line on stderr says so. With `--follow`, values logged with `hr.log` appear on stderr as they
    come.
    """
    found = project.load(overlay=config)
    with read(found) as views:
        if task is not None:
            run_id, task = _maker(views, run_id, task)
        _print((follow if following else logs)(found, views, run_id, task), heads=task is None)
    return 0


def _maker(views: Views, run: str, task: str) -> tuple[str, str]:
    """Return the run and task to show in place of a task that was reused, and say so; others stay."""
    made = maker(views, run, task)
    if made is None:
        return run, task
    origin, name = made
    if not name:
        tell(f"`{task}` was reused from run `{origin}`, and what it printed there is no longer known", label="note:")
        return run, task
    tell(f"`{task}` was reused; this is what `{name}` printed in run `{origin}`", label="note:")
    return origin, name


def _print(pieces: Iterable[Piece | Told], *, heads: bool) -> None:
    """Print the pieces, a head above each change of attempt; without heads, a line on stderr where another attempt
    begins. What was logged goes to stderr too, so that stdout has what was printed and no more."""
    before: tuple[str, int] | None = None
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
        elif before is not None and now != before:
            tell(f"--- {piece.task}, attempt {piece.attempt}", "dim")
        say_bytes(piece.data if shown is None else shown.text(piece.data))
        before, ended = now, piece.data.endswith(b"\n")


def _tell(logged: Told) -> None:
    if logged.points:
        told = ", ".join(point_text(*point) for point in logged.points)
        tell(told, "dim", label=f"{logged.task}:")
    for name, step, text in logged.texts:
        tell(f"{name} at step {step:,}: {text}", "dim", label=f"{logged.task}:")
