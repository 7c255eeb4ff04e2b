"""`explain` of runs that got new code, on a real project."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Shell
from tests.cli.test_code_arguments import edit

PIPELINES = """
from collections.abc import Callable

import headrace as hr


def base(n: int) -> int:
    return n + 1


@hr.stage
def one(n: int) -> int:
    return base(n)


@hr.stage
def call(function: Callable[[int], int], n: int) -> int:
    return function(n)


@hr.stage
def fit(x: int, depth: int) -> int:
    return x * depth


@hr.stage
def best(scores: list[int], called: int) -> int:
    raise ValueError("not yet")


@hr.pipeline
def flow() -> None:
    x = one(1)
    best(fit.map(x, depth=[1, 2]), call(base, 3))
"""


def told(project: Shell, run: str, task: str) -> Any:
    return project("explain", run, task, "--json").json


def test_a_task_that_new_code_runs_again_is_explained_like_one_of_a_new_run(project: Shell) -> None:
    (project.folder / "pipelines.py").write_text(PIPELINES)
    run = project("run", "flow", "--json").json["run"]
    edit(project.folder, "n + 1", "n + 2")
    planned = {task["name"]: task["reason"] for task in project("plan", "flow", "--json").json["tasks"]}
    assert project("resume", run, "--new-code").code == 1
    again = {task: told(project, run, task) for task in ("one", "call", "fit[depth=1]", "best")}
    assert [again[task]["reason"] for task in ("one", "call")] == [planned[task] for task in ("one", "call")]
    assert {again[task]["against"] for task in ("one", "call", "fit[depth=1]")} == {run}
    lines = ["@@ -1,2 +1,2 @@", " def base(n: int) -> int:", "-    return n + 1", "+    return n + 2"]
    assert [(each["name"], each["diff"]) for each in again["one"]["differences"]] == [("pipelines.base", lines)]
    assert [each["name"] for each in again["call"]["differences"]] == ["function", "pipelines.base"]
    assert again["call"]["differences"][1]["diff"] == lines
    [x] = again["fit[depth=1]"]["differences"]
    assert (x["name"], x["before"], x["after"]) == ("x", "2 (from `one`)", "3 (from `one`)")
    assert again["fit[depth=1]"]["reason"] == "`x` changed"
    assert again["best"]["against"] is None  # it has never succeeded
    assert "compared with this run before it got new code: 1 difference" in project("explain", run, "one").out


def test_new_code_is_compared_with_the_last_code_with_which_the_task_succeeded(project: Shell) -> None:
    (project.folder / "pipelines.py").write_text(PIPELINES)
    run = project("run", "flow", "--json").json["run"]
    for before, after in (("n + 1", "n // 0"), ("n // 0", "n + 3")):
        edit(project.folder, before, after)
        assert project("resume", run, "--new-code").code == 1
    one = told(project, run, "one")
    assert (one["reason"], one["against"]) == ("code changed: `pipelines.base`", run)
    assert one["differences"][0]["diff"][-2:] == ["-    return n + 1", "+    return n + 3"]
    edit(project.folder, "depth=[1, 2]", "depth=[1, 3]")
    assert project("resume", run, "--new-code").code == 1
    assert (told(project, run, "one")["decision"], told(project, run, "fit[depth=1]")["decision"]) == ("reuse", "reuse")
    assert told(project, run, "fit[depth=3]")["against"] is None
