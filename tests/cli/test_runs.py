"""`headrace runs --sort`: runs in the order of a metric."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

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
    assert "no task gave a number" in none.err
    assert runs


def test_a_pipeline_without_runs_is_named(project: Shell) -> None:
    done = project("runs", "--pipeline", "nosuch")
    assert (done.code, done.err) == (0, "there is no run of pipeline `nosuch` yet\n")
