"""A run that judges several models says of each number, warning and report which model it is of."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import headrace as hr
from headrace.define.log import warn
from headrace.spec.report import Fact, Report


class Fitted(NamedTuple):
    model: float
    rounds: int


class Judged(NamedTuple):
    passed: bool
    report: Report


@hr.stage(kind="train")
def fit(depth: list[int]) -> Fitted:
    return Fitted(0.1 * sum(depth), 7)


@hr.stage(kind="evaluate")
def judge(model: float, *, level: float = 0.9) -> Judged:
    warn("the model is small")
    hr.log("auc", 0.5 + model * level)
    return Judged(True, Report(title="Judged", facts=(Fact(name="AUC", value=0.5 + model * level),)))


@hr.pipeline
def two() -> None:
    judge(fit([1, 2]).model)
    judge(fit([5]).model)


@hr.pipeline
def one() -> None:
    model = fit([1, 2]).model
    judge(model)
    judge(model, level=0.5)


@hr.pipeline
def alone() -> None:
    judge(fit([1]).model)
"""


def test_each_number_warning_and_report_says_which_model_was_judged(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    ran = project("run", "two")
    assert "`judge` (of `fit.model`): the model is small" in ran.err
    assert "`judge[1]` (of `fit[1].model`): the model is small" in ran.err
    shown = project("show", "latest").out
    assert "`judge[1]` (of `fit[1].model`) warns" in shown
    assert "judge of fit.model" in shown
    told = project("show", "latest", "--json").json["warnings"]
    assert [each["of"] for each in told] == ["`fit.model`", "`fit[1].model`"]
    project("show", "latest", "--html", "--to", "run.html")
    page = (project.folder / "run.html").read_text()
    assert "<code>judge[1]</code> of <code>fit[1].model</code> Judged" in page

    first = project("runs", "--json").json["runs"][0]["run"]
    project.write("pipelines.py", PIPELINES.replace("[5]", "[6]"))
    second = project("run", "two", "--json").json["run"]
    compared = project("compare", first, second)
    assert "judge[1] of fit[1].model" in compared.out
    metrics = project("compare", first, second, "--json").json["metrics"]
    assert {(each["task"], each["of"]) for each in metrics if each["name"] == "AUC"} == {
        ("judge", "`fit.model`"),
        ("judge[1]", "`fit[1].model`"),
    }


def test_one_model_judged_twice_is_told_apart_by_what_differs_and_one_judged_once_is_not(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    assert "`judge[1]` (of level=0.5): the model is small" in project("run", "one").err
    alone = project("run", "alone").err
    assert "`judge`: the model is small" in alone
    assert "of" not in project("show", "latest", "--json").json["warnings"][0]


COMPARED = """
from typing import NamedTuple

import headrace as hr
from headrace.spec.report import Report, Verdict


class Fitted(NamedTuple):
    model: list[float]


@hr.stage(kind="train")
def fit(depth: int) -> Fitted:
    return Fitted([0.1 * depth])


@hr.stage(kind="evaluate")
def judge(model: list[float], baseline: list[float], least: float) -> Report:
    good = model[0] >= least
    title = f"Judged by {least}"
    return Report(title=title, passed=good, verdicts=(Verdict(rule="good", holds=good, why=f"{model[0]:g}"),))


@hr.stage(kind="evaluate")
def audit(previous: list[float]) -> Report:
    good = previous[0] >= 0.4
    return Report(title="Audited", passed=good, verdicts=(Verdict(rule="good", holds=good, why=f"{previous[0]:g}"),))


@hr.pipeline
def flow(least: float = 0.4) -> None:
    judge(fit(5).model, fit(1).model, least)


@hr.pipeline
def alone() -> None:
    audit(fit(1).model)


class Both(NamedTuple):
    model: list[float]
    old: list[float]


@hr.stage(kind="train")
def fit_both() -> Both:
    return Both([0.2], [0.1])


@hr.stage(kind="train")
def tune(model: list[float]) -> Fitted:
    return Fitted([model[0] + 0.1])


@hr.pipeline
def together() -> None:
    both = fit_both()
    judge(both.model, both.old, 0.4)


@hr.pipeline
def tuned() -> None:
    first = fit(1).model
    judge(tune(first).model, first, 0.4)


@hr.stage
def halved(model: list[float]) -> Fitted:
    return Fitted([model[0] / 2])


@hr.pipeline
def made_from() -> None:
    judge(fit(3).model, halved(fit(1).model).model, 0.4)


@hr.stage(kind="train")
def plain(depth: int) -> list[float]:
    return [0.1 * depth]


@hr.pipeline
def mapped() -> None:
    judge.map(plain.map([5, 3]), plain.map([1, 2]), 0.4)


@hr.pipeline
def listed() -> None:
    worst, good, best = plain(3), plain(5), plain(7)
    judge.map([worst, good], [good, best], 0.4)


@hr.pipeline
def sliced(most: float = 0.4) -> None:
    judge.map(plain(5), plain(1), [0.3, most])
"""


def test_a_report_says_nothing_of_a_model_with_which_the_judged_one_is_only_compared(project: Shell) -> None:
    project.write("pipelines.py", COMPARED)
    assert project("run", "flow").code == 0
    assert project("register", "latest", "--model", "judged", "--alias", "production").code == 0
    assert project("get", "model:judged", "--to", "judged.json").code == 0
    assert json.loads((project.folder / "judged.json").read_text()) == [0.5], "the last model that isn't a baseline"
    assert "passed" in project("card", "model:judged").out
    assert project("register", "latest", "fit[1].model", "--model", "old").code == 0
    for of in (["model:old"], ["latest", "fit[1].model"]):
        card = project("card", *of).out
        assert ("passed" in card, "No report judges this model" in card) == (False, True)

    project("run", "flow", "--least", "0.9")
    assert project("register", "latest", "--model", "judged", "--alias", "production").code == 4
    assert project("register", "latest", "fit[1].model", "--model", "old", "--alias", "production").code == 0


def test_a_baseline_is_not_refused_for_the_verdict_on_a_model_that_the_same_task_gave_or_that_was_tuned_from_it(
    project: Shell,
) -> None:
    project.write("pipelines.py", COMPARED)
    for pipeline, judged, compared in (
        ("together", "fit_both", "fit_both.old"),
        ("tuned", "tune", "fit.model"),
        ("made_from", "fit.model", "fit[1].model"),
        ("mapped", "plain[depth=3]", "plain[1][depth=2]"),
        ("listed", "plain", "plain[2]"),
    ):
        assert project("run", pipeline).code == 0
        as_production = ("--model", pipeline, "--alias", "production")
        assert project("register", "latest", judged, *as_production).code == 4
        if pipeline != "listed":
            assert project("register", "latest", *as_production).code == 4, "without a task, it is the judged model"
        added = project("register", "latest", compared, *as_production)
        assert added.code == 0, added.err
        assert "No report judges this model" in project("card", f"model:{pipeline}").out


def test_each_element_of_a_mapped_evaluation_judges_the_model_that_it_got(project: Shell) -> None:
    project.write("pipelines.py", COMPARED)
    for pipeline, passing, failing in (
        ("mapped", "plain[depth=5]", "plain[depth=3]"),
        ("listed", "plain[1]", "plain"),
    ):
        assert project("run", pipeline).code == 0
        for model, code in ((passing, 0), (failing, 4)):
            as_production = ("--model", model.translate({91: "-", 93: None, 61: "-"}), "--alias", "production")
            assert project("register", "latest", model, *as_production).code == code, model
            card = project("card", "latest", model, "--json").json
            assert (card["passed"], len(card["results"])) == (code == 0, 1)


def test_a_model_that_a_map_judges_in_slices_has_each_slice_once_on_its_card(project: Shell) -> None:
    project.write("pipelines.py", COMPARED)
    assert project("run", "sliced").code == 0
    card = project("card", "latest", "plain", "--json").json
    assert [each["task"] for each in card["results"]] == ["judge[least=0.3]", "judge[least=0.4]"]
    tasks = {each["name"]: each for each in project("show", "latest", "--json").json["tasks"]}
    worked = [tasks[name]["seconds"] for name in ("plain", "judge[least=0.3]", "judge[least=0.4]")]
    assert card["seconds"] == pytest.approx(sum(worked))
    assert project("register", "latest", "plain", "--model", "fine", "--alias", "production").code == 0
    project("run", "sliced", "--most", "0.9")
    assert project("register", "latest", "plain", "--model", "poor", "--alias", "production").code == 4


def test_the_only_model_of_an_evaluation_is_judged_whatever_its_parameter_is_called(project: Shell) -> None:
    project.write("pipelines.py", COMPARED)
    project("run", "alone")
    assert project("register", "latest", "--model", "only", "--alias", "production").code == 4
    assert "No report judges" not in project("card", "latest").out


def test_lineage_shows_small_values_as_they_are(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    project("run", "alone")
    shown = project("lineage", "latest", "judge").out
    assert "passed: true" in shown
    assert "rounds: 7" in shown
    assert "depth: [1]" in shown
    up = project("lineage", "latest", "judge", "--json").json["up"]
    assert [each["text"] for each in up[0]["outputs"]] == ["0.1", "7"]
