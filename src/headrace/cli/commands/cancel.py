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
@click.option("--now", is_flag=True, help="Kill running attempts at once.")
@options.as_json
@options.config
def command(run_id: str, now: bool, as_json: bool, config: Path | None) -> int:
    """Asks the run's driver to end the run, on whatever machine the driver is. If the run has no live driver, this
    command ends the run itself.

    Running attempts may clean up for a few seconds (`stop_s` of their pool, 5 by default), and are killed after that.
    """
    found = project.load(overlay=config)
    done = session.cancel(found, run_id, now=now)
    if as_json:
        with read(found) as views:
            say_json(views.show(run_id))
    else:
        tell(done)
    return 0
