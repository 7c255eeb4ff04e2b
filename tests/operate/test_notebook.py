"""Code of a notebook's cells reaches workers with its source: it has the keys of the same code in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operate.test_display import play
from tests.projects import Project, lent

CODE = '''
import headrace as hr

class Scaler:
    """What it is."""

    def apply(self, x):
        """What it does."""
        return x * 2

def helper(x):
    """What it does."""
    # why
    return Scaler().apply(x)

@hr.stage
def numbers(n: int) -> list[int]:
    """What it gives."""
    return [helper(each) for each in range(n)]

@hr.stage
def fail(x: list[int]) -> int:
    return helper(x) / 0

@hr.pipeline
def flow(n: int = 3) -> None:
    numbers(n)

@hr.pipeline
def failing(n: int = 3) -> None:
    fail(numbers(n))
'''
RUN = "run = flow.run()\nprint(run['numbers'].state, run['numbers'].reason)"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    with lent(tmp_path) as project:
        project.write("pipelines.py", CODE)
        return project


def said(outputs: list[dict[str, object]]) -> str:
    return "".join(str(output["text"]) for output in outputs if output.get("name") == "stdout")


def test_a_notebook_and_a_script_of_the_same_code_share_keys_whatever_its_comments_say(project: Project) -> None:
    *_, first, changed_words, again, changed_code, once_more = play(
        project.root,
        CODE,
        RUN,
        CODE.replace("What it", "How it").replace("# why", "# because"),
        RUN,
        CODE.replace("x * 2", "x * 3"),
        RUN,
    )
    assert said(first).startswith("succeeded")
    assert not said(changed_words) + said(changed_code)
    assert said(again).startswith("reused")
    assert said(once_more).startswith("succeeded code changed: `notebook.Scaler`")
    script = project.headrace("run", "flow", "--json")
    assert script.code == 0, script.err
    assert script.task["numbers"]["state"] == "reused"


def test_a_traceback_from_a_notebook_has_its_lines(project: Project) -> None:
    play(project.root, CODE, "failing.run()")
    told = project.headrace("show", "--json").json
    shown = project.headrace("logs", told["run"], "fail")
    assert "return helper(x) / 0" in shown.out, shown
