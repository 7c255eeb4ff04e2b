"""`headrace plan`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.parameters import split
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.operate import plan as planning
from headrace.project import project
from headrace.report.marks import DECISION_STYLES, DECISIONS
from headrace.report.measures import amount_text, seconds_text, usd_text
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
    """Takes the same arguments as `headrace run`. For each task, it says whether the task would run, be reused or be
    held back by a `when=`, and why, and where it would run. It also says how long the task would take and what it would
    cost, if past runs show this. The time and cost include copies to other regions only for outputs that exist already.

    `plan` looks for reusable results in the same way as the run will. But a stage with `cache=False`, such as one that
    reads a source, runs each time, so its output isn't known yet. For each task that depends on this output, `plan`
    looks at earlier runs. It says `reuse if unchanged` if the task has a stored result that was made from the output of
    one of the last five runs, or if an earlier run had the task with the same code and the same other inputs. Then the
    task is reused if the new output equals one from which a stored result was made. Otherwise `plan` says `run`.

    A task's time includes importing its module, loading its inputs and saving its output. `headrace show` prints the
    time of the task's function alone, over all attempts; a forecast is for one attempt.

    The total time is a range, for the same machine under the same load. The lower end counts only tasks that surely
    run, each with its shortest time in the last ten runs. The upper end counts all tasks that may run, each with its
    longest time. Both ends add the time that the last five runs took besides their tasks (to trace, to start workers,
    to import). For the lower end, this time is taken only from runs whose tasks would all surely run again now; if
    there is no such run, nothing is added. The range is then widened for chance: by two fifths at the lower end, by a
    fifth at the upper end. If a task ran in none of the last ten runs (where it was reused, say), its time isn't known:
    no range is printed, and the total cost is printed without that of this task.
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
