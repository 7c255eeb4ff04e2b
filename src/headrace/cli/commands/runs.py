"""`headrace runs`."""

from __future__ import annotations

import importlib
import shlex
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from headrace.cli import complete, options
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say_json, say_styled, tell
from headrace.inspect.views import RunView, Views, read, took_s, up_to_now
from headrace.project import project
from headrace.report.marks import MARKS, STYLES
from headrace.report.measures import seconds_text, usd_text
from headrace.report.numbers import interval_of, value_of
from headrace.spec.report import Fact

if TYPE_CHECKING:
    from headrace.inspect.metrics.ranking import Ranked, Ranking

MANY = 1 << 31
FEW = 20
HEADS = ("", "run", "state", "pipeline", "started", "took", "cost", "parameters")
SPARE = ("cost", "took", "state")


@click.command()
@click.option("--limit", type=options.COUNT, help="How many runs to list; by default 20, or all with `--json`.")
@click.option("--pipeline", metavar="NAME", shell_complete=complete.pipelines, help="List only runs of this pipeline.")
@click.option(
    "--sort",
    metavar="METRIC",
    shell_complete=complete.metrics,
    help="Sort by this metric, `NAME` or `TASK.NAME`, the least first; `-NAME` sorts the greatest first.",
)
@options.as_json
@options.config
def command(limit: int | None, pipeline: str | None, sort: str | None, as_json: bool, config: Path | None) -> int:
    """With `--json`: `{"runs": [...]}`, each run as in `headrace show --json`, without its tasks. With `--sort`, each
    run also has its `metric`. Metrics are read from the reports, logged values and returned dictionaries of the newest
    500 runs. If several tasks have the metric, the best value counts. If it isn't known whether higher or lower values
    are better, the last value counts.
    """
    found = project.load(overlay=config)
    again = partial(_again, pipeline, sort)
    with read(found) as views:
        if sort is not None:
            # It loads the codecs, which the list alone doesn't need.
            ranking = importlib.import_module("headrace.inspect.metrics.ranking").ranking(found, views, sort, pipeline)
            return _say_ranking(views, ranking, limit, again, as_json=as_json)
        runs = views.runs(limit=limit or (MANY if as_json else FEW), pipeline=pipeline)
        if as_json:
            say_json({"runs": [up_to_now(views, run) for run in runs.runs]})
            return 0
        rows = [_row(views, run) for run in runs.runs]
    if not runs.runs:
        tell("there is no run yet" if pipeline is None else f"there is no run of pipeline `{pipeline}` yet")
        return 0
    for line in table(HEADS, rows, numbers=(5, 6), spare=SPARE):
        say_styled(line)
    if runs.more is not None:
        tell(f"older runs: `{again(len(runs.runs))}`", label="hint:")
    return 0


def _say_ranking(
    views: Views, ranking: Ranking, limit: int | None, again: Callable[[int], str], *, as_json: bool
) -> int:
    shown = ranking.runs[: limit or (MANY if as_json else FEW)]
    if as_json:
        listed = [(up_to_now(views, each.run), each.reading) for each in shown]
        say_json({"runs": [{**msgspec.to_builtins(run), "metric": reading} for run, reading in listed]})
        return 0
    heads = [*HEADS[:3], ranking.metric, *HEADS[3:]]
    rows = [[*(row := _row(views, each.run))[:3], _metric(each), *row[3:]] for each in shown]
    for line in table(heads, rows, numbers=(3, 6, 7), spare=SPARE):
        say_styled(line)
    if len(shown) < len(ranking.runs):
        tell(f"more runs: `{again(len(shown))}`", label="hint:")
    if ranking.more:
        tell("only the newest runs are sorted: the metrics of older runs weren't read", label="note:")
    return 0


def _again(pipeline: str | None, sort: str | None, shown: int) -> str:
    """Return the command line that lists twice as many runs as were shown."""
    words = ["headrace", "runs", "--limit", str(2 * shown)]
    for option, value in (("--pipeline", pipeline), ("--sort", sort)):
        words += [] if value is None else [option, value]
    return shlex.join(words)


def _metric(ranked: Ranked) -> Cell:
    reading = ranked.reading
    if reading is None:
        return ("-", "dim")
    if reading.value is None:
        return ("undefined", "yellow")
    fact = Fact(name=reading.name, value=reading.value, low=reading.low, high=reading.high, unit=reading.unit)
    interval = interval_of(fact)
    return f"{value_of(fact)} ({interval})" if interval else value_of(fact)


def _row(views: Views, run: RunView) -> list[Cell]:
    style = STYLES[run.state]
    return [
        (MARKS[run.state], style),
        run.run,
        (run.state, style),
        run.pipeline,
        f"{datetime.fromtimestamp(run.created).astimezone():%Y-%m-%d %H:%M:%S}",
        seconds_text(took_s(views, run, time.time())),
        usd_text(run.usd) if run.usd else "",
        " ".join(f"{name}={value}" for name, value in run.params.items()),
    ]
