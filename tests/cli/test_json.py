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


def test_run_show_and_resume_print_one_object(ran: tuple[Shell, dict[str, Any]]) -> None:
    shell, run = ran
    assert shell("show", run["run"], "--json").json == run
    assert shell("resume", run["run"], "--json").json == run
