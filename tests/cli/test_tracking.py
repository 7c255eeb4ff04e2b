"""What tasks log by `hr.log`, as the commands show it: `show`, `logs --follow`, `get --logged`, `compare`, the page."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.projects import PATIENCE_S

PIPELINES = """
import math
import pathlib
import time

import headrace as hr


def wait_for(name: str) -> None:
    while not pathlib.Path(name).exists():
        time.sleep(0.01)


@hr.stage(kind="train")
def fit(rate: float, until: str) -> float:
    print("it begins")
    for step in range(50):
        hr.log("train/loss", math.exp(-rate * step), step)
        if step % 10 == 0:
            hr.log("valid/auc", 1 - math.exp(-rate * step) / 2, step)
    hr.log("hole", math.nan)
    hr.log("long", "word " * 1000)
    for step in (0, 1):
        hr.log("sample/text", f"sample {step}", step)
        hr.log("plot", hr.Picture(f"<svg xmlns='http://www.w3.org/2000/svg'><desc>{step}</desc></svg>"), step)
    if until:
        wait_for(until)
    return rate


@hr.stage
def silent() -> int:
    return 1


@hr.pipeline
def flow(rate: float = 0.1, until: str = "") -> None:
    fit(rate, until)


@hr.pipeline
def quiet() -> None:
    silent()
