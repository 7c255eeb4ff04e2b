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
    """Lists each input, parameter, function, class, constant, package or platform that differs from the run before,
    with the lines of code that changed. For a task that a gate held back, it lists the rules that don't hold.
    """
    found = explain.explain(project.load(overlay=config), run_id, task)
    if as_json:
        say_json(found)
    else:
        _say(found)
    return 0


def _say(found: Explanation) -> None:
    say_styled(
        f"{paint(printable(found.task), 'bold', stream=sys.stdout)}  {found.decision}: {printable(found.reason)}"
    )
    if found.rules and found.gate is not None:
        say(f"`{found.gate}` says no:")
        say_rules(found.rules, found.gate)
    if found.against is not None:
        count = len(found.differences)
        say(f"compared with run {found.against}: {count or 'no'} difference{'' if count == 1 else 's'}", "dim")
    for difference in found.differences:
        say()
        _say_difference(difference)
    for note in found.notes:
        say()
        say(note, "dim")
    if found.elements:
        words = ["headrace", "explain", found.run, printable(found.elements[0])]
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
