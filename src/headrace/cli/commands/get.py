"""`headrace get`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say
from headrace.errors import UsageError
from headrace.inspect.get import get
from headrace.project import project


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST|NAMED", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option("--to", type=options.FILE, metavar="FILE", help="Where to write it: by default here, named by the task.")
@click.option("--columns", metavar="A,B", help="Of a table, only these columns: no others are read.")
@click.option(
    "--logged", metavar="NAME", help="What the task has logged by `hr.log`: a text, a figure, a curve as CSV."
)
@click.option("--step", type=int, help="Of the texts or figures that were logged, that of this step; else the last.")
@options.config
def command(
    run_id: str,
    task: str | None,
    to: Path | None,
    columns: str | None,
    logged: str | None,
    step: int | None,
    config: Path | None,
) -> int:
    """The artifact is that of a run's task, `TASK.PART` for one of several outputs, or the one that a digest, or its
    beginning, names, or NAMED, the address of a version: `model:NAME` (the newest), `model:NAME:3`, `model:NAME@ALIAS`,
    or `dataset:...`. The file has the artifact's own form: Arrow, JSON, SVG, a model's own. Several outputs, and lists,
    are written as JSON where they are plain. A table goes to `FILE.csv`, `FILE.parquet`, `FILE.json`, `FILE.jsonl`, or
    else as Arrow; a report to `FILE.md`, `FILE.json`, `FILE.html`, or else as text. Another suffix is refused.
    """
    found = project.load(overlay=config)
    if logged is None:
        if step is not None:
            raise UsageError("`--step` needs `--logged`", hint="name it: `--logged NAME`")
        say(str(get.get(found, run_id, task, to, columns.split(",") if columns else None)))
        return 0
    if task is None or columns is not None:
        raise UsageError("`--logged` needs a task, and no columns", hint="`headrace get RUN TASK --logged NAME`")
    get_logged = importlib.import_module("headrace.inspect.get.live_values").get_logged
    say(str(get_logged(found, run_id, task, logged, step, to)))
    return 0