"""


@pytest.fixture
def logging(project: Shell) -> Shell:
    """A project whose pipeline logs."""
    project.write("pipelines.py", PIPELINES)
    return project


def _run(project: Shell, *words: str) -> str:
    found: str = project("run", *words, "--json").json["run"]
    return found


def test_show_has_the_last_and_the_best_of_each_metric(logging: Shell) -> None:
    run = _run(logging, "flow")
    numbers, _, others = logging("show", run).out.partition("logged")
    lines = [line.split() for line in numbers.splitlines() if "/" in line]
    assert lines == [
        ["fit", "train/loss", "0.007447", "0.007447", "49", "50"],
        ["fit", "valid/auc", "0.9908", "0.9908", "40", "5"],
    ]
    assert [" ".join(line.split()) for line in others.splitlines() if "text" in line] == [
        "fit long text 0 1 4.9 KiB",
        "fit sample/text text 1 2 sample 1",
    ]
    (task,) = logging("show", run, "--json").json["tasks"]
    assert list(task["metrics"]) == ["hole", "train/loss", "valid/auc"]
    assert {key: task["metrics"]["valid/auc"][key] for key in ("count", "step", "better", "least")} == {
        "count": 5,
        "step": 40,
        "better": "higher",
        "least": 0.5,
    }
    assert task["metrics"]["hole"]["last"] is None
    _run(logging, "quiet")
    (task,) = logging("show", "--json").json["tasks"]
    assert "metrics" not in task


def test_the_page_of_a_run_has_the_last_of_each_metric(logging: Shell) -> None:
    run = _run(logging, "flow")
    logging("show", run, "--to", "page.html")
    page = (logging.folder / "page.html").read_text()
    table = page.partition("<h2>Metrics</h2>")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">(.+?)</th>', table) == ["hole", "train/loss", "valid/auc"]
    texts = page.partition("<h2>Texts</h2>")[2].partition("</section>")[0]
    assert re.findall(r"<pre>(.{8})", texts) == ["word wor", "sample 1"]
    assert "sample/text, the last of 2, at step 1" in texts


def test_a_reused_task_shows_what_it_logged_where_it_ran(logging: Shell) -> None:
    _run(logging, "flow")
    second = _run(logging, "flow")
    (task,) = logging("show", second, "--json").json["tasks"]
    assert (task["state"], task["metrics"]["train/loss"]["count"]) == ("reused", 50)
    assert logging("get", second, "fit", "--logged", "train/loss").code == 0


def test_a_terminal_gets_a_curve_of_each_metric(logging: Shell) -> None:
    _run(logging, "flow")
    assert "█▇▆▅▄▃▃▂" in logging.on_terminal("show")


def test_what_is_logged_is_told_while_it_runs_and_stdout_has_only_what_is_printed(logging: Shell) -> None:
    run = logging("run", "flow", "--until", str(logging.folder / "go"), "--detach").out.strip()
    process = logging.start("logs", run, "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stdout is not None
    told = ""
    while "sample/text at step 1: sample 1" not in told:
        line = process.stderr.readline().decode()
        assert line, told
        told += line
    live = json.loads(logging("show", run, "--json").out)
    assert live["state"] == "running"
    assert live["tasks"][0]["metrics"]["train/loss"]["step"] == 49
    (logging.folder / "go").touch()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out.decode() == "--- fit\nit begins\n"
    assert "train/loss 0.007447 at step 49" in told + err.decode()
    assert "long at step 0: (5,000 bytes)" in told + err.decode()
    assert logging("logs", run).err == ""


def test_what_was_logged_can_be_had_as_files(logging: Shell) -> None:
    run = _run(logging, "flow")

    def get(*words: str) -> Path:
        done = logging("get", run, "fit", "--logged", *words)
        assert (done.code, done.err) == (0, "")
        return Path(logging.folder / done.out.strip())

    with get("train/loss").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(50))
    assert float(rows[0]["value"]) == 1.0
    assert get("sample/text").read_text() == "sample 1"
    assert get("sample/text", "--step", "0", "--to", "first.txt").read_text() == "sample 0"
    assert "<desc>1</desc>" in get("plot").read_text()


def test_wrong_words_about_what_was_logged_are_one_error(logging: Shell) -> None:
    run = _run(logging, "flow")
    for words, message, hint in (
        (["get", run, "fit", "--logged", "nope"], "`fit` has logged no `nope`", "`train/loss`"),
        (
            ["get", run, "fit", "--logged", "plot", "--step", "7"],
            "no `plot` at step 7",
            "the steps with a value are `0`, `1`",
        ),
        (["get", run, "--logged", "plot"], "needs a task", "headrace get RUN TASK"),
        (["get", run, "fit", "--step", "1"], "`--step` needs `--logged`", "--logged"),
        (["get", run, "nope", "--logged", "plot"], "has no task `nope`", "fit"),
    ):
        wrong = logging(*words)
        assert (wrong.code, wrong.out) == (2, ""), words
        assert message in wrong.err
        assert hint in wrong.err.partition("hint:")[2]


def test_curves_stand_in_comparisons_and_pages(logging: Shell) -> None:
    first, second = _run(logging, "flow"), _run(logging, "flow", "--rate", "0.2")
    compared = logging("compare", first, second, "--json").json
    assert [(each["name"], [len(line["steps"]) for line in each["lines"]]) for each in compared["curves"]] == [
        ("train/loss", [50, 50]),
        ("valid/auc", [5, 5]),
    ]
    losses = next(each for each in compared["metrics"] if each["name"] == "train/loss")["numbers"]
    assert losses[1]["verdict"] == "better"
    assert "█" in logging("compare", first, second).out
    logging("compare", first, second, "--to", "compared.html")
    logging("show", second, "--html", "--to", "run.html")
    for name in ("compared.html", "run.html"):
        page = (logging.folder / name).read_text()
        assert page.count('class="curves"') == 2, name
    assert "fit plot, step 1" in page
    assert len(page) < 100_000


def test_runs_are_sorted_by_what_they_logged(logging: Shell) -> None:
    runs = [_run(logging, "flow", "--rate", rate) for rate in ("0.1", "0.3", "0.2")]
    found = logging("runs", "--sort", "train/loss", "--json").json["runs"]
    assert [run["run"] for run in found] == [runs[1], runs[2], runs[0]]
    assert found[0]["metric"]["count"] == 50


def test_a_reused_task_shows_its_warnings_also_after_its_makers_new_code_has_no_such_task(project: Shell) -> None:
    code = """
    import headrace as hr

    @hr.stage(retries=1, backoff="0s")
    def NAME() -> int:
        hr.log("warning", f"attempt {hr.attempt().number}")
        if hr.attempt().number == 1:
            raise RuntimeError("it broke")
        return 1

    @hr.pipeline
    def flow() -> None:
        NAME()
    """
    project.write("pipelines.py", code.replace("NAME", "tried"))
    maker, user = _run(project, "flow"), _run(project, "flow")
    project.write("pipelines.py", code.replace("NAME", "renamed"))
    assert project("resume", maker, "--new-code").code == 0
    for run, task in ((user, "tried"), (maker, "renamed")):
        done = project("show", run, "--json")
        assert (done.code, done.json["warnings"]) == (0, [{"task": task, "text": "attempt 2"}])
        assert f"`{task}` warns: attempt 2" in project("show", run).out
        assert project("show", run, "--html", "--to", "page.html").code == 0
        page = (project.folder / "page.html").read_text()
        assert ("attempt 2" in page, "attempt 1" in page) == (True, False)
