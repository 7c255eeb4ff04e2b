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
