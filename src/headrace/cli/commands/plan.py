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
    cost, if past runs show this. The time and cost of copying an output to another region are included only if the
    output exists already.

    `plan` looks for reusable results in the same way as the run will. But a stage with `cache=False`, such as one that
    reads a source, runs each time, so its output isn't known yet. For each task that depends on this output, `plan`
    looks at earlier runs. It says `reuse if unchanged` in two cases: if the task has a stored result that was made from
    the output of one of the last five runs, or if an earlier run had the task with the same code and the same other
    inputs. In both cases, the run reuses a stored result if the new output equals the output from which that result was
    made. In all other cases, `plan` says `run`.

    In the plan, a task's time is that of one attempt. It includes importing the task's module, loading its inputs and
    saving its output. `headrace show` prints another time: that of the task's function alone, over all attempts.

    The total time is a range, for the same machine under the same load. The lower end counts only tasks that surely
    run, each with its shortest time in the last ten runs. The upper end counts all tasks that may run, each with its
    longest time. Both ends add the time that a run takes besides its tasks (to trace, to start workers, to import), as
    measured in the last five runs. The lower end takes this time only from those runs whose tasks would all surely run
    again now. If there is no such run, nothing is added. The range is then widened for chance: by two fifths at the
    lower end, by a fifth at the upper end.

    The time of a task isn't known if neither the task nor another task of its stage ran in the last ten runs (because
    they were reused, for example). If such a task may run, no range is printed, and the total cost is printed without
    the cost of this task.
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
