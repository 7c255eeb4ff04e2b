"""The gates of a run (`evaluate.gate`): the rules that they checked, the tasks that they held back, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from headrace.errors import HeadraceError, NotFoundError
from headrace.inspect.metrics.metrics import Load, reports
from headrace.inspect.views import EVALUATE, Views
from headrace.plan.resolve import Unmappable, follow, truth
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.graph import Const, Node, Out, outs
from headrace.spec.intent import REPORT
from headrace.spec.report import Report
from headrace.spec.stage import function_name
from headrace.stages.evaluate._gate.gate import judge
from headrace.stages.evaluate._gate.rules import parse
from headrace.stages.evaluate.metrics.catalogue import catalogue_of

GATE = function_name("headrace.stages.evaluate._gate.gate", "gate")


def asked(node: Node | None, out: Callable[[str], Ref | None], load: Load) -> Report | None:
    """Return the rules that a gate checked, as a report with their verdicts,
    or None if the task is no gate or is unknown.

    `out` returns the output of a task, or None if it has none.
    """
    if node is None or node.stage.partition("#")[0] != GATE:
        return None
    args = dict(node.args)
    report, rule = _value(args.get("report"), out, load), _value(args.get("rule"), out, load)
    if not isinstance(report, Report) or not isinstance(rule, str):
        return None
    try:
        decision = judge(parse(rule), catalogue_of(report))
    except HeadraceError:  # then the gate's task has failed for the same reason
        return None
    return Report(title=f"Rules of `{node.name}`", about="", passed=decision.passed, verdicts=decision.verdicts)


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


_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class Rule(Struct, frozen=True, kw_only=True):
    """A rule in a report of `task` that does not hold, and the reason. `holds` is None if the data are not enough to
    decide it."""

    task: str
    rule: str
    holds: bool | None
    why: str

    def verdict(self, gate: str) -> str:
        """Return the rule with its verdict as a text. The rule's task is named if it isn't `gate`."""
        where = "" if self.task == gate else f" (`{self.task}`)"
        return f"{'fails' if self.holds is False else 'undecided'}: {self.rule}{where}"


class Refusal(Struct, frozen=True, kw_only=True):
    """A gate whose value is false, and the tasks that were skipped because of it. There may be no such task."""

    gate: str
    tasks: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """A text that names the gate and the tasks that were skipped because of it."""
        return f"`{self.gate}` says no: {', '.join(self.tasks) or 'no task'} skipped"


class Held(Refusal, frozen=True, kw_only=True):
    """A gate whose value is false, the tasks that were skipped because of it, and its rules that do not hold."""

    rules: tuple[Rule, ...]


def refusals(views: Views, run: str) -> list[Refusal]:
    """Return a run's gates that have a false value, whether or not a task waits for them.

    These are the tasks whose value caused a task to be skipped, calls of `evaluate.gate`, and evaluations.
    """
    rows = views.rows(run)
    failed = [row for row in rows if row.kind == EVALUATE and _passed(row) is False]
    if not failed and all(row.state != "skipped" for row in rows):
        return []  # without reading the run's events
    nodes = views.story(run).nodes
    tasks_by_gate: dict[str, list[str]] = {row.name: [] for row in failed if _is_gate(row, nodes)}
    for node in nodes.values():
        if node.when is not None and _said_no(views, run, node):
            tasks_by_gate.setdefault(node.when.task, []).append(node.name)
    return [Refusal(gate=gate, tasks=tuple(tasks)) for gate, tasks in tasks_by_gate.items()]


def held(views: Views, run: str, load: Load) -> tuple[Held, ...]:
    """Return a run's gates that have a false value, each with its rules that do not hold."""
    return tuple(
        Held(gate=each.gate, tasks=each.tasks, rules=tuple(rules(views, run, each.gate, load)))
        for each in refusals(views, run)
    )


def refusal(views: Views, run: str, task: str) -> Refusal | None:
    """Return the gate that caused a task to be skipped, or None. If the task was skipped because a task that it depends
    on was skipped, return the gate of that task."""
    nodes = views.story(run).nodes
    rest, seen = [task], {task}
    for name in rest:
        node, row = nodes.get(name), _row(views, run, name)
        if node is None or row is None or row.state != "skipped":
            continue
        if node.when is not None and _said_no(views, run, node):
            return Refusal(gate=node.when.task, tasks=(name,))
        before = [*_needed(node), *node.after, *([node.when.task] if node.when else [])]
        rest += [each for each in dict.fromkeys(before) if each not in seen]
        seen.update(before)
    return None


def rules(views: Views, run: str, gate: str, load: Load) -> list[Rule]:
    """Return the rules of a gate that do not hold.

    If it is known which rules the gate checked, only these are searched. Otherwise the gate's own reports are searched.
    If no such rule is found in them, the reports of the tasks whose outputs the gate takes are searched.
    """
    node = views.story(run).nodes.get(gate)
    report = asked(node, lambda task: _out(views, run, task), load)
    if report is not None:
        return list(_unmet(gate, report))
    broken = list(_broken(views, run, [gate], load))
    return broken or list(_broken(views, run, [] if node is None else dict.fromkeys(_needed(node)), load))


def _broken(views: Views, run: str, tasks: Iterable[str], load: Load) -> Iterator[Rule]:
    for task in tasks:
        for report in reports(_out(views, run, task), load):
            yield from _unmet(task, report)


def _unmet(task: str, report: Report) -> Iterator[Rule]:
    for verdict in report.verdicts:
        if verdict.holds is not True:
            yield Rule(task=task, rule=verdict.rule, holds=verdict.holds, why=verdict.why)


def _out(views: Views, run: str, task: str) -> Ref | None:
    row = _row(views, run, task)
    return None if row is None or row.out is None else _decode_ref(row.out)


def _passed(row: TaskRow) -> bool | None:
    """Return the truth of a task's output `passed` if the task returned one with a report, else of its whole output.
    Return None if this isn't a boolean."""
    if row.out is None:
        return None
    ref = _decode_ref(row.out)
    parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    if any(part.type == REPORT for part in parts.values()):
        return truth(parts["passed"]) if "passed" in parts else None
    return truth(ref)


def _is_gate(row: TaskRow, nodes: Mapping[str, Node]) -> bool:
    """Return whether a task that returned False in `_passed` is a gate: an evaluation, or a call of `evaluate.gate`."""
    node = nodes.get(row.parent or row.name)
    is_bare = row.out is not None and not _decode_ref(row.out).parts
    return not is_bare or (node is not None and node.stage.partition("#")[0] == GATE)


def _said_no(views: Views, run: str, node: Node) -> bool:
    """Return whether a task was skipped because the value that its `when=` names is false."""
    row = _row(views, run, node.name)
    source = None if node.when is None else _row(views, run, node.when.task)
    if row is None or row.state != "skipped" or source is None or source.out is None or node.when is None:
        return False
    try:
        return truth(follow(_decode_ref(source.out), node.when.path)) is False
    except Unmappable:
        return False


def _needed(node: Node) -> list[str]:
    return [out.task for _, arg in node.args for out in outs(arg)]


def _row(views: Views, run: str, task: str) -> TaskRow | None:
    try:
        return views.task(run, task)
    except NotFoundError:
        return None
