"""Prints metrics, texts and figures that tasks have logged on a terminal."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import bars, say, say_styled, tell
from headrace.inspect.metrics.curves import Line, brief, lines
from headrace.inspect.views import MetricView, ShownView, Views, judged
from headrace.inspect.warnings import texts_of_results
from headrace.report.measures import bytes_text
from headrace.report.numbers import number
from headrace.report.sparkline import sparkline

SHOWN = 24
"""How many metrics of a run are shown. With `--tasks`, all are shown."""
DRAWN = 200
"""If a run has more metrics than this, no curves are drawn, because all points of each curve would have to be read."""
WIDTH = 24
BEGINS = 60


def say_metrics(views: Views, run: str, *, every: bool) -> None:
    """Print a run's metrics: the last and the best value of each and, on a terminal, its curve. Then print its logged
    texts and figures.

    With `every`, all of these are printed. Else only the first `SHOWN` metrics are printed, and the first `SHOWN` of
    the texts and figures.
    """
    metrics = sorted(views.metrics(run), key=lambda metric: metric.count == 1)  # those with a curve first
    if metrics:
        _say_numbers(views, run, metrics, every=every)
    _say_shown(views, run, every=every)


def _say_numbers(views: Views, run: str, found: Sequence[MetricView], *, every: bool) -> None:
    shown = found if every else found[:SHOWN]
    draws = sys.stdout.isatty() and len(found) <= DRAWN
    drawn: Mapping[tuple[str, str], Line] = lines(views, run) if draws else {}
    say()
    heads = ["task", "metric", "last", "best", "step", "points", "curve"]
    subjects = judged(views, run, [metric.task for metric in shown])
    rows = [_row(metric, drawn.get((metric.task, metric.name)), subjects.get(metric.task, "")) for metric in shown]
    for text in table(heads, rows, numbers=(2, 3, 4, 5), spare=("points", "step", "curve", "best")):
        say_styled(text)
    if len(shown) < len(found):
        tell(f"{len(found) - len(shown)} more metrics: `headrace show {run} --tasks`", label="hint:")


def _say_shown(views: Views, run: str, *, every: bool) -> None:
    """Print a line for each name under which a task logged texts or figures. For texts, the line has the beginning of
    the last one. If the texts or figures were deleted with the run that logged them, the line says so. Warnings that
    only failed attempts logged are left out."""
    every_kind = [metric for metric in views.metrics(run, kind=None) if metric.kind != "number"]
    if not every_kind:
        return
    texts = texts_of_results(views, run)
    last = {(each.task, each.name): each for each in (*texts, *views.figures(run))}
    left = {(each.task, each.name) for each in set(views.texts(run)).difference(texts)} - last.keys()
    found = [metric for metric in every_kind if (metric.task, metric.name) not in left]
    if not found:
        return
    shown = found if every else found[:SHOWN]
    rows: list[list[Cell]] = []
    for metric in shown:
        kept = last.get((metric.task, metric.name))
        words = f"deleted with run {metric.run}" if kept is None else _begin(kept) if metric.kind == "text" else ""
        step, count = f"{metric.last_step:,}", f"{metric.count:,}"
        rows.append([metric.task, metric.name, metric.kind, step, count, (words, "dim")])
    say()
    heads = ["task", "logged", "kind", "step", "times", "last"]
    for line in table(heads, rows, numbers=(3, 4), spare=("times", "step")):
        say_styled(line)
    if len(shown) < len(found):
        tell(f"{len(found) - len(shown)} more texts and figures: `headrace show {run} --tasks`", label="hint:")
    first = next((metric for metric in found if (metric.task, metric.name) in last), None)
    if first is not None:
        command = shlex.join(["headrace", "get", run, first.task, "--logged", first.name])
        tell(f"`{command}` gives the whole {first.kind}", label="hint:")


def _begin(text: ShownView) -> str:
    """Return the beginning of a logged text, or its size if the text is too long for the ledger to hold."""
    if text.out.inline is None:
        return bytes_text(text.out.size)
    line = " ".join(text.out.inline.decode(errors="replace").split())
    return line if len(line) <= BEGINS else f"{line[:BEGINS]}…"


def _row(metric: MetricView, line: Line | None, of: str) -> list[Cell]:
    summed = brief(metric)
    return [
        f"{metric.task} of {of.replace('`', '')}" if of else metric.task,
        metric.name,
        "nan" if summed.last is None else number(summed.last),
        "" if summed.best is None else number(summed.best),
        f"{summed.step:,}",
        f"{summed.count:,}",
        "" if line is None else (sparkline(line.values, width=WIDTH, bars=bars()), "cyan"),
    ]


def point_text(name: str, step: int, value: float) -> str:
    """Return one point of a curve as text: `train/loss 0.53 at step 120`."""
    return f"{name} {'nan' if math.isnan(value) else number(value)} at step {step:,}"
