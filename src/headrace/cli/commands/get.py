"""`headrace get`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say_file
from headrace.errors import UsageError
from headrace.inspect.get import get
from headrace.project import project


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST|NAMED", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option(
    "--to",
    type=options.FILE,
    metavar="FILE",
    help="The file to write; by default one in this folder, named after the task.",
)
@click.option("--columns", metavar="A,B", help="Read and write only these columns of a table.")
@click.option(
    "--logged",
    metavar="NAME",
    help="Write what the task logged under this name by `hr.log`: a text, a figure, or a curve as CSV.",
)
@click.option("--step", type=int, help="With `--logged`: the text or figure of this step; by default the last.")
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
    """There are three ways to name the artifact. RUN and TASK mean the output of a run's task; add a part, `TASK.PART`,
    for one of several outputs. DIGEST is the artifact's digest or the beginning of it. NAMED is the address of a
    version: `model:NAME` (the newest), `model:NAME:3`, `model:NAME@ALIAS`, or `dataset:...`.

    The file has the artifact's own format: Arrow, JSON, SVG, or a model's format. Several outputs or a list are written
    as JSON if they hold plain values only. A table is written as Arrow, or as the suffix of `--to` says: `.csv`,
    `.parquet`, `.json`, `.jsonl`. A report is written as text, or as the suffix of `--to` says: `.md`, `.json`,
    `.html`. Other suffixes are refused. If the artifact is a file whose suffix says its format, `--to` can't have the
    suffix of another format: for a `.jpg`, `.jpeg` will do, but `.png` won't. A text can't be written with the suffix
    of a format that isn't text, such as `.png` or `.zip`. It can be written as `.json` only if it is JSON.
    """
    found = project.load(overlay=config)
    if logged is None:
        if step is not None:
            raise UsageError("`--step` needs `--logged`", hint="say which logged value: `--logged NAME`")
        say_file(get.get(found, run_id, task, to, columns.split(",") if columns else None))
        return 0
    if task is None or columns is not None:
        raise UsageError(
            "`--logged` needs a task, and can't be used with `--columns`", hint="`headrace get RUN TASK --logged NAME`"
        )
    get_logged = importlib.import_module("headrace.inspect.get.live_values").get_logged
    say_file(get_logged(found, run_id, task, logged, step, to))
    return 0
