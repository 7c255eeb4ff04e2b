"""`headrace replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import paint, say, say_json, say_styled, tell
from headrace.operate.upkeep.upkeep import Replayed, replayed
from headrace.project import project
from headrace.report.marks import printable
from headrace.report.measures import count_text

DIFFERENT = 1


@click.command()
@options.run_id
@click.option("--repair", is_flag=True, help="Rewrite the rows that differ, unless a driver holds the run.")
@options.as_json
@options.config
def command(run_id: str, repair: bool, as_json: bool, config: Path | None) -> int:
    """Compares a run's rows with its events. All of a run's state follows from its events. The rows hold that state, so
    that it isn't computed anew each time.

    The exit code is 0 if the rows agree with the events, and 1 if they differ.
    """
    result = replayed(project.load(overlay=config), run_id, repair=repair)
    if as_json:
        say_json(result)
    else:
        _say(result)
    return DIFFERENT if result.differences else 0


def _say(result: Replayed) -> None:
    for each in result.differences:
        where = " ".join(filter(None, (each.about, each.subject, each.field)))
        say_styled(
            f"{paint(printable(where), 'red', stream=sys.stdout)}:"
            f" the row says {printable(each.stored)}, the events {printable(each.rebuilt)}"
        )
    looked = f"{count_text(result.events, 'event')} and {count_text(result.tasks, 'task')} of run {result.run}"
    say(f"{count_text(len(result.differences), 'difference')} in {looked}", "red" if result.differences else "green")
    if result.mended:
        tell(result.mended)
    elif result.differences:
        tell("`headrace replay RUN --repair` rewrites the rows", label="hint:")
