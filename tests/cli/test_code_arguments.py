"""Functions, classes and partials as arguments of stages, on the real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from collections.abc import Callable
from functools import partial

import headrace as hr

RATE = 2


def rated(x: int) -> int:
    return x * RATE


def double(x: int) -> int:
    return rated(x)


class Net:
    SIZE = 5


@hr.stage
def apply(function: Callable[[int], int], x: int) -> int:
    return function(x)


@hr.stage
def sizes(kinds: list[type]) -> list[int]:
    return [kind.SIZE for kind in kinds]


@hr.pipeline
def code() -> None:
    apply(double, 4)
    apply(partial(max, 5), 4)
    sizes([Net])


@hr.pipeline
def anonymous() -> None:
    apply(lambda x: x, 4)
"""


@pytest.fixture
def coded(project: Shell) -> Shell:
    (project.folder / "pipelines.py").write_text(PIPELINES)
    return project


def states(project: Shell) -> dict[str, str]:
    return {task["name"]: task["state"] for task in project("run", "code", "--json").json["tasks"]}


def given(project: Shell, task: str) -> str:
    (project.folder / "given.json").unlink(missing_ok=True)
    assert project("get", "latest", task, "--to", "given.json").code == 0
    return (project.folder / "given.json").read_text().strip()


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "pipelines.py").read_text()
    assert before in text
    (folder / "pipelines.py").write_text(text.replace(before, after))


def test_an_argument_may_be_code_and_counts_by_what_it_reaches(coded: Shell) -> None:
    assert set(states(coded).values()) == {"succeeded"}
    assert (given(coded, "apply"), given(coded, "apply[1]")) == ("8", "5")
    assert set(states(coded).values()) == {"reused"}
    edit(coded.folder, "RATE = 2", "RATE = 3")
    assert states(coded) == {"apply": "succeeded", "apply[1]": "reused", "sizes": "reused"}
    edit(coded.folder, "SIZE = 5", "SIZE = 6")
    assert states(coded) == {"apply": "reused", "apply[1]": "reused", "sizes": "succeeded"}


def test_code_that_no_worker_can_import_is_refused(coded: Shell) -> None:
    done = coded("run", "anonymous")
    assert done.code == 2
    assert "argument `function` of `apply`" in done.err
    assert "no other process can import this function" in done.err
    assert "hint: define it at the top level of a module" in done.err


def test_the_code_of_an_argument_that_changed_is_named_and_its_lines_are_shown(coded: Shell) -> None:
    first = coded("run", "code", "--json").json["run"]
    edit(coded.folder, "return rated(x)", "return rated(x) + 1")
    edit(coded.folder, "RATE = 2", "RATE = 3")
    edit(coded.folder, "SIZE = 5", "SIZE = 6")
    why = "`function` changed: `pipelines.double`, `pipelines.RATE`"
    planned = coded("plan", "code", "--json").json["tasks"]
    assert [task["reason"] for task in planned if task["name"] == "apply"] == [why]
    second = coded("run", "code", "--json").json["run"]

    told = coded("explain", second, "apply", "--json").json
    assert told["reason"] == why
    given, function, constant = told["differences"]
    assert (given["kind"], given["name"]) == ("input", "function")
    assert given["before"].startswith("pipelines.double@")
    assert given["before"] != given["after"]
    assert (function["kind"], function["name"]) == ("function", "pipelines.double")
    assert function["diff"][-2:] == ["-    return rated(x)", "+    return rated(x) + 1"]
    assert (constant["name"], constant["before"], constant["after"]) == ("pipelines.RATE", "2", "3")
    _, net = coded("explain", second, "sizes", "--json").json["differences"]
    assert (net["kind"], net["diff"][-2:]) == ("class", ["-    SIZE = 5", "+    SIZE = 6"])

    code = coded("compare", first, second, "--json").json["code"]
    assert {(each["stage"], each["name"]) for each in code} == {
        ("apply", "pipelines.double"),
        ("apply", "pipelines.RATE"),
        ("sizes", "pipelines.Net"),
    }
    assert coded("compare", first, second, "--to", "page.html").code == 0
    assert "+    return rated(x) + 1" in (coded.folder / "page.html").read_text()


def test_a_partial_that_changed_is_shown_with_what_it_holds(coded: Shell) -> None:
    coded("run", "code")
    edit(coded.folder, "partial(max, 5)", "partial(max, 6)")
    coded("run", "code")
    [given] = coded("explain", "latest", "apply[1]", "--json").json["differences"]
    before, after = (given[side] for side in ("before", "after"))
    assert before.startswith("partial(builtins.max@")
    assert before.endswith(", 5)")
    assert after == before.replace(", 5)", ", 6)")


def test_the_lines_of_a_text_file_that_changed_are_shown(project: Shell) -> None:
    (project.folder / "pipelines.py").write_text(
        "import headrace as hr\n\n\n@hr.stage\ndef words(file: hr.File) -> int:\n"
        "    return len(file.path.read_text())\n"
        '\n\n@hr.pipeline\ndef counts() -> None:\n    words(hr.File("words.txt"))\n'
    )
    (project.folder / "words.txt").write_text("one\ntwo\n")
    project("run", "counts")
    (project.folder / "words.txt").write_text("one\nthree\n")
    project("run", "counts")
    [given] = project("explain", "latest", "words", "--json").json["differences"]
    assert given["diff"] == ["@@ -1,2 +1,2 @@", " one", "-two", "+three"]


def test_a_reused_task_is_held_against_the_run_that_gave_its_output(coded: Shell) -> None:
    first = coded("run", "code", "--json").json["run"]
    edit(coded.folder, "RATE = 2", "RATE = 3")
    coded("run", "code")
    edit(coded.folder, "RATE = 3", "RATE = 2")
    coded("run", "code")
    told = coded("explain", "latest", "apply", "--json").json
    assert (told["decision"], told["against"], told["differences"]) == ("reuse", first, [])
    assert told["reason"].endswith(first)


def test_a_map_says_how_its_elements_are_explained(project: Shell) -> None:
    run = project("run", "good", "--json").json["run"]
    shown = project("explain", run, "fit")
    assert f"`headrace explain {run} 'fit[depth=1]'`" in shown.err
    assert project("explain", run, "fit[depth=1]").code == 0
