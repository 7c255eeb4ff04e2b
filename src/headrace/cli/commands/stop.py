"""`headrace stop`."""

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
@options.task
@options.as_json
@options.config
def command(run_id: str, task: str, as_json: bool, config: Path | None) -> int:
    """The attempt of TASK is told so, on whatever machine it is; of a mapped task, those of all elements that run. A
    training then stops after the step that it is at, and the run goes on with the model that it has by then; what was
    cut short says so, and no other run reuses it.

    Stages that heed it are `train.torch`, `train.finetune`, `train.lightgbm`, trials of `train.search`, those with
    `train.callbacks`, and yours that ask `hr.attempt().told()`. Others go on to their end: `headrace cancel` ends the
    run as a whole.
    """
    found = project.load(overlay=config)
    done = session.stop(found, run_id, task)
    if as_json:
        with read(found) as views:
            say_json(views.show(run_id))
    else:
        tell(done)
    return 0
