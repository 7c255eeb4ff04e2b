"""The object that `--json` prints of a run: the same from each command, with what people are told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import headrace as hr
from headrace.stages import evaluate
from headrace.spec.report import Fact, Report


class Parts(NamedTuple):
    train: list[int]
    test: list[int]


@hr.stage
def split(n: int) -> Parts:
    hr.log("warning", f"{n} rows are few")
    return Parts(list(range(n)), [n])


@hr.stage
def pair(n: int) -> tuple[int, str]:
    return n, str(n)


@hr.stage
def judge(parts: list[int]) -> Report:
    return Report(title="Judged", facts=(Fact(name="AUC", value=0.7, low=0.6, high=0.8),))


@hr.stage
def publish(parts: list[int]) -> int:
    return len(parts)


@hr.pipeline
def flow(n: int = 3) -> None:
    parts = split(n)
    pair(n)
    publish(parts.train, when=evaluate.gate(judge(parts.test), "AUC >= 0.75 with 95% confidence"))
"""


@pytest.fixture
def ran(empty: Shell) -> tuple[Shell, dict[str, Any]]:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    return empty, empty("run", "flow", "--json").json


def task(run: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in run["tasks"] if each["name"] == name]
    return found


def test_outputs_are_named_as_they_are_asked_for(ran: tuple[Shell, dict[str, Any]], tmp_path: Path) -> None:
    shell, run = ran
    assert [output["name"] for output in task(run, "split")["outputs"]] == ["train", "test"]
    assert [output["name"] for output in task(run, "pair")["outputs"]] == ["0", "1"]
    assert [output["name"] for output in task(run, "publish")["outputs"]] == []
    assert shell("get", run["run"], "split.train", "--to", str(tmp_path / "train.json")).code == 0


def test_warnings_stand_in_the_object(ran: tuple[Shell, dict[str, Any]]) -> None:
    assert ran[1]["warnings"] == [{"task": "split", "text": "3 rows are few"}]


def test_a_gate_that_said_no_is_named_with_its_rule_and_numbers(ran: tuple[Shell, dict[str, Any]]) -> None:
    (gate,) = ran[1]["gates"]
    assert (gate["gate"], gate["tasks"]) == ("gate", ["publish"])
    (rule,) = gate["rules"]
    assert rule["rule"] == "AUC >= 0.75 with 95% confidence"
    assert rule["holds"] is not True
    assert "0.7" in rule["why"]


UNAWAITED = """
import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.stages import evaluate


@hr.stage(kind="ingest")
def scored(seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    truth = random.random(200) < 0.5
    return pa.table({"hit": truth, "score": np.clip(0.3 * truth + 0.7 * random.random(200), 0, 1)})


@hr.stage(kind="evaluate")
def is_odd(table: pa.Table) -> bool:
    return table.num_rows % 2 == 1


@hr.pipeline
def flow() -> None:
    table = scored()
    is_odd(table)
    found = evaluate.classification(
        None, table, target="hit", scores="score", gates="AUC >= 0.5 and AUC >= 0.99", resamples=200
    )
    evaluate.gate(found.report, "AUC >= 0.98")
    evaluate.gate(found.report, "AUC >= 0.5")
"""


def test_a_gate_that_failed_is_named_with_its_rule_whether_or_not_a_task_waits_for_it(empty: Shell) -> None:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", UNAWAITED)
    done = empty("run", "flow")
    assert done.code == 0, done.err
    shown = empty("show", "latest").out
    rules = {"classification": "fails: AUC >= 0.99", "gate": "fails: AUC >= 0.98"}
    assert "`classification`, `gate` said no: `headrace show" in done.err
    for gate, rule in rules.items():
        assert f"`{gate}` says no; no task waited for it\n  {rule}\n    AUC is 0." in shown
    gates = empty("show", "latest", "--json").json["gates"]
    assert [(each["gate"], each["tasks"], [rule["rule"] for rule in each["rules"]]) for each in gates] == [
        ("classification", [], ["AUC >= 0.99"]),
        ("gate", [], ["AUC >= 0.98"]),
    ]
    assert empty("show", "latest", "--to", "page.html").code == 0
    assert "no task waited for it" in (empty.folder / "page.html").read_text()


def test_run_show_and_resume_print_one_object(ran: tuple[Shell, dict[str, Any]]) -> None:
    shell, run = ran
    assert shell("show", run["run"], "--json").json == run
    assert shell("resume", run["run"], "--json").json == run


SWEEP = """
from typing import NamedTuple

import headrace as hr
from headrace.spec.report import Report


class Found(NamedTuple):
    passed: bool
    report: Report


@hr.stage(kind="evaluate")
def judge(depth: int) -> Found:
    return Found(False, Report(title="Judged", passed=False))


@hr.stage
def use(depth: int) -> int:
    return depth


@hr.pipeline
def flow() -> None:
    judge.map(depth=list(range(12)))


@hr.pipeline
def many() -> None:
    for depth in range(10):
        use(depth, when=judge(depth).passed)
    judge.map(depth=list(range(12)))
"""


def test_gates_for_which_no_task_waited_share_a_line_at_the_end_of_a_run(empty: Shell) -> None:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", SWEEP)
    done = empty("run", "flow")
    assert done.code == 0, done.err
    (hint,) = [line for line in done.err.splitlines() if "said no" in line]
    assert "`judge[depth=0]`, `judge[depth=1]`, `judge[depth=2]` and 9 more said no: `headrace show " in hint
    assert empty("show", "latest").out.count("no task waited for it") == 12
    done = empty("run", "many")
    lines = [line for line in done.err.splitlines() if "said no" in line]
    assert "`judge` said no to `use`: " in lines[0]
    assert "12 more that said no: " in lines[10]
