"""The planner: makes a decision about each task from the graph, earlier runs, the policy and the pool. Pure.

A task that has to run has no output yet, so the inputs of the tasks after it aren't known. For such a later task, the
planner assumes that the tasks before it have the same outputs as in one of the latest runs. If there is a result for
the inputs that follow from this assumption, the plan says that the result is reused if the assumption holds. But the
outputs may also be the same as in a run before the latest runs. So a task is planned to run for certain only if no
earlier run had the same code and the same known inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial

from msgspec import Struct

from headrace.errors import listed
from headrace.plan.history import History
from headrace.plan.keys import Inputs, identity, key_of, told
from headrace.plan.needs import names_needed, needed_by
from headrace.plan.pools import PlannedPools
from headrace.plan.resolve import Unmappable, columns, follow, labels, truth, value
from headrace.plan.reuse import NEW, NOTHING_STORED, Before, Change, ChangedGiven, barred, made_by, told_change, why_run
from headrace.plan.times import Beside, Times, Took
from headrace.spec.artifact import Ref, gather
from headrace.spec.graph import Arg, Node, constants, outs
from headrace.spec.plan import Decision, Plan, PlannedTask
from headrace.spec.policy import NOT_ASKED, Policy
from headrace.spec.stage import Stage

WORKS: Set[Decision] = {"run", "reuse_if_unchanged", "skip_if_unchanged"}
SKIPS: Set[Decision] = {"skip", "skip_if_unchanged"}


class _Fate(Struct):
    """What the plan expects of a task.

    `out` is its output, or None if it isn't known. `expected` maps each earlier run, newest first, to a pair: the
    output that the task will have if the tasks before it have the same outputs as in that run; and the run that made
    this output. `open` is true if the task may still be skipped.
    """

    decision: Decision
    out: Ref | None = None
    expected: Mapping[str, tuple[Ref, str]] = {}
    open: bool = False


class Planner:
    """Plans one graph, node by node in the order of the trace. In that order, each task comes after those it needs.

    `platform` is the tag that the bundle's lock declares, or None. `changed_code` returns which parts of a stage's code
    have changed since an earlier run; `changed_given` does so for functions and classes passed as arguments. `beside`
    has the time that each earlier run needed in addition to its tasks: to trace, to start workers and to import.
    """

    def __init__(
        self,
        *,
        stages: Mapping[str, Stage],
        policy: Policy,
        pools: PlannedPools,
        history: History,
        platform: str | None = None,
        changed_code: Callable[[Before, Node, Stage], Sequence[str]],
        changed_given: ChangedGiven = lambda *_: (),
        beside: Sequence[Beside] = (),
    ) -> None:
        self._times = Times(pools.cpu, beside)
        self._stages = stages
        self._policy = policy
        self._pools = pools
        self._history = history
        self._platform = platform
        self._changed_code = changed_code
        self._changed_given = changed_given
        self._fates: dict[str, _Fate] = {}
        self._tasks: list[PlannedTask] = []
        self._low_usd = self._high_usd = 0.0
        self._there: dict[str, tuple[Ref, str] | None] = {}

    def plan(self, pipeline: str, nodes: Sequence[Node], *, partial: bool = False) -> Plan:
        """Return the plan of all nodes. `partial` is true if the trace waits for a value, so that nodes are missing."""
        wanted = needed_by(self._policy.only, nodes, self._stages) if self._policy.only else None
        for node in nodes:
            self._node(node, wanted)
        transfers = self._pools.transfers()
        for usd in (transfer.expected_usd or 0.0 for transfer in transfers):
            low, high = usd if isinstance(usd, tuple) else (usd, usd)
            self._low_usd += low
            self._high_usd += high
        return Plan(
            pipeline=pipeline,
            tasks=(*self._tasks, *transfers),
            expected_s=self._times.all([(each.expected_s or 0.0, each.decision == "run") for each in transfers]),
            expected_usd=(self._low_usd, self._high_usd),
            bound_usd=self._low_usd,
            gap=0.0,
            partial=partial,
        )

    def _node(self, node: Node, wanted: set[str] | None) -> None:
        stage = self._stages[node.stage]
        try:
            skip = self._why_skip(node, stage, wanted)
            if skip is not None:
                self._settle(node, stage, *skip)
            elif all(self._is_known(arg) for _, arg in node.args):
                self._known(node, stage)
            else:
                self._unknown(node, stage)
        except Unmappable as problem:
            self._settle(node, stage, "run", f"it will fail: {problem}")

    def _why_skip(self, node: Node, stage: Stage, wanted: set[str] | None) -> tuple[Decision, str] | None:
        """Return the decision (`skip` or `skip_if_unchanged`) and the reason if a task is skipped, otherwise None."""
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
                answer = truth(follow(source.out, node.when.path))
                if answer is None:
                    yield "skip", f"`when=` got a value of `{node.when.task}` that is neither true nor false"
                elif not answer:
                    yield "skip", f"`when=`: the value of `{node.when.task}` is false"
            elif source.expected:
                ref, since = next(iter(source.expected.values()))
                if _says_no(ref, node.when.path):
                    why = f"held back if `{node.when.task}` says no again, as in run {since}"
                    yield "skip_if_unchanged", why

    def _must_have(self, node: Node, stage: Stage) -> Iterator[str]:
        """Yield the names of the tasks that `node` can't do without: if one is skipped, `node` is skipped too."""
        for name, arg in node.args:
            if name not in stage.defaults or name in node.over:
                yield from (out.task for out in outs(arg))
        if not node.always:
            yield from node.after
        if node.when is not None:
            yield node.when.task

    def _is_open(self, node: Node, stage: Stage) -> bool:
        """Return whether a task may still be skipped, depending on outputs that aren't known yet."""
        gate = None if node.when is None else self._fates[node.when.task]
        asks = gate is not None and gate.out is None
        return asks or any(self._fates[name].open for name in self._must_have(node, stage))

    def _is_known(self, arg: Arg) -> bool:
        """Return whether all outputs in an argument are known. The outputs of skipped tasks are left out."""
        return all(
            self._fates[out.task].out is not None or self._fates[out.task].decision == "skip" for out in outs(arg)
        )

    def _known(self, node: Node, stage: Stage) -> None:
        args = [
            (name, arg) for name, arg in node.args if all(self._fates[out.task].out is not None for out in outs(arg))
        ]
        rows = self._rows(node, args, self._output)
        self._look_up([key_of(stage, inputs, self._platform)[0] for _, inputs in rows])
        decided = [self._decide(node, name, stage, inputs) for name, inputs in rows]
        if not node.over:
            decision, why, out, key = decided[0]
            self._settle(node, stage, decision, why, out=out, key=key)
            return
        refs = [out for _, _, out, _ in decided if out is not None]
        reasons = [why for _, why, out, _ in decided if out is None]
        if reasons:
            why = f"{len(reasons)} of {len(rows)} elements: {reasons[0]}"
            self._settle(node, stage, "run", why, width=len(rows), runs=len(reasons))
        else:
            why = f"all {len(rows)} elements have a stored output"
            self._settle(node, stage, "reuse", why, out=gather(refs), width=len(rows))

    def _rows(
        self, node: Node, args: Sequence[tuple[str, Arg]], output: Callable[[str], Ref]
    ) -> list[tuple[str, Inputs]]:
        """Return the name and the inputs of each element of a mapped task, or of the single task itself.

        Raises:
            Unmappable: an output lacks a requested part, or can't be mapped over.
        """
        if not node.over:
            return [(node.name, tuple((name, value(arg, output)) for name, arg in args))]
        lists = columns(node.name, dict(args), node.over, output)
        whole = {name: value(arg, output) for name, arg in args if name not in lists}
        rows = []
        for index, name in enumerate(labels(node.name, lists)):
            row = {**whole, **{param: column[index] for param, column in lists.items()}}
            rows.append((name, tuple((param, row[param]) for param, _ in args)))
        return rows

    def _look_up(self, keys: Sequence[str]) -> Sequence[tuple[Ref, str] | None]:
        """Return for each key the stored output, with the run that made it, or None. The answers are cached."""
        unknown = [key for key in dict.fromkeys(keys) if key not in self._there]
        results = self._history.results(unknown) if unknown else {}
        self._there.update((key, results.get(key)) for key in unknown)
        return [self._there[key] for key in keys]

    def _decide(self, node: Node, name: str, stage: Stage, inputs: Inputs) -> tuple[Decision, str, Ref | None, str]:
        key, parts = key_of(stage, inputs, self._platform)
        bar = barred(stage, self._policy, always=node.always)
        result = self._look_up([key])[0] if bar is None else None
        if result is not None:
            return "reuse", f"nothing that determines it has changed since run {result[1]}", result[0], key
        self._pools.need(stage, (ref for _, arg in inputs for ref in constants(arg)))
        return "run", bar or self._history.why_gone(key) or self._why_run(node, name, stage, key, parts), None, key

    def _why_run(self, node: Node, name: str, stage: Stage, key: str, parts: bytes) -> str:
        before = self._history.before(name)
        differs = before is not None and before.code != stage.code.digest
        changed = self._changed_code(before, node, stage) if before is not None and differs else ()
        return why_run(stage, key, parts, before, changed, lambda change: self._given(before, node, change))

    def _given(self, before: Before | None, node: Node, change: Change) -> Sequence[str]:
        return () if before is None else self._changed_given(before, node, change)

    def _unknown(self, node: Node, stage: Stage) -> None:
        """Plan a task with an input that isn't known yet: it runs, unless that input turns out to be unchanged."""
        names = self._elements(node)
        width = len(names) if names is not None else self._history.width(node.name)
        unknown = [
            name
            for name in names_needed(node)
            if self._fates[name].out is None and self._fates[name].decision != "skip"
        ]
        waits = ", ".join(f"`{name}`" for name in unknown)
        decision: Decision = "run"
        expected: Mapping[str, tuple[Ref, str]] = {}
        why = barred(stage, self._policy, always=node.always)
        if why is None:
            expected, why_lost = self._foreseen(node, stage)
            if not expected and not self._may_be_there(node, stage):
                why = made_by(node, unknown) if names is None else self._why_surely(node, stage, names)
                why = why or why_lost
            elif not expected:
                decision = "reuse_if_unchanged"
                outputs, are = ("outputs", "they are") if len(unknown) > 1 else ("output", "it is")
                why = f"depends on the {outputs} of {waits}: "
                why += (
                    f"runs if {are} the same as in the latest runs, and may be reused if {are} not"
                    if why_lost
                    else "the latest runs don't decide it"
                )
        if why is None:
            give = "give what they" if len(unknown) > 1 else "gives what it"
            decision, why = "reuse_if_unchanged", f"reused if {waits} {give} gave before"
        known = [arg for _, arg in node.args if all(self._fates[out.task].out is not None for out in outs(arg))]
        refs = (ref for arg in known for ref in constants(value(arg, self._output)))
        self._pools.need(stage, refs, None if decision == "run" else node.name)
        self._settle(node, stage, decision, why, width=width, runs=width or 1, expected=expected)

    def _foreseen(self, node: Node, stage: Stage) -> tuple[Mapping[str, tuple[Ref, str]], str | None]:
        """Return, by earlier run, the task's stored output if the tasks before it have the same outputs as in that run.
        Each output comes with the run that made it. Runs without a stored output are left out.

        If outputs were looked up, but no run has a stored one, the second value says why. Otherwise it is None.
        """
        by_run: dict[str, tuple[Ref, str]] = {}
        why_lost = None
        for run in self._history.runs():
            args = [(name, arg) for name, arg in node.args if all(self._ref_in(run, out.task) for out in outs(arg))]
            left = [out for pair in node.args if pair not in args for out in outs(pair[1])]
            if any(self._fates[out.task].decision not in SKIPS for out in left):
                continue
            try:
                rows = self._rows(node, args, partial(self._expected, run))
            except Unmappable:  # the output in the earlier run has no such part
                continue
            keys = [key_of(stage, inputs, self._platform)[0] for _, inputs in rows]
            there = self._look_up(keys)
            results = [result for result in there if result is not None]
            if len(results) < len(rows):
                gone = filter(None, map(self._history.why_gone, keys))
                why_lost = why_lost or next(gone, NOTHING_STORED)
            else:
                by_run[run] = (gather([ref for ref, _ in results]), run) if node.over else results[0]
        return by_run, None if by_run else why_lost

    def _ref_in(self, run: str, name: str) -> Ref | None:
        """Return a task's output: the known one, or the one expected if the tasks before it are as in `run`."""
        fate = self._fates[name]
        return fate.out or fate.expected.get(run, (None, ""))[0]

    def _expected(self, run: str, name: str) -> Ref:
        ref = self._ref_in(run, name)
        assert ref is not None
        return ref

    def _may_be_there(self, node: Node, stage: Stage) -> bool:
        """Return whether an earlier run made an output of this task with the same code and the same known inputs."""
        made_of = self._history.made_of(node.name, stage.code.digest, is_map=bool(node.over))
        known = {
            name: identity(value(arg, self._output))
            for name, arg in node.args
            if name not in node.over and all(self._fates[out.task].out is not None for out in outs(arg))
        }
        return made_of is None or any(known.items() <= told(inputs).items() for inputs in made_of)

    def _why_surely(self, node: Node, stage: Stage, names: Sequence[str]) -> str | None:
        """Return why a task must run whatever its unknown inputs will be, or None if that isn't certain."""
        before = self._history.before(names[0] if names else node.name)
        if before is None:
            return NEW
        if before.code != stage.code.digest:
            changed = self._changed_code(before, node, stage)
            return f"code changed: {listed(changed, 3)}" if changed else "code changed"
        return self._differs(node, before)

    def _elements(self, node: Node) -> list[str] | None:
        """Return the names of a mapped task's elements (None: not known yet), or `[node.name]` for a single task."""
        if not node.over:
            return [node.name]
        args = dict(node.args)
        if any(self._fates[out.task].out is None for name in node.over for out in outs(args[name])):
            return None
        return labels(node.name, columns(node.name, args, node.over, self._output))

    def _differs(self, node: Node, before: Before) -> str | None:
        """Return a text about the first known input that has changed since `before`, or None if none has changed."""
        then = told(before.inputs)
        for name, arg in node.args:
            if name not in then:
                return f"`{name}` is new"
            known = name not in node.over and all(self._fates[out.task].out is not None for out in outs(arg))
            if known and (now := identity(value(arg, self._output))) != then[name]:
                return told_change(change := Change(name, then[name], now), self._given(before, node, change))
        return None

    def _settle(
        self,
        node: Node,
        stage: Stage,
        decision: Decision,
        reason: str,
        *,
        out: Ref | None = None,
        key: str | None = None,
        width: int | None = 1,
        runs: int = 1,
        expected: Mapping[str, tuple[Ref, str]] = {},
    ) -> None:
        """Record the decision about a task, with its expected time and cost."""
        works = decision in WORKS
        needs = tuple(names_needed(node))
        is_open = decision == "skip_if_unchanged" or (works and self._is_open(node, stage))
        is_sure = not is_open and decision != "reuse_if_unchanged"
        if works and decision not in SKIPS and node.when is not None and self._fates[node.when.task].out is None:
            reason = f"if `{node.when.task}` says yes: {reason}"
        took = self._history.took(node.name, stage.name) if works else Took(0.0, 0.0, 0.0)
        seconds = None if took is None else took.last
        need, pool = stage.resources, self._pools.of(stage)
        cpu = need.cpu * need.nodes
        rounds = -(-runs // max(1, int(pool.cpu / cpu))) if runs > 1 else 1
        usd = (seconds or 0.0) * runs * pool.usd_per_hour * pool.share(need) / 3600
        self._low_usd += usd if is_sure else 0.0
        self._high_usd += usd
        if works:
            self._times.add(node.name, needs, took, rounds=rounds, cpu=runs * cpu, is_sure=is_sure)
        else:
            self._times.leave(node.name, needs)
        if works and decision not in SKIPS and out is None:
            expected = dict(self._as_before(node.name, expected))
        self._fates[node.name] = _Fate(decision, out, expected, is_open)
        self._tasks.append(
            PlannedTask(
                name=node.name,
                stage=stage.name,
                kind=stage.kind,
                decision=decision,
                reason=reason + stage.asks if works else reason,
                key=key,
                pool=pool.name if works else None,
                pool_reason=self._pools.reason(stage) if works else None,
                width=width if node.over or width != 1 else 1,
                expected_s=None if seconds is None else seconds * rounds,
                expected_usd=None if seconds is None and pool.usd_per_hour else usd if is_sure else (0.0, usd),
                needs=needs,
                notes=stage.code.notes if decision != "skip" else (),
            )
        )

    def _as_before(self, task: str, expected: Mapping[str, tuple[Ref, str]]) -> Iterator[tuple[str, tuple[Ref, str]]]:
        """Yield earlier runs, each with a task's expected output if the tasks before it have the same outputs as there.

        This is the stored output for the expected inputs. If there is none, it is the task's output in that run.
        """
        for run in self._history.runs():
            result = expected.get(run)
            if result is None and (ref := self._history.output(task, run)) is not None:
                result = ref, run
            if result is not None:
                yield run, result

    def _output(self, name: str) -> Ref:
        ref = self._fates[name].out
        assert ref is not None
        return ref


def _says_no(ref: Ref, path: tuple[int, ...]) -> bool:
    """Return whether the part of a gate's output `ref` at `path` is False. If there is no such part, return False."""
    try:
        return truth(follow(ref, path)) is False
    except Unmappable:
        return False
