"""Evaluation by the real command: bad input gets one clear error, and a gate that says no is a success of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Done, Project, lent

JUDGING = """\
import numpy as np
import pyarrow as pa
import headrace as hr
from headrace.spec.report import Report
from headrace.stages import evaluate


@hr.stage
def people(rows: int, fault: str) -> pa.Table:
    random = np.random.default_rng(7)
    true = random.random(rows) < 0.4
    score = np.clip(0.25 + 0.3 * true + random.normal(0, 0.18, rows), 0.01, 0.99)
    hired = [bool(each) for each in true]
    if fault == "one class":
        hired = [True] * rows
    if fault == "not a number":
        score[3] = np.nan
    town = random.choice(["north", "south"], rows)
    town[0] = "alone"
    hint = [each + 0.1 * (place % 3) for place, each in enumerate(hired)]
    return pa.table({"id": range(rows), "p": score, "hint": hint, "town": town, "hired": pa.array(hired, pa.bool_())})


@hr.stage
def first(table: pa.Table, count: int) -> pa.Table:
    return table.slice(0, count)


@hr.stage
def said(report: Report) -> list[str]:
    undefined = [f"{each.name}: {each.why}" for each in report.facts if each.value is None]
    return [*[f"{each.holds}: {each.why}" for each in report.verdicts], *undefined]


@hr.stage
def notes(bias: pa.Table) -> list[str]:
    return [f"{each['group']}: {each['note']}" for each in bias.to_pylist()]


@hr.stage
def go() -> int:
    return 1


@hr.stage
def told(number: int) -> int:
    return number


@hr.stage
def is_fine(report: Report) -> bool:
    return report.passed is True


@hr.pipeline
def judge(rows: int = 300, fault: str = "", gates: str = "AUC >= 0.7", seen: int = 0) -> None:
    table = people(rows, fault)
    found = evaluate.classification(
        None, table, target="hired", scores="p", sensitive=["town"], train=first(table, seen), key=["id"],
        gates=gates, resamples=100,
    )
    said(found.report)
    notes(found.bias)
    told(go(when=found.passed))
    go(when=is_fine(found.report))
"""

LEARNING = """\
from typing import Any
import pyarrow as pa
import headrace as hr
from headrace.stages import evaluate, registry
from judging import go, people, told


@hr.stage(kind="train")
def learn(table: pa.Table) -> Any:
    from sklearn.linear_model import LogisticRegression  # a second, in each process of the other pipelines

    frame = table.to_pandas()
    return LogisticRegression().fit(frame[["p"]], frame["hired"])


@hr.pipeline
def ask(rule: str) -> None:
    table = people(300, "")
    model = learn(table)
    found = evaluate.classification(model, table, target="hired", features=["p"], gates="AUC >= 0.5", resamples=100)
    told(go(when=evaluate.gate(found.report, rule)))
@hr.stage
def learned(table: pa.Table, column: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(table.select([column]).to_pandas(), table["hired"].to_pylist())


@hr.pipeline
def nightly(column: str, rule: str) -> None:
    table = people(300, "")
    before = registry.find("model", "nightly@production")
    model = learned(table, column)
    found = evaluate.classification(model, table, target="hired", previous=before, gates=rule, resamples=100)
    registry.model("nightly", model, aliases=["production"], when=found.passed)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with lent(tmp_path_factory.mktemp("evaluation") / "project") as project:
        project.write("headrace.toml", '[project]\npipelines = ["judging.py", "learning.py"]\n[pool.local]\ncpu = 1\n')
        project.write("judging.py", JUDGING)
        project.write("learning.py", LEARNING)
        yield project


def judged(project: Project, *words: str) -> Done:
    return project.headrace("run", "judge", *words, "--json")


def value(project: Project, done: Done, task: str) -> str:
    target = Path(project.root, f"{task}.json")
    assert project.headrace("get", done.json["run"], task, "--to", str(target)).code == 0
    return target.read_text(encoding="utf-8")


def test_a_gate_that_says_no_is_a_success_and_nothing_goes_on(project: Project) -> None:
    done = judged(project, "--gates", "AUC >= 0.99 with 95% confidence")
    assert done.code == 0, done.err
    assert done.task["go"]["state"] == "skipped"
    assert "none of that is >= 0.99" in value(project, done, "said")
    assert "alone: too small (fewer than 30 rows)" in value(project, done, "notes")


def test_rows_that_were_trained_on_are_found_and_a_gate_may_refuse_them(project: Project) -> None:
    ran = project.headrace("run", "judge", "--seen", "20", "--gates", "rows seen in training <= 0")
    assert ran.code == 0, ran.err
    done = project.headrace("show", "latest", "--json")
    assert done.task["go"]["state"] == "skipped"
    assert "the number of rows seen in training is 20" in value(project, done, "said")
    warned = "`classification`: 20 of the 300 rows judged were trained on. They are in `train` too (by `id`)"
    assert f"warning: {warned}" in ran.err
    assert "`classification` said no to `go`" in ran.err
    shown = project.headrace("show", "latest").out
    assert "`classification` warns: 20 of the 300 rows judged were trained on" in shown
    assert "fails: rows seen in training <= 0" in shown


def test_a_single_row_is_judged_without_a_number_being_made_up(project: Project) -> None:
    done = judged(project, "--rows", "1")
    assert done.code == 0, done.err
    assert "AUC is undefined: all 1 rows are of one class" in value(project, done, "said")


def test_one_class_leaves_metrics_undefined_and_the_gate_unmet(project: Project) -> None:
    done = judged(project, "--fault", "one class")
    assert done.code == 0, done.err
    assert done.task["go"]["state"] == "skipped"
    assert "AUC is undefined: all 300 rows are of one class" in value(project, done, "said")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--fault", "not a number"), "the model gives no number for 1 of 300 rows; the first is row 3"),
    ],
)
def test_bad_input_gets_one_clear_error(project: Project, words: tuple[str, ...], told: str) -> None:
    done = judged(project, *words)
    assert done.code == 1
    reason = done.task["classification"]["reason"]
    assert told in reason
    assert "Traceback" not in reason + done.err


