"""What a newcomer was told and wasn't so, or wasn't told: digests that lead nowhere, names that are none, reasons."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
import time
from typing import NamedTuple

import pyarrow as pa

import headrace as hr
from headrace.spec.report import Fact, Report
from headrace.stages import prepare

time.sleep(SLOW)


class Parts(NamedTuple):
    number: int
    report: Report


@hr.stage
def small() -> Parts:
    return Parts(7, Report(title="A", facts=(Fact(name="b", value=1.0),)))


@hr.stage
def rows() -> pa.Table:
    return pa.table({"a": ["x", "y", *map(str, range(98))]})


@hr.stage
def long() -> int:
    time.sleep(60)
    return 1


@hr.pipeline
def parts() -> None:
    small()


@hr.pipeline
def cleaned() -> None:
    out = prepare.clean(rows(), [prepare.Numbers(columns="a")])
    prepare.apply(rows(), out.preparation)


@hr.pipeline
def slow() -> None:
    long()
"""


@pytest.fixture
def flows(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES.replace("SLOW", "0"))
    return empty


def test_each_digest_that_is_shown_leads_to_its_artifact(flows: Shell) -> None:
    run = flows("run", "parts", "--json").json
    (task,) = run["tasks"]
    assert [output["name"] for output in task["outputs"]] == ["number", "report"]
    for output in task["outputs"]:
        got = flows("get", output["digest"][:12])
        assert got.code == 0, got.err
    assert (flows.folder / f"{task['outputs'][0]['digest'][:12]}.json").read_text().strip() == "7"


def test_a_pipeline_that_there_is_not_is_refused_detached_too_however_long_the_imports_take(flows: Shell) -> None:
    flows.write("pipelines.py", PIPELINES.replace("SLOW", "4"))
    done = flows("run", "nope", "--detach")
    assert done.code == 2
    assert "there is no pipeline `nope`" in done.err
    assert flows("runs", "--json").json["runs"] == []


def test_a_run_warns_of_rows_that_cleaning_puts_aside_however_few_they_are(flows: Shell) -> None:
    done = flows("run", "cleaned")
    assert done.code == 0
    for task in ("clean", "apply"):
        assert f"warning: `{task}`: 2 of 100 rows (2%) are put aside, into `quarantine`" in done.err


def test_what_a_time_limit_ended_is_not_called_cancelled_by_somebody(flows: Shell) -> None:
    done = flows("run", "slow", "--timeout", "3s", "--json").json
    (task,) = done["tasks"]
    assert task["state"] == "cancelled"
    assert "3 s" in task["reason"]
    assert "the run was cancelled" not in task["reason"]


def test_settings_that_changed_are_not_said_to_be_left_as_they_were(flows: Shell) -> None:
    flows("run", "slow", "--timeout", "2s")
    flows.write("headrace.toml", "[run]\ntimeout = '1s'\n")
    resumed = flows("resume", "latest", "--timeout", "2s")
    assert "headrace.toml" not in resumed.err
