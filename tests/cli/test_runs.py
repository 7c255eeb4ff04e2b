"""`headrace runs --sort`: runs in the order of a metric."""

from __future__ import annotations

import pytest

from headrace.ledger.ledger import Ledger
from tests.cli.conftest import Shell
from tests.ledger.samples import first, run_row, task_row

PIPELINES = """
import headrace as hr


@hr.stage(kind="train")
def fit(*, depth: int) -> dict:
    return {"auc": depth / 10, "loss": float("nan") if depth == 9 else 1 - depth / 10}


@hr.pipeline
def flow(depth: int = 1) -> None:
    fit(depth=depth)


@hr.pipeline
def many() -> None:
    fit.map(depth=[2, 5, 3])


@hr.stage
def text() -> str:
    return "none"


@hr.pipeline
def without() -> None:
    text()
"""


@pytest.fixture
def runs(project: Shell) -> dict[str, str]:
    """The ids of runs by what they were."""
    project.write("pipelines.py", PIPELINES)
    found = {f"depth {depth}": ["flow", "--depth", str(depth)] for depth in (4, 1, 9)}
    found |= {"many": ["many"], "without": ["without"]}
    return {name: project("run", *words, "--json").json["run"] for name, words in found.items()}


def test_runs_stand_by_their_metric_and_those_without_it_last(project: Shell, runs: dict[str, str]) -> None:
    names = {run: name for name, run in runs.items()}

    def order(*words: str) -> list[str]:
        return [names[run["run"]] for run in project("runs", *words, "--json").json["runs"]]

    assert order("--sort", "auc") == ["depth 1", "depth 4", "many", "depth 9", "without"]
    assert order("--sort", "-auc") == ["depth 9", "many", "depth 4", "depth 1", "without"]
    assert order("--sort", "fit.loss") == ["depth 4", "depth 1", "without", "many", "depth 9"]
    assert order("--sort", "-auc", "--limit", "2") == ["depth 9", "many"]
    assert order("--sort", "-auc", "--pipeline", "flow") == ["depth 9", "depth 4", "depth 1"]


def test_the_metric_has_a_column_and_its_own_place_in_json(project: Shell, runs: dict[str, str]) -> None:
    shown = project("runs", "--sort", "-auc", "--limit", "2")
    assert shown.out.splitlines()[0].split()[:3] == ["run", "state", "auc"]
    assert "more runs: `headrace runs --limit 4 --sort -auc`" in shown.err
    some = project("runs", "--pipeline", "flow", "--limit", "1")
    assert "older runs: `headrace runs --limit 2 --pipeline flow`" in some.err
    first = project("runs", "--sort", "-auc", "--json").json["runs"][0]
    assert (first["run"], first["metric"]["value"], first["metric"]["better"]) == (runs["depth 9"], 0.9, "higher")


def test_a_metric_that_no_run_has_is_an_error_with_what_there_is(project: Shell, runs: dict[str, str]) -> None:
    wrong = project("runs", "--sort", "-AUC")
    assert (wrong.code, wrong.out) == (2, "")
    assert "there is no metric `AUC`" in wrong.err
    assert "did you mean `auc`" in wrong.err
    none = project("runs", "--sort", "auc", "--pipeline", "without")
    assert none.code == 2
    assert "no task returned or logged a number" in none.err
    assert runs


def test_a_pipeline_without_runs_is_named(project: Shell) -> None:
    done = project("runs", "--pipeline", "nosuch")
    assert (done.code, done.err) == (0, "there is no run of pipeline `nosuch` yet\n")


def test_a_task_that_the_pool_had_no_room_for_says_how_long_it_waited(project: Shell) -> None:
    rows = [task_row("load", queued_s=0.0), task_row("fit", ordinal=1, queued_s=12.5), task_row("old", ordinal=2)]
    with Ledger(project.folder / ".headrace" / "ledger.db") as ledger, ledger.open_run("flow") as run:
        run.commit(first([], run=run_row("succeeded", pipeline="flow"), tasks=rows))
    tasks = project("show", "--json").json["tasks"]
    assert {task["name"]: task["queued_s"] for task in tasks} == {"load": 0.0, "fit": 12.5, "old": None}
    head, load, fit, old = project("show", "--tasks").out.splitlines()[-4:]
    assert "queued" in head
    assert ["12.5 s" in line for line in (load, fit, old)] == [False, True, False]
    project("show", "--html", "--to", "page.html")
    assert "12.5 s" in (project.folder / "page.html").read_text(encoding="utf-8")
