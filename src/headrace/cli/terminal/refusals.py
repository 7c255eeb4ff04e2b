"""Prints the tasks that a gate held back, and the rules that don't hold, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.cli.terminal.terminal import say
from headrace.inspect.gates import Rule, held
from headrace.inspect.metrics.metrics import loader
from headrace.inspect.views import Views
from headrace.project.project import Project
from headrace.project.state import reading_store


def say_refusals(project: Project, views: Views, run: str) -> None:
    """For each gate of a run, print the tasks that the gate held back, and the rules that don't hold."""
    for each in held(views, run, loader(reading_store(project))):
        say()
        say(each.sentence, "bold")
        say_rules(each.rules, each.gate)


def say_rules(broken: Iterable[Rule], gate: str) -> None:
    """Print the rules that don't hold, and why they don't. If a rule belongs to another task than `gate`, that task is
    named."""
    for each in broken:
        say(f"  {each.verdict(gate)}", "red")
        say(f"    {each.why}")
