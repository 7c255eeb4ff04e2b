"""`headrace get`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.app import getting, project
from headrace.cli import complete, options
from headrace.cli.terminal import say


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST", shell_complete=complete.runs)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("--to", type=options.FILE, metavar="FILE", help="Where to write it: by default here, named by the task.")
@options.config
def command(run_id: str, task: str | None, to: Path | None, config: Path | None) -> int:
    """The artifact is that of a run's task, `TASK.PART` for one of several outputs, or the one that a digest, or its
    beginning, names. The file has the artifact's own form: Arrow, JSON, SVG, a model's own. Several outputs, and lists,
    are written as JSON where they are plain.
    """
    say(str(getting.get(project.load(overlay=config), run_id, task, to)))
    return 0
