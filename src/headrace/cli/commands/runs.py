"""`headrace runs`."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from headrace.app import project
from headrace.app.measures import seconds_text, usd_text
from headrace.app.reading import RunView, read, took_s
from headrace.cli import complete, options
from headrace.cli.marks import MARKS, STYLES
from headrace.cli.table import Cell, table
from headrace.cli.terminal import say_json, say_styled, tell

MANY = 1 << 31


@click.command()
@click.option("--limit", type=click.IntRange(1), help="How many; 20 when not given, all with `--json`.")
@click.option("--pipeline", metavar="NAME", shell_complete=complete.pipelines, help="Runs of this pipeline only.")
@options.as_json
@options.config
def command(limit: int | None, pipeline: str | None, as_json: bool, config: Path | None) -> int:
    """With `--json`: `{"runs": [...]}`, each run as `headrace show --json` gives it, without its tasks."""
    with read(project.load(overlay=config)) as views:
        found = views.runs(limit=limit or (MANY if as_json else 20), pipeline=pipeline)
    if as_json:
        say_json({"runs": found.runs})
        return 0
    if not found.runs:
        tell("there is no run yet")
        return 0
    heads = ["", "run", "state", "pipeline", "started", "took", "cost", "parameters"]
    for line in table(heads, [_row(run) for run in found.runs], numbers=(5, 6), spare=("cost", "took", "state")):
        say_styled(line)
    if found.more is not None:
        tell(f"older runs: `headrace runs --limit {2 * len(found.runs)}`", label="hint:")
    return 0


def _row(run: RunView) -> list[Cell]:
    style = STYLES[run.state]
    return [
        (MARKS[run.state], style),
        run.run,
        (run.state, style),
        run.pipeline,
        f"{datetime.fromtimestamp(run.created).astimezone():%Y-%m-%d %H:%M:%S}",
        seconds_text(took_s(run, time.time())),
        usd_text(run.usd) if run.usd else "",
        " ".join(f"{name}={value}" for name, value in run.params.items()),
    ]
