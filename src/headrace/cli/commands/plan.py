"""`headrace plan`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.app import planning, project
from headrace.app.marks import DECISION_STYLES, DECISIONS
from headrace.app.measures import amount_text, seconds_text, usd_text
from headrace.cli import options
from headrace.cli.parameters import split
from headrace.cli.table import Cell, table
from headrace.cli.terminal import say, say_json, say_styled, tell
from headrace.spec.plan import Plan, PlannedTask
from headrace.spec.policy import NOT_ASKED


@click.command(cls=options.PipelineCommand, context_settings=options.PARAMETERS)
@options.pipeline
@options.as_json
@options.config
def command(
    words: tuple[str, ...],
    param: tuple[str, ...],
    only: tuple[str, ...],
    force: tuple[str, ...],
    timeout: str | None,
    pool: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Takes what `headrace run` takes. Says for each task whether it would run, be reused or be held back by a `when=`,
    why, where, and what it would take and cost as far as past runs tell.

    Results are looked for as the run will look for them: behind a source, which is asked anew each time, those for what
    it gave in one of the last five runs.

    The time of all is a range, for the same machine under the same load. The least: only what surely runs, each task
    as quick as in any of the last ten runs. The most: all that may run, each as slow as in any of them. Both count what
    the last five runs took beside their tasks (to trace, to start workers, to import); the least does so by those runs
    alone in which nothing else ran, and counts nothing where there are none. Room is left for chance: two fifths below,
    a fifth above. While a task has never run, no range is printed.
    """
    target, parameters = split("plan", words, param)
    found = project.load(target=target, overlay=config)
    wanted = options.policy(found, only, force, timeout, pool)
    note = (lambda _: None) if as_json else tell
    plan = planning.plan(found, found.address(target), parameters, wanted, note=note)
    if as_json:
        say_json(plan)
    else:
        _say(plan)
    return 0


def _say(plan: Plan) -> None:
    heads = ["", "task", "kind", "decision", "tasks", "pool", "time", "cost", "why"]
    rows = [_row(task) for task in plan.tasks if task.reason != NOT_ASKED]
    for line in table(heads, rows, numbers=(4, 6, 7), spare=("kind", "pool", "tasks", "cost")):
        say_styled(line)
    say()
    for text in planning.sums(plan):
        say(text, "dim")
    for text in planning.notes(plan):
        say(f"note: {text}", "dim")


def _row(task: PlannedTask) -> list[Cell]:
    style = DECISION_STYLES[task.decision]
    return [
        (DECISIONS[task.decision], style),
        task.name,
        task.kind,
        (task.decision.replace("_", " "), style),
        "?" if task.width is None else str(task.width) if task.width != 1 else "",
        task.pool or "",
        amount_text(task.expected_s, seconds_text),
        amount_text(task.expected_usd, usd_text) if task.expected_usd not in (None, 0, (0, 0)) else "",
        (task.reason, "dim"),
    ]
