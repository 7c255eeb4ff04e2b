"""What a plan reads of a ledger, which may be far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.ledger.views.query import Query
from headrace.ledger.views.rows import RunView
from headrace.operate import plan
from headrace.plan.times import Beside
from headrace.project import project
from headrace.run.ports import TaskRow
from headrace.spec.plan import Plan, PlannedTask
from headrace.spec.policy import Policy
from tests.cli.conftest import Shell

PIPELINES = """
import headrace as hr


@hr.stage(cache=False)
def step(n: int) -> int:
    return n + 1


@hr.pipeline
def flow(length: int) -> None:
    last = 0
    for _ in range(length):
        last = step(last)
"""


def _counted(before: Callable[..., Any], reads: list[str]) -> Callable[..., Any]:
    def asked(query: Query, *words: Any) -> Any:
        reads.append(before.__name__)
        return before(query, *words)

    return asked


def test_a_plan_reads_no_more_of_the_ledger_for_more_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    monkeypatch.chdir(tmp_path)
    reads: list[str] = []
    for name in ("read", "all"):
        monkeypatch.setattr(Query, name, _counted(getattr(Query, name), reads))
    counts = []
    for length in ("2", "9"):
        assert shell("run", "flow", "--length", length).code == 0
        reads.clear()
        plan.plan(project.load(), "pipelines:flow", {"length": length}, Policy())
        counts.append(len(reads))
    assert counts[0]
    assert counts[1] - counts[0] <= 3, "a run more, which is read whole"


def test_the_time_to_load_and_save_is_no_part_of_what_a_run_takes_beside_its_tasks() -> None:
    run = RunView(
        run="run-1", pipeline="flow", state="succeeded", created=0.0, seconds=10.0, usd=0.0, params={}, why=""
    )
    row = TaskRow(
        ordinal=0,
        name="step",
        stage="step",
        kind="prepare",
        state="succeeded",
        reason="",
        attempts=1,
        started=2.0,
        load_s=3.0,
        seconds=1.0,
        save_s=2.0,
    )
    assert list(plan.beside([run], lambda _: [row])) == [Beside(frozenset({"step"}), 4.0)]


@pytest.mark.parametrize(
    ("usd", "told"),
    [((0.52, 0.52), ["expected to cost $0.52"]), ((0.00027, 0.025), ["expected to cost $0.00027 to $0.025"])],
)
def test_the_least_that_a_plan_costs_is_told_once(usd: tuple[float, float], told: list[str]) -> None:
    found = Plan(pipeline="p", tasks=(), expected_s=None, expected_usd=usd, bound_usd=usd[0], gap=0.0)
    assert plan.sums(found) == told


def test_a_plan_s_cost_names_the_tasks_whose_cost_is_not_in_it() -> None:
    tasks = [
        PlannedTask(name=name, stage=name, kind="train", decision="run", reason="new", expected_usd=usd)
        for name, usd in (("load", 0.5), ("fit", None), ("old", 0.0), ("judge", None))
    ]
    for some, told in ((tasks[:3], "`fit`"), (tasks, "`fit`, `judge`")):
        found = Plan(pipeline="p", tasks=tuple(some), expected_s=None, expected_usd=(0.5, 0.5), bound_usd=0.5, gap=0.0)
        assert plan.sums(found) == [f"expected to cost $0.50, without the unknown cost of {told}"]