@pytest.mark.parametrize(
    ("gates", "told", "hint"),
    [
        ("AUC => 0.7", "the gate can't be read", "a rule reads"),
        ("AOC >= 0.7", "the gate asks for `AOC`", "did you mean `AUC`?"),
        ("worst-slice gap of AUK <= 0.1", "the gate asks for `worst-slice gap of AUK`", "did you mean"),
    ],
)
def test_a_gate_that_cannot_be_right_is_refused_before_anything_runs(
    project: Project, gates: str, told: str, hint: str
) -> None:
    done = project.headrace("run", "judge", "--gates", gates)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert hint in done.err
    assert "`classification` (" in done.err
    assert "judging.py:" in done.err


def test_a_nightly_gate_against_production_has_a_first_run_a_worse_one_and_a_better_one(project: Project) -> None:
    absent = "undecided: AUC > previous: AUC less previous is undefined: there is no previous model to compare with"
    for column, rule, state, told in [
        ("p", "AUC > previous", "skipped", absent),
        ("p", "AUC > previous or AUC > 0.6", "succeeded", "holds: AUC > 0.6: AUC is 0."),
        ("id", "AUC > previous", "skipped", "fails: AUC > previous: AUC less previous is -"),
        ("hint", "AUC > previous", "succeeded", "holds: AUC > previous: AUC less previous is 0."),
    ]:
        done = project.headrace("run", "nightly", "--column", column, "--rule", rule, "--json")
        assert done.code == 0, done.err
        assert done.task["register_model"]["state"] == state
        assert told in project.headrace("logs", "latest").out
    assert [each["version"] for each in project.headrace("models", "nightly", "--json").json["models"]] == [2, 1]


def test_commands_say_which_rule_doesnt_hold_and_why_and_give_the_report_in_four_forms(project: Project) -> None:
    ran = project.headrace("run", "judge", "--gates", "AUC >= 0.99 and AUC >= 0.1")
    assert "`classification` said no to `go`: `headrace show " in ran.err
    for words in (("show", "latest"), ("explain", "latest", "go")):
        told = project.headrace(*words).out
        assert "`classification` says no" in told
        assert "fails: AUC >= 0.99" in told
        assert "AUC is " in told
        assert "fails: AUC >= 0.1" not in told
    project.headrace("show", "latest", "--to", "page.html")
    header = (project.root / "page.html").read_text().partition("<header>")[2].partition("</header>")[0]
    assert re.sub(r"<.+?>", "", header).count("classification says no: go") == 1
    assert "AUC &gt;= 0.99" in header
    assert "AUC &gt;= 0.1<" not in header
    for task, gate in (("go", "classification"), ("told", "classification"), ("go[1]", "is_fine")):
        found = project.headrace("explain", "latest", task, "--json").json
        assert (found["gate"], [each["rule"] for each in found["rules"]]) == (gate, ["AUC >= 0.99"])

    def got(name: str) -> str:
        done = project.headrace("get", "latest", "classification.report", "--to", name)
        assert done.code == 0, done.err
        return Path(project.root, name).read_text(encoding="utf-8")

    assert "fails: AUC >= 0.99" in got("report.txt")
    assert "- **✗ fails**: `AUC >= 0.99`" in got("report.md")
    assert got("report.html").startswith("<!doctype html>")
    assert "<svg" not in got("report.txt") + got("report.md")
    read = json.loads(got("report.json"))
    assert (read["passed"], read["verdicts"][0]["rule"]) == (False, "AUC >= 0.99")
    assert project.headrace("get", "latest", "classification.report").out == "classification.report.txt\n"


def test_commands_and_the_card_say_what_a_gate_was_asked(project: Project) -> None:
    ran = project.headrace("run", "ask", "--rule", "AUC >= 0.99 and AUC >= 0.4")
    assert "`gate` said no to `go`" in ran.err
    assert "fails: AUC >= 0.99: AUC is 0." in project.headrace("logs", "latest", "gate").out
    told = project.headrace("show", "latest").out
    assert "fails: AUC >= 0.99" in told
    assert "fails: AUC >= 0.4" not in told
    found = project.headrace("explain", "latest", "told", "--json").json
    assert (found["gate"], [each["rule"] for each in found["rules"]]) == ("gate", ["AUC >= 0.99"])
    card = project.headrace("card", "latest").out
    assert "(✗ not passed)" in card.splitlines()[0]
    assert "**✓ holds**: `AUC >= 0.5`" in card
    assert "**✗ fails**: `AUC >= 0.99`" in card
    assert "## Results: Rules of" not in card
