"""`headrace compare`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.comparison import say_comparison
from headrace.cli.terminal.terminal import say_file, say_json
from headrace.inspect.compare import gather
from headrace.inspect.get.output_file import PAGES, form_of
from headrace.inspect.views import read
from headrace.project import project


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=complete.runs)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    shell_complete=complete.metrics,
    help="Show only this metric, `NAME` or `TASK.NAME`; may be given again.",
)
@click.option(
    "--paired/--no-paired",
    default=None,
    help="Whether to compare two reports row by row if they judged the same rows. By default, this is done for up to"
    " 100,000 rows; larger reports need `--paired`.",
)
@click.option(
    "--to", type=options.FILE, metavar="FILE", help="Write one self-contained HTML page, with curves, to this file."
)
@options.as_json
@options.config
def command(
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    paired: bool | None,
    to: Path | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Shows parameters, code and inputs that differ, and metrics, curves, times and costs side by side. Each further
    RUN is compared with the first, and each task with the task of the same name.
    """
    form_of(to, PAGES, "a comparison")
    found = project.load(overlay=config)
    with read(found) as views:
        compared = gather.compare(found, views, runs, metrics, paired=paired)
    if to is not None:
        page = importlib.import_module("headrace.inspect.compare.page").page  # tables don't need it
        writing = importlib.import_module("headrace.inspect.page.write")
        to = writing.write_text(to, page(compared, found.name), "comparison.html")
    if as_json:
        say_json(compared)
    elif to is not None:
        say_file(to)
    else:
        say_comparison(compared, every=bool(metrics))
    return 0
