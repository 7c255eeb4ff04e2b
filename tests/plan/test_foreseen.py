"""What a plan says of tasks behind a source that changes holds in each run that finds what an earlier one found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.plan.keys import key_of
from headrace.plan.planner import Planner
from headrace.plan.pools import PlannedPools
from headrace.plan.resolve import value
from headrace.plan.reuse import Before
from headrace.plan.times import Took
from headrace.spec.artifact import Ref, gather
from headrace.spec.fleet import Pool
from headrace.spec.graph import Arg, Const, Out
from headrace.spec.policy import Policy
from headrace.testing.graphs import Sketch, inline, number

SOURCES = [gather([number(item) for item in items]) for items in ((1, 2), (2, 3), (9,))]
BAD = SOURCES[2]
"""`total` fails on this one."""


def flow(k: int) -> Sketch:
    sketch = Sketch()
    sketch.declare("rows", cache="never")
    rows = sketch.node("rows")
    sketch.node("each", over=["x"], x=rows, k=Const(number(k)))
    sketch.node("total", parts=Out("each"), rows=rows)
    sketch.node("last", x=Out("total"))
    return sketch


class Lived:
    """Earlier runs of the flow, each lived through as a run does it (`plan.history.History`)."""

    def __init__(self) -> None:
        self._there: dict[str, tuple[Ref, str]] = {}
        self._gave: dict[str, dict[str, Ref]] = {}
        self._before: dict[str, Before] = {}
        self._made: list[tuple[str, bytes]] = []

    def live(self, source: Ref, k: int, *, is_kept: bool = True) -> Mapping[str, str]:
        """Run the flow with what its source gives, and return the state of each task that wasn't skipped."""
        run = f"run-{len(self._gave)}"
        outs, states = {"rows": source}, {"rows": "succeeded"}
        there, before, made_of = dict(self._there), dict(self._before), list(self._made)

        def task(name: str, stage: str, inputs: tuple[tuple[str, Arg], ...]) -> Ref | None:
            key, told = key_of(sketch.stages[stage], inputs, None)
            before[name] = Before(run, key, sketch.stages[stage].code.digest, told)
            states[name] = "reused" if key in there else "succeeded"
            if key not in there and stage == "total" and source is BAD:
                states[name] = "failed"
                return None
            made_of.append((name, told))
            return there.setdefault(key, (inline(f'"{key}"', "builtins.str"), run))[0]

        sketch = flow(k)
        parts = [
            task(f"each[x={(x.inline or b'').decode()}]", "each", (("x", Const(x)), ("k", Const(number(k)))))
            for x in source.parts or ()
        ]
        made = [states[name] for name in states if name.startswith("each[")]
        states["each"] = "reused" if made and set(made) == {"reused"} else "succeeded"
        outs["each"] = gather([part for part in parts if part is not None])
        for node in sketch.nodes[2:]:
            inputs = tuple((name, value(arg, outs.__getitem__)) for name, arg in node.args)
            out = task(node.name, node.name, inputs)
            if out is None:
                break
            outs[node.name] = out
        if is_kept:
            self._there, self._before, self._made, self._gave[run] = there, before, made_of, outs
        return states

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        return {key: self._there[key] for key in keys if key in self._there}

    def why_gone(self, key: str) -> str | None:
        return None

    def runs(self) -> Sequence[str]:
        return [*reversed(self._gave)][:5]

    def before(self, task: str) -> Before | None:
        return self._before.get(task)

    def output(self, task: str, run: str) -> Ref | None:
        return self._gave[run].get(task)

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        return [inputs for name, inputs in self._made if name.startswith(f"{task}[" if is_map else task)]

    def took(self, task: str, stage: str) -> Took | None:
        return Took(1.0, 1.0, 1.0)

    def width(self, task: str) -> int | None:
        return 2


@example([(SOURCES[0], 1), *[(SOURCES[1], 2)] * 5], 1)
@example([(SOURCES[0], 1), *[(BAD, 1)] * 5], 1)
@given(st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(1, 2)), min_size=1, max_size=9), st.integers(1, 2))
def test_a_task_is_planned_to_be_reused_where_a_source_may_give_what_it_gave_in_any_earlier_run(
    past: list[tuple[Ref, int]], k: int
) -> None:
    history = Lived()
    for source, then in past:
        history.live(source, then)
    sketch = flow(k)
    stages = {each.function: each for each in sketch.stages.values()}
    pools = PlannedPools([Pool(name="here", cpu=1, memory_gib=1)], {}, {})
    planner = Planner(stages=stages, policy=Policy(), pools=pools, history=history, changed_code=lambda *_: ())
    plan = {task.name: task.decision for task in planner.plan("flow", sketch.nodes).tasks}
    futures = [history.live(source, k, is_kept=False) for source, _ in past]
    for name in ("each", "total", "last"):
        if any(states.get(name) == "reused" for states in futures):
            assert plan[name] == "reuse_if_unchanged"
    assert plan["rows"] == "run"
    assert (plan["each"] == "reuse_if_unchanged") == any(then == k for _, then in past)
