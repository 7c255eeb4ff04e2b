"""The gates of a run (`evaluate.gate`): the rules that they checked, the tasks that they held back, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from headrace.errors import HeadraceError, listed
from headrace.inspect.metrics.metrics import Load, reports
from headrace.inspect.passed import EVALUATE, passed
from headrace.inspect.views import Views
from headrace.plan.resolve import Unmappable, follow, truth
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.graph import Const, Node, Out, outs
from headrace.spec.report import Report
from headrace.spec.stage import function_name
from headrace.stages.evaluate.metrics.catalogue import catalogue_of
from headrace.watch.rules import parse

GATE = function_name("headrace.stages.evaluate._gate.gate", "gate")


def asked(node: Node | None, out: Callable[[str], Ref | None], load: Load) -> Report | None:
    """Return the rules that a gate checked, as a report with their verdicts,
    or None if the task is no gate or is unknown.

    `out` returns the output of a task, or None if it has none.
    """
    if node is None or node.stage.partition("#")[0] != GATE:
        return None
    # The Arrow and NumPy that it imports take 0.3 s, which only a run with a gate should cost.
    from headrace.stages.evaluate._gate.gate import judge  # noqa: PLC0415

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
    def effect(self) -> str:
        """The end of a sentence that begins with "`gate` says no": which tasks were skipped because of the gate."""
        return f": {listed(self.tasks, 20)} skipped" if self.tasks else "; no task waited for it"

    @property
    def sentence(self) -> str:
        """A text that names the gate and the tasks that were skipped because of it."""
        return f"`{self.gate}` says no{self.effect}"


class Held(Refusal, frozen=True, kw_only=True):
    """A gate whose value is false, the tasks that were skipped because of it, and its rules that do not hold."""

    rules: tuple[Rule, ...]


class _Run(Struct, frozen=True):
    """The rows and nodes of a run, by task. They are read once for all of a run's gates."""

    rows: Mapping[str, TaskRow]
    nodes: Mapping[str, Node]

    @classmethod
    def read(cls, views: Views, run: str) -> _Run:
        return cls({row.name: row for row in views.rows(run)}, views.story(run).nodes)

    def out(self, task: str) -> Ref | None:
        row = self.rows.get(task)
        return None if row is None or row.out is None else decode_ref(row.out)

    def is_gate(self, row: TaskRow, ref: Ref) -> bool:
        """Return whether a task whose output `ref` says no is a gate: an evaluation, or a call of `evaluate.gate`."""
        node = self.nodes.get(row.parent or row.name)
        return bool(ref.parts) or (node is not None and node.stage.partition("#")[0] == GATE)

    def refuser(self, node: Node) -> str | None:
        """If a node was skipped because its `when=` was false, return the name of the task that gave this value.
        Otherwise return None."""
        row = self.rows.get(node.name)
        if node.when is None or row is None or row.state != "skipped" or (whole := self.out(node.when.task)) is None:
            return None
        try:
            return node.when.task if truth(follow(whole, node.when.path)) is False else None
        except Unmappable:
            return None

    def refusals(self) -> list[Refusal]:
        tasks_by_gate: dict[str, list[str]] = {}
        for row in self.rows.values():
            ref = self.out(row.name) if row.kind == EVALUATE else None
            if ref is not None and passed(ref) is False and self.is_gate(row, ref):
                tasks_by_gate[row.name] = []
        for node in self.nodes.values():
            if (gate := self.refuser(node)) is not None:
                tasks_by_gate.setdefault(gate, []).append(node.name)
        return [Refusal(gate=gate, tasks=tuple(tasks)) for gate, tasks in tasks_by_gate.items()]

    def rules(self, gate: str, load: Load) -> list[Rule]:
        """Return the rules that a gate checked and that do not hold.

        If it isn't known which rules the gate checked, return the rules in the gate's own reports that do not hold. If
        there are none, return the rules that do not hold in the reports of the tasks whose outputs the gate takes.
        """
        node = self.nodes.get(gate)
        report = asked(node, self.out, load)
        if report is not None:
            return list(_unmet(gate, report))
        broken = list(self._broken([gate], load))
        return broken or list(self._broken([] if node is None else dict.fromkeys(_needed(node)), load))

    def _broken(self, tasks: Iterable[str], load: Load) -> Iterator[Rule]:
        for task in tasks:
            for report in reports(self.out(task), load):
                yield from _unmet(task, report)


def refusals(views: Views, run: str) -> list[Refusal]:
    """Return a run's gates that have a false value, whether or not a task waits for them.

    A task with a false value is taken to be a gate if it is a call of `evaluate.gate` or an evaluation, or if its value
    caused another task to be skipped.
    """
    return _Run.read(views, run).refusals()


def held(views: Views, run: str, load: Load) -> tuple[Held, ...]:
    """Return a run's gates that have a false value, each with its rules that do not hold."""
    found = _Run.read(views, run)
    return tuple(
        Held(gate=each.gate, tasks=each.tasks, rules=tuple(found.rules(each.gate, load))) for each in found.refusals()
    )


def refusal(views: Views, run: str, task: str, load: Load) -> Held | None:
    """Return the gate that caused a task to be skipped, or None. If the task was skipped because a task that it depends
    on was skipped, return the gate of that task."""
    found = _Run.read(views, run)
    rest, seen = [task], {task}
    for name in rest:
        node, row = found.nodes.get(name), found.rows.get(name)
        if node is None or row is None or row.state != "skipped":
            continue
        if (gate := found.refuser(node)) is not None:
            return Held(gate=gate, tasks=(name,), rules=tuple(found.rules(gate, load)))
        before = [*_needed(node), *node.after, *([node.when.task] if node.when else [])]
        rest += [each for each in dict.fromkeys(before) if each not in seen]
        seen.update(before)
    return None


def _unmet(task: str, report: Report) -> Iterator[Rule]:
    for verdict in report.verdicts:
        if verdict.holds is not True:
            yield Rule(task=task, rule=verdict.rule, holds=verdict.holds, why=verdict.why)


def _needed(node: Node) -> list[str]:
    return [out.task for _, arg in node.args for out in outs(arg)]
