"""Where artifacts come from, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.errors import NotFoundError
from headrace.ledger.database.address import Address
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.lineage import Lineage
from headrace.ledger.views.run_graph import RunGraph
from headrace.ledger.views.views import Views
from headrace.run.events import Event, Renewed, Reused, Traced, encode_event
from headrace.run.ports import TaskRow
from headrace.run.story import Story
from headrace.spec.artifact import Ref, gather
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg, Const, Many, Node, Out, Secret
from headrace.spec.stage import Stage
from tests.ledger.samples import blob, digest, first, open_ledger, task_row

MONTH = Ref(digest=digest("3"), size=1, codec="json", type="builtins.int", inline=b"3")
RAW, TABLE, REPORT = blob("raw"), blob("table"), blob("report")
MODELS = tuple(blob(f"model {depth}") for depth in (4, 6))
ALL = Ref(digest=digest("all"), size=14, codec="parts", type="builtins.list", parts=MODELS)


def node(name: str, **args: Arg) -> Node:
    stage = name.partition("[")[0]
    return Node(name=name, stage=f"pipelines:{stage}", args=tuple(args.items()))


NODES = (
    node("load", month=Const(MONTH), password=Secret("DB")),
    node("features", raw=Out("load")),
    node("fit", table=Out("features"), depth=Const(blob("depths"))),
    node("report", models=Many("list", (Out("fit", (0,)), Out("fit", (1,)))), table=Out("features")),
    node("apart", month=Const(MONTH)),
)
NAMES = {"load": RAW, "features": TABLE, "fit": REPORT}
ROWS = [
    task_row("load", out=RAW),
    task_row("features", ordinal=1, out=TABLE),
    task_row("fit", ordinal=2, out=ALL),
    task_row("fit[depth=4]", ordinal=3, out=MODELS[0], parent="fit"),
    task_row("fit[depth=6]", ordinal=4, out=MODELS[1], parent="fit"),
    task_row("report", ordinal=5, out=REPORT),
    task_row("apart", ordinal=6, out=blob("apart")),
]


def traced(*nodes: Node) -> Traced:
    names = dict.fromkeys(each.stage.partition(":")[2] for each in nodes)
    return Traced(tuple(Stage(name=name, function=f"pipelines:{name}") for name in names), nodes)


def store(ledger: Ledger, rows: list[TaskRow], *events: Event) -> str:
    kept = [RAW, TABLE, ALL, REPORT, blob("apart")]
    with ledger.open_run("flights") as run:
        run.commit(first([encode_event(event) for event in events], tasks=rows, kept=kept))
        return run.run


class Listing(Views):
    """Views that list the runs whose events are read."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.told: list[str | None] = []

    def story(self, run: str | None = None) -> Story:
        self.told.append(run)
        return super().story(run)


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


@pytest.fixture
def lineage(ledger: Ledger) -> Iterator[Lineage]:
    with Views(ledger.address) as views:
        yield Lineage(views)


