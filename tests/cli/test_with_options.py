"""One stage, declared in several ways, on the real command."""

from __future__ import annotations

import pytest

import headrace as hr
from headrace.errors import DefinitionError
from tests.cli.conftest import Shell

PIPELINES = """
import headrace as hr


@hr.stage(kind="train", retries=1)
def fit(depth: int) -> int:
    if hr.attempt().number < 3 and depth == 13:
        raise ValueError("unlucky")
    return depth


patient_fit = fit.with_options(name="patient", retries=3, backoff=0)


@hr.pipeline
def both() -> None:
    patient_fit(13)
    fit(1)
    fit.with_options(resources=hr.Resources(cpu=0.5))(2)


@hr.pipeline
def plain() -> None:
    fit(13)


def together(depth: int) -> int:
    return fit(fit(depth))


@hr.pipeline
def blocks() -> None:
    with hr.options(retries=4, backoff=0):
        together(13)
        with hr.options(kind="evaluate"):
            fit.with_options(kind="monitor")(26)
            fit.map([27])
    fit(28)
"""


@hr.stage(retries=2)
def fit(depth: int) -> int:
    return depth


def test_a_stage_declared_otherwise_runs_so_and_shares_outputs(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    tasks = {task["name"]: task for task in project("run", "both", "--json").json["tasks"]}
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    assert list(tasks) == ["patient", "fit", "fit[1]"]
    assert tasks["patient"]["attempts"] == 3
    assert {task["kind"] for task in tasks.values()} == {"train"}
    [again] = project("run", "plain", "--json").json["tasks"]
    assert (again["name"], again["state"]) == ("fit", "reused")


def test_a_block_declares_all_stages_that_are_called_in_it_also_by_functions(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES)
    tasks = {task["name"]: task for task in project("run", "blocks", "--json").json["tasks"]}
    assert {task["state"] for task in tasks.values()} <= {"succeeded", "reused"}
    assert tasks["fit"]["attempts"] == 3
    kinds = [tasks[name]["kind"] for name in ("fit", "fit[1]", "fit[2]", "fit[3]", "fit[4]")]
    assert kinds == ["train", "train", "monitor", "evaluate", "train"]


def test_outside_of_a_pipeline_it_is_the_plain_function() -> None:
    assert fit.with_options(retries=5)(3) == 3
    assert fit.with_options(retries=5).declaration.retries == 5
    assert fit.with_options(name="other").declaration.retries == 2


def test_what_a_stage_can_not_declare_is_refused() -> None:
    with pytest.raises(DefinitionError, match="`with_options` takes no `retry`") as told:
        fit.with_options(retry=1)
    assert told.value.hint == "did you mean `retries`?"
    with pytest.raises(DefinitionError, match=r"`hr\.options` takes no `name`"), hr.options(name="one"):
        pass
