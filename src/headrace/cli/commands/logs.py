"""`headrace logs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from headrace.app import project
from headrace.app.logs import Piece, follow, logs
from headrace.app.reading import read
from headrace.cli import complete, options
from headrace.cli.terminal import paint, printable


@click.command()
@options.run_id
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on printing until the run has ended.")
@options.config
def command(run_id: str, task: str | None, following: bool, config: Path | None) -> int:
    """RUN is a run's id, the beginning of one, or `latest`. Without TASK, a line tells whose output follows; with it,
    the output stands as it was printed.
    """
    found = project.load(overlay=config)
    with read(found) as views:
        _print((follow if following else logs)(found, views, run_id, task), heads=task is None)
    return 0


def _print(pieces: Iterable[Piece], *, heads: bool) -> None:
    """Print the pieces, a head above each change of attempt."""
    before: tuple[str, int] | None = None
    ended = True
    for piece in pieces:
        now = piece.task, piece.attempt
        if heads and now != before:
            again = f", attempt {piece.attempt}" if piece.attempt > 1 else ""
            head = paint(f"--- {printable(piece.task, keep='')}{again}", "dim", stream=sys.stdout)
            sys.stdout.buffer.write(("" if ended else "\n").encode() + head.encode(errors="replace") + b"\n")
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()
        before, ended = now, piece.data.endswith(b"\n")
