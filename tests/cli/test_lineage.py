"""`headrace lineage`: what a task's output came from, and what came of it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import headrace as hr


class Checked(NamedTuple):
    table: list[int]
    passed: bool


class Judged(NamedTuple):
    score: float
    passed: bool


@hr.stage
def check(n: int) -> Checked:
    return Checked(list(range(n)), True)


@hr.stage
def learn(table: list[int]) -> float:
    return sum(table) / 7


@hr.stage
def judge(model: float) -> Judged:
    return Judged(model * 2, True)


@hr.pipeline
def flow(n: int = 5) -> None:
    judge(learn(check(n).table))
"""


def test_equal_verdicts_make_no_edges_and_a_reused_result_stands_once(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    runs = [project("run", "flow", "--json").json["run"] for _ in range(3)]
    assert project("run", "flow", "--n", "6").code == 0
    trail = project("lineage", runs[-1], "check", "--json").json
    assert [(step["task"], step["run"], step["again"]) for step in trail["down"]] == [
        ("learn", runs[0], [runs[2], runs[1]]),
        ("judge", runs[0], [runs[2], runs[1]]),
    ]
    shown = project("lineage", "latest", "judge").out
    assert shown.count("learn ") == 1
    assert "needed by: nothing" in shown
    assert "by 2 runs" in project("lineage", runs[0], "check").out


def test_a_part_of_an_output_has_a_trail_of_its_own_and_is_named_where_it_differs(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    project("run", "flow")
    trail = project("lineage", "latest", "check.table", "--json").json
    assert [step["task"] for step in trail["made"]] == ["check"]
    assert [step["task"] for step in trail["down"]] == ["learn", "judge"]
    assert project("lineage", "latest", "check.passed", "--json").json["down"] == []
    assert "has no part `pased`" in project("lineage", "latest", "check.pased").err
    project.write(
        "pipelines.py", PIPELINES.replace("list[int]) -> float", "object) -> float").replace("n).table", "n).passed")
    )
    project.write("pipelines.py", (project.folder / "pipelines.py").read_text().replace("sum(table) / 7", "0.5"))
    assert project("run", "flow").code == 0
    assert "[0,1,2,3,4] (from `check.table`) -> true (from `check.passed`)" in project("explain", "latest", "learn").out


@pytest.mark.parametrize("value", ["sum(table) / 7", "str(table) * 500"], ids=["in a row", "in the store"])
def test_what_a_run_made_before_it_got_new_code_has_a_trail_and_can_be_had(project: Shell, value: str) -> None:
    def digest_of(task: str) -> str:
        shown = project("show", "latest", "--json").json
        return next(str(each["outputs"][0]["digest"]) for each in shown["tasks"] if each["name"] == task)

    def steps(*words: str) -> dict[str, list[tuple[str, bool]]]:
        trail = project("lineage", *words, "--json").json
        return {side: [(step["task"], step["earlier"]) for step in trail[side]] for side in trail}

    code = PIPELINES.replace("-> float", "-> object").replace("model: float", "model: object")
    code = code.replace("sum(table) / 7", value).replace("model * 2", "len(str(model))")
    project.write("pipelines.py", code)
    assert project("run", "flow").code == 0
    old = digest_of("learn")
    project.write("pipelines.py", code.replace(value, f"{value} * 2"))
    assert project("resume", "latest", "--new-code").code == 0
    assert digest_of("learn") != old

    assert steps(old[:12]) == {"made": [("learn", True)], "up": [("check", False)], "down": [("judge", True)]}
    both = [("learn", False), ("learn", True), ("judge", False), ("judge", True)]
    assert sorted(steps("latest", "check")["down"]) == sorted(both)
    assert "(earlier code)" in project("lineage", old).out
    assert project("get", old[:12]).code == 0
    assert project("register", old[:12], "--model", "m", "--force", "--why", "a test").code == 0


def test_a_reused_result_comes_from_the_tasks_of_the_run_that_made_it(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    first = project("run", "flow", "--json").json["run"]
    again = project("run", "flow", "--force", "check", "--json").json
    assert [task["state"] for task in again["tasks"]] == ["succeeded", "reused", "reused"]
    assert project("register", "latest", "learn", "--dataset", "d").code == 0
    for words in (("latest", "learn"), (first, "learn"), ("dataset:d:1",), ("latest", "judge")):
        (*_, above) = project("lineage", *words, "--json").json["up"]
        assert (above["task"], above["run"]) == ("check", first), words
    assert project("run", "flow", "--force", "judge").code == 0  # made anew, of a result that was reused
    trail = project("lineage", "latest", "judge", "--json").json
    assert [(step["task"], step["origin"] or step["run"]) for step in trail["up"]] == [
        ("learn", first),
        ("check", first),
    ]