def test_a_tasks_trail_goes_up_to_the_sources_and_down_to_what_used_it(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_task(None, "features")
    assert [step.task for step in trail.made] == ["features"]
    assert [step.task for step in trail.up] == ["load"]
    assert [step.task for step in trail.down] == ["fit", "report"]


def test_a_step_says_what_each_parameter_got(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    (load,) = lineage.of_task(None, "load").made
    assert [(need.param, need.text) for need in load.needs] == [("month", "3"), ("password", "secret `DB`")]
    (report,) = lineage.of_task(None, "report").made
    assert [(need.param, need.tasks) for need in report.needs] == [("models", ("fit",)), ("table", ("features",))]
    (fit,) = lineage.of_task(None, "fit").made
    assert fit.needs[1].text == "builtins.str, 6 bytes"


def test_an_element_of_a_map_came_from_what_its_mapped_task_needed(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_task(None, "fit[depth=6]")
    assert [step.task for step in trail.up] == ["features", "load"]
    assert [step.task for step in trail.down] == ["report"]


def test_an_artifact_is_found_by_the_beginning_of_its_digest(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_artifact(MODELS[1].digest[:12])
    assert [step.task for step in trail.made] == ["fit[depth=6]"]


def test_an_artifact_is_followed_over_the_runs_that_reused_it(ledger: Ledger, lineage: Lineage) -> None:
    one = store(ledger, ROWS, traced(*NODES))
    reused = [
        task_row("load", "reused", out=RAW),
        task_row("other", ordinal=1, out=blob("other")),
    ]
    two = store(
        ledger,
        reused,
        traced(NODES[0], node("other", raw=Out("load"))),
        Reused(task="load", key="k", out=RAW, run=one, why="same", inputs=b""),
    )
    trail = lineage.of_artifact(RAW.digest)
    assert [(step.run, step.origin, step.again) for step in trail.made] == [(one, None, (two,))]
    below = [(step.run, step.task) for step in trail.down]
    assert below == [(two, "other"), (one, "features"), (one, "fit"), (one, "report")]
    assert [(step.run, step.task) for step in lineage.of_task(two, "load").down] == below


def test_whichever_run_is_asked_a_result_stands_once_with_all_that_reused_it(ledger: Ledger, lineage: Lineage) -> None:
    nodes = node("load"), node("features", raw=Out("load"))

    def again(maker: str) -> str:
        rows = [task_row("load", "reused", out=RAW), task_row("features", "reused", ordinal=1, out=TABLE)]
        events = [Reused(task=row.name, key="k", out=RAW, run=maker, why="same", inputs=b"") for row in rows]
        return store(ledger, rows, traced(*nodes), *events)

    one = store(ledger, [task_row("load", out=RAW), task_row("features", ordinal=1, out=TABLE)], traced(*nodes))
    later = [again(one) for _ in range(4)]
    newest = tuple(reversed(later))
    for trail in (*(lineage.of_task(run, "load") for run in (one, *later)), lineage.of_artifact(RAW.digest)):
        assert [(step.run, step.origin, step.again) for step in trail.made] == [(one, None, newest)]
        assert [(step.run, step.task, step.again) for step in trail.down] == [(one, "features", newest)]


def test_a_result_has_the_same_number_of_reuses_whatever_is_asked_for(ledger: Ledger, lineage: Lineage) -> None:
    nodes = node("load"), node("features", raw=Out("load")), node("fit", table=Out("features"))
    one = store(
        ledger,
        [task_row("load", out=RAW), task_row("features", ordinal=1, out=TABLE), task_row("fit", ordinal=2, out=REPORT)],
        traced(*nodes),
    )
    # The first run reuses all three; in the second `load` gave other bytes, yet `features` the same; in the third
    # `load` alone was reused.
    shared = {name: Reused(task=name, key=f"key of {name}", out=RAW, run=one, why="same", inputs=b"") for name in NAMES}
    all_three = [task_row(name, "reused", ordinal=n, out=out) for n, (name, out) in enumerate(NAMES.items())]
    two = store(ledger, all_three, traced(*nodes), *shared.values())
    new_load = [task_row("load", key="new", out=blob("new")), *all_three[1:]]
    three = store(ledger, new_load, traced(*nodes), shared["features"], shared["fit"])
    new_features = [
        all_three[0],
        task_row("features", key="new", ordinal=1, out=blob("new")),
        task_row("fit", key="new", ordinal=2, out=blob("model")),
    ]
    four = store(ledger, new_features, traced(*nodes), shared["load"])
    wanted = {"load": (four, two), "features": (three, two), "fit": (three, two)}
    for asked in NAMES:
        for run in (one, two):
            trail = lineage.of_task(run, asked)
            counted = {
                step.task: {step.origin or step.run, step.run, *step.again}
                for step in (*trail.made, *trail.up, *trail.down)
                if step.key != "new"
            }
            assert counted == {task: {one, *runs} for task, runs in wanted.items()}, (run, asked)


def test_a_result_of_a_forgotten_run_is_counted_by_the_others(ledger: Ledger, lineage: Lineage) -> None:
    reused = Reused(task="load", key="k", out=RAW, run="20260101-flights-0000", why="same", inputs=b"")
    runs = [store(ledger, [task_row("load", "reused", out=RAW)], traced(node("load")), reused) for _ in range(3)]
    for run in runs:
        (step,) = lineage.of_task(run, "load").made
        others = tuple(each for each in reversed(runs) if each != run)
        assert (step.run, step.origin, step.again) == (run, "20260101-flights-0000", others)


def test_maps_of_other_elements_are_not_joined(ledger: Ledger, lineage: Lineage) -> None:
    prepared = Ref(digest=digest("prepared"), size=3, codec="parts", type="builtins.list", parts=(RAW,))

    def rows(state: str, last: str) -> list[TaskRow]:
        return [
            task_row("prep", state, out=prepared, key=None),
            task_row("prep[#0]", state, ordinal=1, out=RAW, parent="prep"),
            task_row("fit", state, ordinal=2, out=ALL, key=None),
            task_row("fit[depth=4]", state, ordinal=3, out=MODELS[0], parent="fit"),
            task_row("fit[depth=6]", state, ordinal=4, out=MODELS[1], parent="fit"),
            task_row(last, ordinal=5, out=blob(last)),
        ]

    mapped = node("prep", month=Const(MONTH)), node("fit", table=Out("prep"))
    one = store(ledger, rows("succeeded", "report"), traced(*mapped, node("report", models=Out("fit"))))
    reused = [
        Reused(task=row.name, key=row.key, out=ALL, run=one, why="same", inputs=b"")
        for row in rows("reused", "other")
        if row.state == "reused" and row.key is not None
    ]
    two = store(ledger, rows("reused", "other"), traced(*mapped, node("other", table=Out("prep"))), *reused)
    assert [(step.run, step.task) for step in lineage.of_task(one, "fit").down] == [(one, "report")]
    below = {(step.run, step.task) for step in lineage.of_task(one, "prep").down}
    assert below == {(one, "fit"), (one, "report"), (two, "other")}


def test_equal_small_values_join_no_tasks(ledger: Ledger, lineage: Lineage) -> None:
    yes = Ref(digest=digest("true"), size=4, codec="json", type="builtins.bool", inline=b"true")
    checked, judged = gather((TABLE, yes), type="pipelines.Checked"), gather((REPORT, yes), type="pipelines.Judged")
    rows = [
        task_row("check", out=checked),
        task_row("learn", ordinal=1, out=MODELS[0]),
        task_row("judge", ordinal=2, out=judged),
    ]
    nodes = node("check"), node("learn", table=Out("check", (0,))), node("judge", model=Out("learn"))
    store(
        ledger,
        [task_row("flag", out=yes), task_row("use", ordinal=1)],
        traced(node("flag"), node("use", x=Out("flag"))),
    )
    store(ledger, rows, traced(*nodes))
    for task, up, down in (
        ("check", [], ["learn", "judge"]),
        ("learn", ["check"], ["judge"]),
        ("judge", ["learn", "check"], []),
    ):
        trail = lineage.of_task(None, task)
        assert [step.task for step in trail.up] == up
        assert [step.task for step in trail.down] == down


def test_another_run_is_joined_by_what_its_pipeline_was_given(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, [task_row("load", out=RAW)], traced(node("load")))
    before = gather((MONTH, RAW), codec="record", type="headrace.define.version.Version", names=("version", "value"))
    other = blob("other")
    later = traced(node("against", before=Const(before)), node("say", it=Out("against")))
    two = store(ledger, [task_row("against", out=other), task_row("say", ordinal=1)], later)
    trail = lineage.of_artifact(RAW.digest)
    assert [(step.run, step.task) for step in trail.down] == [(two, "against"), (two, "say")]


def test_what_passes_an_artifact_on_has_not_made_it(ledger: Ledger, lineage: Lineage) -> None:
    rows = [
        task_row("load", out=TABLE),
        task_row("check", ordinal=1, out=gather((TABLE, MONTH))),
        task_row("fit", ordinal=2),
    ]
    nodes = (
        node("load"),
        node("check", it=Out("load")),
        node("fit", table=Out("check", (0,))),
        node("say", n=Out("check", (1,))),
    )
    store(ledger, [*rows, task_row("say", ordinal=3)], traced(*nodes))
    trail = lineage.of_artifact(TABLE.digest)
    assert [step.task for step in trail.made] == ["load"]
    assert [step.task for step in trail.down] == ["check", "fit", "say"]


def test_what_another_run_skipped_has_needed_nothing(ledger: Ledger, lineage: Lineage) -> None:
    nodes = node("load"), node("fit", it=Out("load"))
    one = store(ledger, [task_row("load", out=RAW), task_row("fit", "skipped", ordinal=1, attempts=0)], traced(*nodes))
    reused = Reused(task="load", key="k", out=RAW, run=one, why="same", inputs=b"")
    rows = [task_row("load", "reused", out=RAW), task_row("fit", "skipped", ordinal=1, attempts=0)]
    two = store(ledger, rows, traced(*nodes), reused)
    for run in (one, two):
        assert [(step.run, step.task) for step in lineage.of_task(run, "load").down] == [(run, "fit")]


def test_equal_tasks_of_one_run_come_from_where_the_first_was_reused_from(ledger: Ledger, lineage: Lineage) -> None:
    one = store(ledger, [task_row("load", out=RAW)], traced(node("load")))
    rows = [task_row("load", "reused", out=RAW), task_row("load[1]", "reused", ordinal=1, out=RAW)]
    first = Reused(task="load", key="k", out=RAW, run=one, why="same", inputs=b"")
    second = Reused(task="load[1]", key="k", out=RAW, run="", why="same", inputs=b"")
    store(ledger, rows, traced(node("load"), node("load[1]")), first, second)
    assert lineage.of_task(None, "load[1]").made[0].origin == one


def test_only_the_latest_trace_of_a_run_counts(ledger: Ledger, lineage: Lineage) -> None:
    old = traced(node("load"), node("features", raw=Out("load")))
    new = traced(node("load"), node("features"))
    store(ledger, ROWS[:2], old, Renewed(Bundle(digest="b", size=1, nonce="n"), 1.0), new)
    assert lineage.of_task(None, "features").up == ()


def test_a_long_chain_is_walked_without_recursion(ledger: Ledger, lineage: Lineage) -> None:
    names = [f"t[{i}]" for i in range(5000)]
    nodes = [node(name, **({"x": Out(names[i - 1])} if i else {})) for i, name in enumerate(names)]
    store(ledger, [task_row(name, ordinal=i, out=blob(name)) for i, name in enumerate(names)], traced(*nodes))
    assert len(lineage.of_task(None, names[-1]).up) == 4999
    assert len(lineage.of_task(None, names[0]).down) == 4999


def test_tasks_that_were_reused_under_other_names_are_found_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 200

    def grown(first: int) -> tuple[list[TaskRow], Traced]:
        names = [f"t[{i}]" for i in range(many)]
        rows = [
            task_row(
                name, "reused" if first else "succeeded", ordinal=i, key=f"k{i + first}", out=blob(f"t{i + first}")
            )
            for i, name in enumerate(names)
        ]
        whole = node("whole", parts=Many("list", tuple(Out(name) for name in names)))
        return [*rows, task_row("whole", ordinal=many, out=TABLE)], traced(*map(node, names), whole)

    rows, trace = grown(1)
    made, _ = grown(0)
    one = store(ledger, [*made, task_row(f"t[{many}]", ordinal=many + 1, key=f"k{many}", out=blob("last"))], trace)
    again = [Reused(task=row.name, key=row.key or "", out=RAW, run=one, why="same", inputs=b"") for row in rows[:many]]
    two = store(ledger, rows, trace, *again)

    asked: list[str] = []
    result = RunGraph.result
    monkeypatch.setattr(RunGraph, "result", lambda run, name: (asked.append(name), result(run, name))[1])
    with Listing(ledger.address) as views:
        up = Lineage(views).of_task(two, "whole").up
    assert [(step.run, step.task) for step in up] == [(one, f"t[{i + 1}]") for i in range(many)]
    assert len(asked) < 10 * many
    assert len(views.told) == len(set(views.told))


def test_a_forgotten_run_is_not_looked_up_for_each_task_that_reused_its_results(ledger: Ledger) -> None:
    names, gone = [f"t[{i}]" for i in range(50)], "20260101-flights-0000"
    rows = [task_row(name, "reused", ordinal=i, key=name, out=blob(name)) for i, name in enumerate(names)]
    reused = [Reused(task=name, key=name, out=RAW, run=gone, why="same", inputs=b"") for name in names]
    whole = node("whole", parts=Many("list", tuple(Out(name) for name in names)))
    run = store(ledger, [*rows, task_row("whole", ordinal=50, out=TABLE)], traced(*map(node, names), whole), *reused)
    with Listing(ledger.address) as views:
        assert len(Lineage(views).of_task(run, "whole").up) == 50
    assert views.told.count(gone) <= 2


def test_an_artifact_that_no_task_gave_is_an_error(ledger: Ledger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    with pytest.raises(NotFoundError, match="no task produced an artifact `ffff`"):
        lineage.of_artifact("ffff")


def test_events_are_searched_only_for_an_artifact_whose_runs_are_not_known(ledger: Ledger) -> None:
    searched = []

    class Searching(Views):
        def runs_telling_of(self, digest: str) -> Iterator[int]:
            searched.append(digest)
            return super().runs_telling_of(digest)

    store(ledger, ROWS, traced(*NODES))
    with Searching(ledger.address) as views:
        for wanted, runs in (("ffff", ()), ("eeee", None)):
            with pytest.raises(NotFoundError):
                Lineage(views).of_artifact(wanted, runs=runs)
    assert searched == ["eeee"]
