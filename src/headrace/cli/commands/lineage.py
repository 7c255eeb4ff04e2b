"""`headrace lineage`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import UNSET

from headrace.cli import complete, options
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled
from headrace.inspect.lineage import Need, OutputView, Step, trail
from headrace.project import project
from headrace.report.marks import MARKS, STYLES
from headrace.report.measures import bytes_text


@click.command()
@click.argument("run_id", metavar="RUN|DIGEST|NAMED", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK[.PART]]", required=False, shell_complete=complete.tasks)
@options.as_json
@options.config
def command(run_id: str, task: str | None, as_json: bool, config: Path | None) -> int:
    """Shows the tasks that made an artifact, all tasks that these needed, and all tasks that needed the artifact in any
    of the newest 30 runs that have it. A result that several runs reused is shown once. If a run got new code by
    `headrace resume --new-code`, its results from the time before are marked as "earlier code".

    There are three ways to name the artifact. RUN and TASK mean the output of a run's task; add a part for one of
    several outputs: `split.train`. DIGEST is the artifact's digest or the beginning of it. NAMED is the address of a
    version: `model:NAME` (the newest), `model:NAME:3`, `model:NAME@ALIAS`, or `dataset:...`.
    """
    found = trail(project.load(overlay=config), run_id, task)
    if as_json:
        say_json(found)
        return 0
    _say("made by", found.made)
    _say("from", found.up)
    _say("needed by", found.down)
    return 0


def _say(title: str, steps: Sequence[Step]) -> None:
    say(title if steps else f"{title}: nothing", "bold")
    heads = ["", "task", "run", "reused", "output", "inputs"]
    for line in table(heads, [_row(step) for step in steps], spare=("output",)) if steps else ():
        say_styled(line)
    say()


def _row(step: Step) -> list[Cell]:
    return [
        (MARKS.get(step.state, ""), STYLES.get(step.state, "dim")),
        step.task,
        f"{step.origin or step.run}{' (earlier code)' * step.earlier}",
        (_runs(len(step.again) + (step.origin not in (None, step.run))), "dim"),
        ", ".join(map(_output, step.outputs)),
        (", ".join(_need(need) for need in step.needs), "dim"),
    ]


def _output(output: OutputView) -> str:
    """Return the text of a small value, or the digest and size of any other output."""
    if output.text is UNSET:
        return f"{output.digest[:12]} ({bytes_text(output.bytes)})"
    return output.text if output.name is UNSET else f"{output.name}: {output.text}"


def _runs(count: int) -> str:
    return {0: "", 1: "by 1 run"}.get(count, f"by {count} runs")


def _need(need: Need) -> str:
    return f"{need.param}: {', '.join(need.tasks) if need.tasks else need.text}"
