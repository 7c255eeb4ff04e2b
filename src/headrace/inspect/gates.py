"""What a task of `evaluate.gate` was asked, and why it said so: judged again, from the record."""

from __future__ import annotations

from collections.abc import Callable

from headrace.errors import HeadraceError
from headrace.inspect.metrics.metrics import Load
from headrace.plan.resolve import Unmappable, follow
from headrace.spec.artifact import Ref
from headrace.spec.graph import Const, Node, Out
from headrace.spec.report import Report
from headrace.spec.stage import function_name
from headrace.stages.evaluate._gate.gate import judge
from headrace.stages.evaluate._gate.rules import parse
from headrace.stages.evaluate.known import known_of

GATE = function_name("headrace.stages.evaluate._gate.gate", "gate")


def asked(node: Node | None, out: Callable[[str], Ref | None], load: Load) -> Report | None:
    """Give the rules that a gate was asked as a report of verdicts; None of a task that is no gate, or isn't known.

    `out` gives the output of a task, None where it has none.
    """
    if node is None or node.stage.partition("#")[0] != GATE:
        return None
    given = dict(node.args)
    report, rule = _value(given.get("report"), out, load), _value(given.get("rule"), out, load)
    if not isinstance(report, Report) or not isinstance(rule, str):
        return None
    try:
        found = judge(parse(rule), known_of(report))
    except HeadraceError:  # then the task has failed, and says so
        return None
    return Report(title=f"Rules of `{node.name}`", about="", passed=found.passed, verdicts=found.verdicts)


def _value(arg: object, out: Callable[[str], Ref | None], load: Load) -> object:
    if isinstance(arg, Const):
        return load(arg.ref)
    whole = out(arg.task) if isinstance(arg, Out) else None
    if whole is None or not isinstance(arg, Out):
        return None
    try:
        return load(follow(whole, arg.path))
    except Unmappable:
        return None
