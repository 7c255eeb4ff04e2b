"""`headrace debug`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import say
from headrace.operate import debug
from headrace.project import project


@click.command()
@options.run_id
@options.task
@click.option("--pdb", "use_pdb", is_flag=True, help="Stop in the debugger at the stage's first line.")
@click.option("--new-code", is_flag=True, help="Call the project's code as it is now, not the run's code.")
@options.config
def command(run_id: str, task: str, use_pdb: bool, new_code: bool, config: Path | None) -> int:
    """Calls the stage in this process, so that a debugger can step through it. The output is printed, and nothing is
    recorded. For a mapped task, name one element: `fit[depth=4]`. If the stage raises an exception and you are at a
    terminal, the debugger opens at the line that raised it.
    """
    value = debug.debug(project.load(overlay=config), run_id, task, use_pdb=use_pdb, new_code=new_code)
    say(repr(value))
    return 0
