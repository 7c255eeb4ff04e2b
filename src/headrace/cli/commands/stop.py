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
    """Asks the attempt of TASK to stop early, on whatever machine it is. For a mapped task, all running elements are
    asked. A training then stops after its current step, and the run goes on with the model that the training has by
    then. The result says that it was stopped early, and no other run reuses it.

    These stages stop early: `train.torch`, `train.finetune`, `train.lightgbm`, trials of `train.search`, stages with
    `train.callbacks`, and those of your own stages that ask `hr.attempt().told()`. Other stages go on to their end; to
    end the whole run, use `headrace cancel`.
    """
    found = project.load(overlay=config)
    done = session.stop(found, run_id, task)
    if as_json:
        with read(found) as views:
            say_json(views.show(run_id))
    else:
        tell(done)
    return 0
