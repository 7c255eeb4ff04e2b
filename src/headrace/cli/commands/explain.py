"""`headrace explain`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.refusals import say_rules
from headrace.cli.terminal.terminal import paint, say, say_json, say_styled, tell
from headrace.inspect import explain
from headrace.inspect.explain import Difference, Explanation
from headrace.project import project
from headrace.report.marks import Style, printable


@click.command()
@options.run_id
@options.task
@options.as_json
@options.config
def command(run_id: str, task: str, as_json: bool, config: Path | None) -> int:
    """Compares the task with the same task in an earlier run. Lists each input, parameter, function, class, constant,
    package or platform that differs, with the lines of code that changed. For a task that a gate held back, it lists
    the rules that don't hold. If the run uses several pools, it says why the task ran in its pool.
    """
    explanation = explain.explain(project.load(overlay=config), run_id, task)
    if as_json:
        say_json(explanation)
    else:
        _say(explanation)
    return 0


def _say(explanation: Explanation) -> None:
    task = paint(printable(explanation.task), "bold", stream=sys.stdout)
    say_styled(f"{task}  {explanation.decision}: {printable(explanation.reason)}")
    if explanation.pool_reason is not None:
        say(f"in pool `{explanation.pool}`: {explanation.pool_reason}", "dim")
    if explanation.rules and explanation.gate is not None:
        say(f"`{explanation.gate}` says no:")
        say_rules(explanation.rules, explanation.gate)
    if explanation.against is not None:
        count = len(explanation.differences)
        is_same = explanation.against == explanation.run
        other = "this run before it got new code" if is_same else f"run {explanation.against}"
        say(f"compared with {other}: {count or 'no'} difference{'' if count == 1 else 's'}", "dim")
    for difference in explanation.differences:
        say()
        _say_difference(difference)
    for note in explanation.notes:
        say()
        say(note, "dim")
    if explanation.elements:
        words = ["headrace", "explain", explanation.run, printable(explanation.elements[0])]
        tell(f"each element has its own reason: `{shlex.join(words)}`", label="hint:")


def _say_difference(difference: Difference) -> None:
    what = "" if difference.kind == difference.name else f"{difference.kind} "
    change = _change(difference.before, difference.after)
    name = paint(printable(difference.name), "bold", stream=sys.stdout)
    say_styled(f"{what}{name}{f': {printable(change)}' if change else ''}")
    for line in difference.diff:
        styles: dict[str, Style] = {"+": "green", "-": "red", "@": "cyan"}
        say(f"    {printable(line)}", *([styles[line[0]]] if line[:1] in styles else []))


def _change(before: str | None, after: str | None) -> str:
    if before == after:
        return ""
    if before is None:
        return f"new, {after}"
    if after is None:
        return f"gone, was {before}"
    return f"{before} -> {after}"
