"""Odd but lawful: strange names, empty lists, huge values, code that can't be cached. And values that can't be kept."""

from __future__ import annotations

import pytest

from tests.projects import Project

ODD = """\
import headrace as hr

@hr.stage
def länge(wort: str) -> int:
    print("hier:", ascii(wort))
    return len(wort)

@hr.stage
def alle(längen: list[int]) -> int:
    return sum(längen)

@hr.pipeline
def größen(größe: int = 1) -> None:
    alle(länge.map(["a b", "ünï", "x/y", "../..", "q]z[w=1"]))
    länge.map(["", "\\n", "\\x1b[31m", "\\0", "'\\"`", "😀", "same", "same", "x" * 200])
"""


def test_names_in_odd_characters_are_names_like_others(project: Project) -> None:
    project.write("die größe (neu) ½.py", ODD)
    done = project.headrace("run", "die größe (neu) ½.py:größen", "--größe", "3", "--json")
    assert done.code == 0, done
    assert {task["state"] for task in done.json["tasks"]} == {"succeeded"}
    for name in ["länge[wort=ünï]", "länge[#4]", "länge[1][#2]", "länge[1][#3]"]:
        assert project.headrace("logs", "latest", name).out.startswith("hier: ")
        assert project.headrace("explain", "latest", name, "--json").json["task"] == name
    assert project.headrace("get", "latest", "länge[#4]", "--to", "die größe.json").code == 0
    assert (project.root / "die größe.json").read_text() == "7"
    shown = project.headrace("show", "--tasks")
    assert "länge[1][#8]" in shown.out
    assert "\x1b" not in shown.out
    assert project.headrace("show", "--html", "--to", "seite.html").code == 0
    assert project.headrace("get", "latest", "länge[wort=../..]").out == "länge[wort=..-..].json\n"
    assert project.headrace("debug", "latest", "länge[#0]").code == 0


EMPTY = """\
import headrace as hr

@hr.stage
def none() -> list[int]:
    return []

@hr.stage
def lies() -> list[int]:
    return 5

@hr.stage
def one(n: int) -> int:
    return n

@hr.stage
def total(numbers: list[int]) -> int:
    return sum(numbers)

@hr.pipeline
def flow() -> None:
    total(one.map([]))
    total(one.map(none()))

@hr.pipeline
def liar() -> None:
    total(one.map(lies()))
"""


def test_a_map_over_an_empty_list_gives_an_empty_list(project: Project) -> None:
    project.write("flow.py", EMPTY)
    done = project.headrace("run", "flow.py:flow", "--json")
    assert done.code == 0, done
    assert {name for name, task in done.task.items() if task["state"] == "succeeded"} >= {"one", "one[1]", "total"}
    project.headrace("get", "latest", "total[1]", "--to", "total.json")
    assert (project.root / "total.json").read_text() == "0"


def test_a_map_over_what_turns_out_to_be_no_list_fails_with_its_name(project: Project) -> None:
    project.write("flow.py", EMPTY)
    done = project.headrace("run", "flow.py:liar", "--json")
    assert done.code == 1
    assert done.task["one"]["state"] == "failed"
    assert "can't be mapped over" in done.task["one"]["reason"]
    assert done.task["total"]["state"] == "skipped"


HUGE = """\
import headrace as hr

@hr.stage
def length(text: str, numbers: list[int]) -> int:
    return len(text) + len(numbers)

@hr.pipeline
def flow() -> None:
    length("x" * 100_000_000, list(range(300_000)))
"""


def test_a_huge_constant_goes_to_the_store_and_not_to_the_ledger(project: Project) -> None:
    project.write("flow.py", HUGE)
    done = project.headrace("run", "flow.py:flow", "--json")
    assert done.code == 0, done
    assert (project.home / "ledger.db").stat().st_size < 1_000_000
    again = project.headrace("run", "flow.py:flow", "--json")
    assert again.task["length"]["state"] == "reused"


CHANGING = """\
import headrace as hr

def make():
    count = [0]
    def tick() -> int:
        count[0] += 1
        return count[0]
    return tick

tick = make()

@hr.stage
def one() -> int:
    return tick()

@hr.pipeline
def flow() -> None:
    one()
"""


def test_a_closure_over_changing_state_is_not_cached_and_says_so(project: Project) -> None:
    project.write("flow.py", CHANGING)
    for _ in range(2):
        done = project.headrace("run", "flow.py:flow", "--json")
        assert done.task["one"]["state"] == "succeeded"
        assert "not reusable" in done.task["one"]["reason"]
        assert "`count`" in done.task["one"]["reason"]


FAILING = """\
import threading
import headrace as hr

@hr.stage
def lock():
    return threading.Lock()

@hr.stage
def uses(password: str) -> int:
    return 1

@hr.stage
def odd() -> int:
    raise ValueError("\\ud800 \\x1b[31m")

@hr.stage
def opens() -> int:
    return len(open("data.csv").read())

@hr.pipeline
def flow() -> None:
    lock()
    uses(hr.secret("NOT_SET_ANYWHERE"))
    odd()
    opens()
"""

REASONS = {
    "lock": ("can't be saved", "in the stage that needs it"),
    "uses": ("secret `NOT_SET_ANYWHERE` is not set", "set the environment variable"),
    "odd": ("ValueError: \\ud800", ""),
    "opens": ("FileNotFoundError", "hr.File(path)"),
}


def test_what_fails_in_a_stage_says_why_and_what_to_do(project: Project) -> None:
    project.write("flow.py", FAILING)
    done = project.headrace("run", "flow.py:flow", "--json")
    assert done.code == 1
    for task, (reason, hint) in REASONS.items():
        assert done.task[task]["state"] == "failed"
        message, _, advice = done.task[task]["reason"].partition("\nhint: ")
        assert reason in message
        assert hint in advice
    assert done.json["why"].startswith("task `lock` and 3 more failed")
    told = project.headrace("run", "flow.py:flow")
    assert told.code == 1
    assert "\x1b" not in told.err
    assert "hint: `headrace show " in told.err


@pytest.mark.parametrize("where", ["stage", "pipeline"])
def test_a_pipeline_can_not_be_run_from_within(project: Project, where: str) -> None:
    project.write(
        "flow.py",
        f"""\
        import headrace as hr
        @hr.stage
        def one() -> int:
            {"flow.run()" if where == "stage" else ""}
            return 1
        @hr.pipeline
        def flow() -> None:
            {"flow.run()" if where == "pipeline" else "one()"}
        """,
    )
    done = project.headrace("run", "flow.py:flow")
    assert done.code == (1 if where == "stage" else 2)
    assert f"`flow.run()` was called inside a {where}" in done.err
    assert "hint: " in done.err
    assert len(project.headrace("runs", "--json").json["runs"]) == (1 if where == "stage" else 0)
