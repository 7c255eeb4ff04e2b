"""The planner: from the graph, what past runs taught, the policy and the pool to a decision about each task. Pure.

What has no output yet has none either in the plan, so what depends on it is decided by what is known: if nothing but
that input could differ from an earlier run, the task is reused should the input come out the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Protocol

from msgspec import Struct

from headrace.errors import UsageError, listed
from headrace.plan.keys import Inputs, identity, key_of, told
from headrace.plan.resolve import Unmappable, columns, follow, labels, truth, value
from headrace.plan.reuse import Before, Change, ChangedGiven, barred, told_change, why_run
from headrace.plan.transfers import Source, Transfers
from headrace.spec.artifact import Ref, gather
from headrace.spec.fleet import Pool
from headrace.spec.graph import Arg, Node, Out, constants, outs
from headrace.spec.plan import Decision, Plan, PlannedTask
from headrace.spec.policy import NOT_ASKED, Policy
from headrace.spec.stage import Stage

WORKS: Set[Decision] = {"run", "reuse_if_unchanged", "skip_if_unchanged"}
SKIPS: Set[Decision] = {"skip", "skip_if_unchanged"}


class History(Protocol):
    """What past runs taught, as one snapshot."""

    def result(self, key: str) -> tuple[Ref, str] | None:
        """Give the output that is there under a key, and the run that made it."""
        ...

    def before(self, task: str) -> Before | None:
        """Give what the key of a task was made of in the latest earlier run."""
        ...

    def output(self, task: str) -> tuple[Ref, str] | None:
        """Return what a task gave in the latest earlier run, and that run; None where it gave nothing."""
        ...

    def seconds(self, task: str, stage: str) -> float | None:
        """Give how long an attempt of a task took, its load and save included; None where none ever ran."""
        ...

    def width(self, task: str) -> int | None:
        """Give how many elements a mapped task had."""
        ...


class _Fate(Struct):
    """What the plan expects of a task: its output where that is known, and how long until then.

    `expected` is the output if it comes out as it did before, in the run `since`. `open`: it may be held back yet.
    """

    decision: Decision
    out: Ref | None = None
    expected: Ref | None = None
    since: str = ""
    open: bool = False
    low_s: float = 0.0
    high_s: float = 0.0


class Planner:
    """Plans one graph, node by node in the order in which they were traced, which is one that works.

    `beside_s` is what a run takes beside its stages' own code, at least and at most: to start workers, to import.
    """

    def __init__(
        self,
        *,
        stages: Mapping[str, Stage],
        policy: Policy,
        pool: Pool,
        history: History,
        platform: str | None = None,
        changed_code: Callable[[str, Stage], Sequence[str]],
        changed_given: ChangedGiven = lambda *_: (),
        source: Source | None = None,
        beside_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._beside_s = beside_s
        self._stages = stages
        self._policy = policy
        self._pool = pool
        self._history = history
        self._platform = platform
        self._changed_code = changed_code
        self._changed_given = changed_given
        self._transfers = None if source is None else Transfers(pool, source)
        self._fates: dict[str, _Fate] = {}
        self._tasks: list[PlannedTask] = []
        self._low_usd = self._high_usd = 0.0
        self._low_busy = self._high_busy = 0.0
        self._timed = True

    def plan(self, pipeline: str, nodes: Sequence[Node], *, partial: bool = False) -> Plan:
        """Plan all nodes. `partial`: the trace waits for a value, so more is to come."""
        wanted = needed_by(self._policy.only, nodes, self._stages) if self._policy.only else None
        for node in nodes:
            self._node(node, wanted)
        transfers = () if self._transfers is None else self._transfers.tasks()
        for each in transfers:
            assert isinstance(each.expected_usd, float)
            self._low_usd += each.expected_usd
            self._high_usd += each.expected_usd
        ends = [(fate.low_s, fate.high_s) for fate in self._fates.values()]
        capacity = max(self._pool.cpu, 1e-9)
        low = max(max((low for low, _ in ends), default=0.0), self._low_busy / capacity)
        high = max(max((high for _, high in ends), default=0.0), self._high_busy / capacity)
        brought = [each.expected_s or 0.0 for each in transfers]  # before what needs them, at once or one by one
        low, high = low + max(brought, default=0.0), high + sum(brought)
        decided = {task.decision for task in self._tasks}
        sure = any(fate.decision == "run" and not fate.open for fate in self._fates.values())
        low += self._beside_s[0] if sure else 0.0
        high += self._beside_s[1] if decided & WORKS else 0.0
        return Plan(
            pipeline=pipeline,
            tasks=(*self._tasks, *transfers),
            expected_s=(low, high) if self._timed else None,
            expected_usd=(self._low_usd, self._high_usd),
            bound_usd=self._low_usd,
            gap=0.0,
            partial=partial,
        )

    def _node(self, node: Node, wanted: set[str] | None) -> None:
        stage = self._stages[node.stage]
        needs = names_needed(node)
        start = (
            max((self._fates[name].low_s for name in needs), default=0.0),
            max((self._fates[name].high_s for name in needs), default=0.0),
        )
        try:
            skip = self._why_skip(node, stage, wanted)
            if skip is not None:
                self._settle(node, stage, *skip, start=start)
            elif all(self._is_known(arg) for _, arg in node.args):
                self._known(node, stage, start)
            else:
                self._unknown(node, stage, start)
        except Unmappable as problem:
            self._settle(node, stage, "run", f"it will fail: {problem}", start=start)

    def _why_skip(self, node: Node, stage: Stage, wanted: set[str] | None) -> tuple[Decision, str] | None:
        """Say why a task is skipped for sure, or else why it is where what comes before comes out as it did."""
        if wanted is not None and node.name not in wanted:
            return "skip", NOT_ASKED
        likely = None
        for decision, why in self._hindrances(node, stage):
            if decision == "skip":
                return decision, why
            likely = likely or (decision, why)
        return likely

    def _hindrances(self, node: Node, stage: Stage) -> Iterator[tuple[Decision, str]]:
        for name in self._must_have(node, stage):
            decision = self._fates[name].decision
            if decision == "skip":
                yield decision, f"`{name}` is skipped"
            elif decision == "skip_if_unchanged":
                yield decision, f"skipped if `{name}` is"
        if node.when is not None:
            source = self._fates[node.when.task]
            if source.out is not None:
                said = truth(follow(source.out, node.when.path))
                if said is None:
                    yield "skip", f"`when=` got a value of `{node.when.task}` that is neither true nor false"
                elif not said:
                    yield "skip", f"`when=`: the value of `{node.when.task}` is false"
            elif source.expected is not None and _says_no(source.expected, node.when.path):
                yield "skip_if_unchanged", f"held back if `{node.when.task}` says no again, as in run {source.since}"

    def _must_have(self, node: Node, stage: Stage) -> Iterator[str]:
        """Go over the tasks without which this one is skipped."""
        for name, arg in node.args:
            if name not in stage.defaults or name in node.over:
                yield from (out.task for out in outs(arg))
        if not node.always:
            yield from node.after
        if node.when is not None:
            yield node.when.task

    def _is_open(self, node: Node, stage: Stage) -> bool:
        """Whether it isn't known yet that a task isn't skipped."""
        gate = None if node.when is None else self._fates[node.when.task]
        asks = gate is not None and gate.out is None
        return asks or any(self._fates[name].open for name in self._must_have(node, stage))

    def _is_known(self, arg: Arg) -> bool:
        """Whether each output in an argument is known, or is left out since its task is skipped."""
        return all(
            self._fates[out.task].out is not None or self._fates[out.task].decision == "skip" for out in outs(arg)
        )

    def _known(self, node: Node, stage: Stage, start: tuple[float, float]) -> None:
        args = [
            (name, arg) for name, arg in node.args if all(self._fates[out.task].out is not None for out in outs(arg))
        ]
        if not node.over:
            inputs = tuple((name, value(arg, self._output)) for name, arg in args)
            decision, why, out, key = self._decide(node, node.name, stage, inputs)
            self._settle(node, stage, decision, why, start=start, out=out, key=key)
            return
        lists = columns(node.name, dict(args), node.over, self._output)
        names = labels(node.name, lists)
        whole = {name: value(arg, self._output) for name, arg in args if name not in lists}
        refs: list[Ref] = []
        reasons: list[str] = []
        for index, name in enumerate(names):
            row = {**whole, **{param: column[index] for param, column in lists.items()}}
            inputs = tuple((param, row[param]) for param, _ in args)
            _, why, out, _ = self._decide(node, name, stage, inputs)
            refs += [out] if out is not None else []
            reasons += [why] if out is None else []
        if reasons:
            why = f"{len(reasons)} of {len(names)} elements: {reasons[0]}"
            self._settle(node, stage, "run", why, start=start, width=len(names), runs=len(reasons))
        else:
            self._settle(
                node,
                stage,
                "reuse",
                f"{len(names)} elements are there",
                start=start,
                out=gather(refs),
                width=len(names),
            )

    def _decide(self, node: Node, name: str, stage: Stage, inputs: Inputs) -> tuple[Decision, str, Ref | None, str]:
        key, parts = key_of(stage, inputs, self._platform)
        bar = barred(stage, self._policy)
        found = self._history.result(key) if bar is None else None
        if found is not None:
            return "reuse", f"nothing that determines it has changed since run {found[1]}", found[0], key
        if self._transfers is not None:
            self._transfers.need(ref for _, arg in inputs for ref in constants(arg))
        return "run", bar or self._why_run(node, name, stage, key, parts), None, key

    def _why_run(self, node: Node, name: str, stage: Stage, key: str, parts: bytes) -> str:
        before = self._history.before(name)
        differs = before is not None and before.code != stage.code.digest
        changed = self._changed_code(before.run, stage) if before is not None and differs else ()
        return why_run(stage, key, parts, before, changed, lambda change: self._given(before, node, change))

    def _given(self, before: Before | None, node: Node, change: Change) -> Sequence[str]:
        return () if before is None else self._changed_given(before.run, node, change)

    def _unknown(self, node: Node, stage: Stage, start: tuple[float, float]) -> None:
        """An input is to be made yet: the task runs, unless the input comes out as it was."""
        names = self._elements(node)
        width = len(names) if names is not None else self._history.width(node.name)
        unknown = [
            f"`{name}`"
            for name in names_needed(node)
            if self._fates[name].out is None and self._fates[name].decision != "skip"
        ]
        waits = ", ".join(unknown)
        decision: Decision = "run"
        expected: tuple[Ref, str] | None = None
        why = barred(stage, self._policy)
        if why is None and names is None:
            why = f"its list comes from {waits}"
        elif why is None:
            expected, why = self._if_unchanged(node, stage)
            if expected is None and why is None:
                why = self._why_surely(node, stage, names or [])
        if why is None:
            give = "give what they" if len(unknown) > 1 else "gives what it"
            decision, why = "reuse_if_unchanged", f"reused if {waits} {give} gave before"
        if self._transfers is not None and decision == "run":
            known = [arg for _, arg in node.args if all(self._fates[out.task].out is not None for out in outs(arg))]
            self._transfers.need(ref for arg in known for ref in constants(value(arg, self._output)))
        self._settle(node, stage, decision, why, start=start, width=width, runs=width or 1, expected=expected)

    def _if_unchanged(self, node: Node, stage: Stage) -> tuple[tuple[Ref, str] | None, str | None]:
        """Look up the output that is there if what comes before gives what it gave in an earlier run, and the run that
        made it. Where none is, and the task was the same in the latest run, say so."""
        args = [(name, arg) for name, arg in node.args if all(self._may_be(out) for out in outs(arg))]
        left = [out for pair in node.args if pair not in args for out in outs(pair[1])]
        if node.over or any(self._fates[out.task].decision not in SKIPS for out in left):
            return None, None
        try:
            key, _ = key_of(stage, tuple((name, value(arg, self._expected)) for name, arg in args), self._platform)
        except Unmappable:  # what it gave before has no such part
            return None, None
        found = self._history.result(key)
        if found is not None:
            return found, None
        before = self._history.before(node.name)
        is_same = before is not None and before.key == key
        return None, "no output of it is there to be reused" if is_same else None

    def _may_be(self, out: Out) -> bool:
        fate = self._fates[out.task]
        return fate.out is not None or fate.expected is not None

    def _expected(self, name: str) -> Ref:
        fate = self._fates[name]
        ref = fate.out or fate.expected
        assert ref is not None
        return ref

    def _why_surely(self, node: Node, stage: Stage, names: Sequence[str]) -> str | None:
        """Say why a task has to run whatever comes of the inputs that aren't known yet, or None where it needn't."""
        before = self._history.before(names[0] if names else node.name)
        if before is None:
            return "no earlier result"
        if before.code != stage.code.digest:
            changed = self._changed_code(before.run, stage)
            return f"code changed: {listed(changed, 3)}" if changed else "code changed"
        return self._differs(node, before)

    def _elements(self, node: Node) -> list[str] | None:
        """Give the names of a task's elements, or its own if it is not mapped; None where its lists are to be made."""
        if not node.over:
            return [node.name]
        args = dict(node.args)
        if any(self._fates[out.task].out is None for name in node.over for out in outs(args[name])):
            return None
        return labels(node.name, columns(node.name, args, node.over, self._output))

    def _differs(self, node: Node, before: Before) -> str | None:
        """Say which input that is known already differs from the earlier run's."""
        then = told(before.inputs)
        for name, arg in node.args:
            if name not in then:
                return f"`{name}` is new"
            known = name not in node.over and all(self._fates[out.task].out is not None for out in outs(arg))
            if known and (now := identity(value(arg, self._output))) != then[name]:
                return told_change(name, self._given(before, node, Change(name, then[name], now)))
        return None

    def _settle(
        self,
        node: Node,
        stage: Stage,
        decision: Decision,
        reason: str,
        *,
        start: tuple[float, float],
        out: Ref | None = None,
        key: str | None = None,
        width: int | None = 1,
        runs: int = 1,
        expected: tuple[Ref, str] | None = None,
    ) -> None:
        """Note a decision, with the time and money that it is expected to take."""
        works = decision in WORKS
        is_open = decision == "skip_if_unchanged" or (works and self._is_open(node, stage))
        each = self._history.seconds(node.name, stage.name) if works else 0.0
        if each is None:
            self._timed = False
        need = stage.resources
        rounds = -(-runs // max(1, int(self._pool.cpu / (need.cpu * need.nodes)))) if runs > 1 else 1
        seconds = (each or 0.0) * rounds
        usd = (each or 0.0) * runs * self._pool.usd_per_hour * self._pool.share(need) / 3600
        busy = (each or 0.0) * runs * need.cpu * need.nodes
        low = 0.0 if is_open or decision == "reuse_if_unchanged" else 1.0
        self._low_usd += usd * low
        self._high_usd += usd
        self._low_busy += busy * low
        self._high_busy += busy
        if works and decision not in SKIPS and out is None and expected is None:
            expected = self._history.output(node.name)
        before, since = expected or (None, "")
        ends = start[0] + seconds * low, start[1] + seconds
        self._fates[node.name] = _Fate(decision, out, before, since, is_open, *ends)
        self._tasks.append(
            PlannedTask(
                name=node.name,
                stage=stage.name,
                kind=stage.kind,
                decision=decision,
                reason=reason,
                key=key,
                pool=self._pool.name if works else None,
                width=width if node.over or width != 1 else 1,
                expected_s=seconds if each is not None else None,
                expected_usd=None if each is None else usd if low else (0.0, usd),
                needs=tuple(names_needed(node)),
                notes=stage.code.notes if decision != "skip" else (),
            )
        )

    def _output(self, name: str) -> Ref:
        ref = self._fates[name].out
        assert ref is not None
        return ref


def _says_no(ref: Ref, path: tuple[int, ...]) -> bool:
    """Whether what a gate gave before is false; it may have had no such part."""
    try:
        return truth(follow(ref, path)) is False
    except Unmappable:
        return False


def check_policy(policy: Policy, nodes: Sequence[Node], stages: Mapping[str, Stage]) -> None:
    """See that what a policy names is there: `only` may name single tasks, `force` names stages.

    Raises:
        UsageError: it names a stage or task that the pipeline doesn't have.
    """
    called = dict.fromkeys(stage.name for stage in stages.values())
    either = called | dict.fromkeys(node.name for node in nodes)
    for option, names, known in (("--only", policy.only, either), ("--force", policy.force, called)):
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"it has {listed(known)}"
                raise UsageError(f"`{option} {name}`: the pipeline has no such stage", hint=hint)


def names_needed(node: Node) -> list[str]:
    """Give the names of the tasks that a node waits for, each once."""
    found: dict[str, None] = {}
    for _, arg in node.args:
        for out in outs(arg):
            found[out.task] = None
    if node.when is not None:
        found[node.when.task] = None
    for name in node.after:
        found[name] = None
    return list(found)


def needed_by(only: Iterable[str], nodes: Sequence[Node], stages: Mapping[str, Stage]) -> set[str]:
    """Give the tasks that are asked for by stage or task, with all that they need."""
    asked = set(only)
    return with_needs([node.name for node in nodes if stages[node.stage].name in asked or node.name in asked], nodes)


def with_needs(names: Iterable[str], nodes: Sequence[Node]) -> set[str]:
    """Give these tasks, with all that they need."""
    needs = {node.name: names_needed(node) for node in nodes}
    found = set(names)
    rest = list(found)
    while rest:
        for name in needs[rest.pop()]:
            if name not in found:
                found.add(name)
                rest.append(name)
    return found
