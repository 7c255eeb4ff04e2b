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
@click.option("--new-code", is_flag=True, help="Call the code as it is now in the project, not the run's own.")
@options.config
def command(run_id: str, task: str, use_pdb: bool, new_code: bool, config: Path | None) -> int:
    """The stage runs in this process, where a debugger can be in it; nothing is recorded, and its output is printed.
    Of a map, name an element: `fit[depth=4]`.
    Where it raises and there is a terminal, the debugger opens at the place.
    """
    value = debug.debug(project.load(overlay=config), run_id, task, use_pdb=use_pdb, new_code=new_code)
    say(repr(value))
    return 0
