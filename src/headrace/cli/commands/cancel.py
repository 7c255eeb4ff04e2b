"""`headrace cancel`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import say_json, tell
from headrace.inspect.views import read
from headrace.operate import session
from headrace.project import project


@click.command()
@options.run_id
@click.option("--now", is_flag=True, help="Don't wait for attempts to stop by themselves.")
@options.as_json
@options.config
def command(run_id: str, now: bool, as_json: bool, config: Path | None) -> int:
    """The run's driver is told, on whatever machine it is; where none lives, the run is ended here."""
    found = project.load(overlay=config)
    done = session.cancel(found, run_id, now=now)
    if as_json:
        with read(found) as views:
            say_json(views.show(run_id))
    else:
        tell(done)
    return 0
