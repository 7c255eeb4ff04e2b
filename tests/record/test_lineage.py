"""Where artifacts come from, and what came of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import NotFoundError
from headrace.record.lineage import Lineage
from headrace.record.sqlite import SqliteLedger
from headrace.record.views import Views
from headrace.run.events import Event, Renewed, Reused, Traced, encode_event
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg, Const, Many, Node, Out, Secret
from headrace.spec.stage import Stage
from tests.record.samples import blob, digest, first, open_ledger, task_row

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


def store(ledger: SqliteLedger, rows: list[TaskRow], *events: Event) -> str:
    kept = [RAW, TABLE, ALL, REPORT, blob("apart")]
    with ledger.open_run("flights") as run:
        run.commit(first([encode_event(event) for event in events], tasks=rows, kept=kept))
        return run.run


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return open_ledger(tmp_path)


@pytest.fixture
def lineage(ledger: SqliteLedger) -> Lineage:
    return Lineage(Views(ledger.path))


def test_a_tasks_trail_goes_up_to_the_sources_and_down_to_what_used_it(ledger: SqliteLedger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_task(None, "features")
    assert [step.task for step in trail.made] == ["features"]
    assert [step.task for step in trail.up] == ["load"]
    assert [step.task for step in trail.down] == ["fit", "report"]


def test_a_step_says_what_each_parameter_got(ledger: SqliteLedger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    (load,) = lineage.of_task(None, "load").made
    assert [(need.param, need.text) for need in load.needs] == [("month", "3"), ("password", "secret `DB`")]
    (report,) = lineage.of_task(None, "report").made
    assert [(need.param, need.tasks) for need in report.needs] == [("models", ("fit",)), ("table", ("features",))]
    (fit,) = lineage.of_task(None, "fit").made
    assert fit.needs[1].text == "builtins.str, 6 bytes"


def test_an_element_of_a_map_came_from_what_its_mapped_task_needed(ledger: SqliteLedger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_task(None, "fit[depth=6]")
    assert [step.task for step in trail.up] == ["features", "load"]
    assert [step.task for step in trail.down] == ["report"]


def test_an_artifact_is_found_by_the_beginning_of_its_digest(ledger: SqliteLedger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    trail = lineage.of_artifact(MODELS[1].digest[:12])
    assert [step.task for step in trail.made] == ["fit[depth=6]"]


def test_an_artifact_is_followed_over_the_runs_that_reused_it(ledger: SqliteLedger, lineage: Lineage) -> None:
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
    assert [(step.run, step.origin) for step in trail.made] == [(two, one), (one, None)]
    below = [(step.run, step.task) for step in trail.down]
    assert below == [(two, "other"), (one, "features"), (one, "fit"), (one, "report")]
    assert [(step.run, step.task) for step in lineage.of_task(two, "load").down] == below


def test_only_the_latest_trace_of_a_run_counts(ledger: SqliteLedger, lineage: Lineage) -> None:
    old = traced(node("load"), node("features", raw=Out("load")))
    new = traced(node("load"), node("features"))
    store(ledger, ROWS[:2], old, Renewed(Bundle(digest="b", size=1, nonce="n"), 1.0), new)
    assert lineage.of_task(None, "features").up == ()


def test_a_long_chain_is_walked_without_recursion(ledger: SqliteLedger, lineage: Lineage) -> None:
    names = [f"t[{i}]" for i in range(5000)]
    nodes = [node(name, **({"x": Out(names[i - 1])} if i else {})) for i, name in enumerate(names)]
    store(ledger, [task_row(name, ordinal=i, out=blob(name)) for i, name in enumerate(names)], traced(*nodes))
    assert len(lineage.of_task(None, names[-1]).up) == 4999
    assert len(lineage.of_task(None, names[0]).down) == 4999


def test_an_artifact_that_no_task_gave_is_an_error(ledger: SqliteLedger, lineage: Lineage) -> None:
    store(ledger, ROWS, traced(*NODES))
    with pytest.raises(NotFoundError, match="no task gave an artifact `ffff`"):
        lineage.of_artifact("ffff")
