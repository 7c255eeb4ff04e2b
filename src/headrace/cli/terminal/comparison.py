"""Prints a comparison of runs on a terminal: side by side, or one below the other if the terminal is too narrow."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from headrace.cli.terminal.table import Cell, fits, table
from headrace.cli.terminal.terminal import bars, paint, say, say_styled, tell
from headrace.inspect.compare.facts import CodeChange, Comparison, Curve, Metric, Number, Setting, Side
from headrace.report.marks import MARKS, STYLES, Style, printable
from headrace.report.measures import count_text, seconds_text, usd_text
from headrace.report.numbers import number, with_unit
from headrace.report.sparkline import sparkline

SHOWN = 40
"""How many metrics are shown if `--metric` isn't given. The HTML page and `--json` show all metrics."""
VERDICTS: dict[str, tuple[str, Style]] = {
    "better": (" ▲", "green"),
    "worse": (" ▼", "red"),
    "same": (" =", "dim"),
    "": ("", "dim"),
}


def say_comparison(found: Comparison, *, every: bool) -> None:
    """Print a comparison of runs: side by side, or one below the other if the terminal is too narrow.

    With `every`, all metrics are printed, else the first `SHOWN`. Metrics that differ between the runs come before the
    others.
    """
    names = [run.run for run in found.runs]
    _say_table(["", "run", "pipeline", "state", "started", "took", "cpu", "cost"], map(_run_row, found.runs), (5, 6, 7))
    for note in found.notes:
        say(note.replace("`", ""), "dim")
    _say_settings("parameters that differ", found.parameters, names)
    _say_code(found.code, names)
    _say_settings("inputs that differ", [each for each in found.inputs if not each.follows], names)
    if following := [each for each in found.inputs if each.follows]:
        say()
        verb = "differs" if len(following) == 1 else "differ"
        say(f"because of these, {count_text(len(following), 'more input')} of tasks {verb}", "dim")
    telling = sorted(found.metrics, key=lambda metric: not metric.differs)
    shown = telling if every else telling[:SHOWN]
    if shown:
        _say_title("metrics")
        _say_metrics(shown, names)
        if len(shown) < len(found.metrics):
            rest = len(found.metrics) - len(shown)
            tell(f"{rest} more metrics: `--metric NAME`, `--to FILE` or `--json` show them", label="hint:")
    _say_curves(found.curves, names)
    if not (found.parameters or found.code or found.inputs):
        say()
        say("no parameter, code or input differs", "dim")
    if not found.metrics:
        tell("these runs have no metrics: `hr.log`, a report or a dictionary of numbers adds some", label="note:")


def _say_title(title: str) -> None:
    say()
    say(title, "bold")


def _say_table(heads: Sequence[str], rows: Iterator[list[Cell]], numbers: Sequence[int] = ()) -> None:
    for line in table(heads, list(rows), numbers=numbers, spare=("cpu", "cost", "started", "better")):
        say_styled(line)


def _run_row(run: Side) -> list[Cell]:
    return [
        (MARKS[run.state], STYLES[run.state]),
        run.run,
        run.pipeline,
        (run.state, STYLES[run.state]),
        f"{datetime.fromtimestamp(run.created).astimezone():%Y-%m-%d %H:%M:%S}",
        seconds_text(run.seconds),
        seconds_text(run.cpu_s),
        usd_text(run.usd) if run.usd else "",
    ]


def _say_settings(title: str, settings: Sequence[Setting], names: Sequence[str]) -> None:
    if settings:
        _say_title(title)
        _say_values(["task", "name"], [([each.task, each.name], each.values) for each in settings], names)


def _say_code(changes: Sequence[CodeChange], names: Sequence[str]) -> None:
    if changes:
        _say_title("code that differs")
        rows = [([each.stage, each.kind, each.name], each.values) for each in changes]
        _say_values(["stage", "part", "name"], rows, names)


def _say_values(
    heads: Sequence[str], rows: Sequence[tuple[list[str], Sequence[str | None]]], names: Sequence[str]
) -> None:
    """Print values that differ: a column for each run, or a line for each run if the columns don't fit."""
    beside = [[*about, *(_value(value) for value in values)] for about, values in rows]
    if fits([*heads, *names], beside):
        _say_table([*heads, *names], iter(beside))
        return
    for about, values in rows:
        say("  ".join(word for word in about if word))
        _say_below([[name, _value(value)] for name, value in zip(names, values, strict=True)])


def _say_metrics(metrics: Sequence[Metric], names: Sequence[str]) -> None:
    heads = ["task", "metric", "better", *(head for name in names for head in (name, ""))]
    beside = [_metric_row(metric) for metric in metrics]
    if fits(heads, beside, spare=("better",)):
        _say_table(heads, iter(beside), range(3, 3 + 2 * len(names)))
        return
    for metric in metrics:
        name = paint(printable(metric.name), "bold", stream=sys.stdout)
        say_styled(f"{printable(metric.who)}  {name}{f' ({metric.better} is better)' if metric.better else ''}")
        _say_below(
            [
                [run, *_number_cells(each, metric.unit)]
                for run, each in zip(names, metric.numbers, strict=True)
                if each is not None
            ]
        )


def _say_below(rows: Sequence[Sequence[Cell]]) -> None:
    width = max((len(cell) for row in rows if isinstance(cell := row[0], str)), default=0)
    for first, *rest in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, None) for cell in rest]
        painted = [
            paint(printable(text), *([style] if style else []), stream=sys.stdout) for text, style in cells if text
        ]
        say_styled("  ".join([f"  {first!s:<{width}}", *painted]))


def _value(value: str | None) -> Cell:
    return ("not there", "dim") if value is None else value


def _metric_row(metric: Metric) -> list[Cell]:
    return [
        metric.who,
        metric.name,
        (metric.better, "dim"),
        *(cell for each in metric.numbers for cell in _number_cells(each, metric.unit)),
    ]


def _number_cells(reading: Number | None, unit: str) -> tuple[Cell, Cell]:
    """Return two cells for a number: its value with its interval, and its difference from the first run's number."""
    if reading is None:
        return ("-", "dim"), ""
    if reading.value is None:
        return (f"undefined: {reading.why}", "yellow"), ""
    text = with_unit(reading.text(reading.value), unit)
    if reading.low is not None and reading.high is not None and reading.low != reading.high:
        text += f" [{reading.end(reading.low)}, {reading.end(reading.high)}]"
    if reading.best is not None and reading.best != reading.value:
        text += f" (best {reading.text(reading.best)})"
    if reading.change is None:
        return text, ""
    mark, style = VERDICTS[reading.verdict]
    if reading.change == 0:
        return text, (mark.strip(), style)
    if reading.is_apart:
        return text, (f"{reading.change_text} (other rows)", "dim")
    doubt = "?" if reading.sure is False else ""
    return text, (f"{reading.change_text}{mark}{doubt}", style)


def _say_curves(found: Sequence[Curve], names: Sequence[str]) -> None:
    if not found:
        return
    _say_title("curves")
    width = max(map(len, names))
    for curve in found[:SHOWN]:
        say_styled(f"{printable(curve.task)}  {paint(printable(curve.name), 'bold', stream=sys.stdout)}")
        finite = [v for line in curve.lines if line is not None for v in line.values if abs(v) < float("inf")]
        low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        for name, line in zip(names, curve.lines, strict=True):
            if line is not None and line.values:
                drawn = sparkline(line.values, width=40, low=low, high=high, bars=bars())
                say(f"  {name:<{width}}  {drawn:<40}  {number(line.values[0])} -> {number(line.values[-1])}")
