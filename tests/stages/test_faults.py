"""Data that nothing can be made of, through each ready-made stage by the real command: no rows, one class, targets that
are missing or too large, features that are missing. Each stage does what can be done, or says what is wrong once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Done, Project, lent

PIPELINES = """\
import numpy as np
import pyarrow as pa
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

import headrace as hr
from headrace.stages import evaluate, ingest, prepare, train


@hr.stage
def rows(kind: str) -> pa.Table:
    count = 0 if kind == "empty" else 60
    x, y = np.arange(count) * 1.0, np.arange(count) % 2 * 1.0
    if kind == "one":
        y[:] = 1
    if kind == "nan":
        y[7] = np.nan
    if kind == "none":
        y[:] = np.nan
    if kind == "feature":
        x[3] = np.nan
    if kind == "huge":
        y = np.where(y == 1, 1e308, -1e308)
    if kind == "endless":
        y[7] = np.inf
    texts = pa.array([f"text {each}" for each in range(count)], pa.string())
    return pa.table({"x": x, "y": y, "text": texts})


def net(inputs: int, outputs: int) -> torch.nn.Module:
    return torch.nn.Linear(inputs, outputs)


@hr.stage
def told(report: object) -> list[str]:
    return [f"{each.name}: {each.value} {each.why}" for each in report.facts]


@hr.pipeline
def all() -> None:
    for kind in ("empty", "one", "nan", "none", "feature", "huge", "endless"):
        table = rows(kind)
        how = {"target": "y", "features": ["x"]}
        judged = {"resamples": 100, "gates": ""}
        ingest.check(table, ingest.Contract(columns={"x": ingest.Column(nan=False)}))
        prepare.clean(table, [prepare.Trim(columns="*"), prepare.Fill(columns="x", how="mean")])
        prepare.split(table, target="y", leak="warn")
        prepare.transform(table, sql="select avg(x) as x from data")
        prepare.tokenizer(table, column="text", vocab_size=300)
        train.sklearn(LogisticRegression(), table, **how)
        train.sklearn(LinearRegression(), table, **how)
        train.lightgbm({"objective": "binary"}, table, **how)
        train.torch(net, table, **how, epochs=1, retries=0)
        for found in (
            evaluate.classification(None, table, target="y", scores="x", **judged),
            evaluate.regression(None, table, target="y", scores="x", **judged),
            evaluate.generation(None, table, references="text", texts="text", **judged),
        ):
            told(found.report)
"""

FAULTS = {
    "empty": {
        "tokenizer": "column `text` has no text to learn from",
        "sklearn": "there are no rows to learn from",
        "lightgbm": "there are no rows to learn from",
        "torch": "the table is empty",
        "classification": "there are no rows (`y`)",
        "regression": "there are no rows (`y`)",
        "generation": "there are no rows (`text`)",
    },
    "one": {
        "sklearn": "all 60 values of the target `y` are `1.0`",
        "lightgbm": "all 60 values of the target `y` are `1.0`",
    },
    "nan": {
        "sklearn": "1 of 60 targets in `y` are missing",
        "lightgbm": "1 of 60 targets in `y` are missing",
        "torch": "`y` is missing or not finite in 1 of 60 rows",
    },
    "none": {
        "sklearn": "60 of 60 targets in `y` are missing",
        "lightgbm": "60 of 60 targets in `y` are missing",
        "torch": "`y` is missing or not finite in 60 of 60 rows",
        "classification": "none of the 60 rows has a target (`y`)",
        "regression": "none of the 60 rows has a target (`y`)",
    },
    "feature": {
        "sklearn": "can't be fitted: Input X contains NaN",
        "torch": "the loss is nan at step 1",
        "classification": "gives no number for 1 of 60 rows; the first is row 3",
        "regression": "gives no number for 1 of 60 rows; the first is row 3",
    },
    "huge": {
        "sklearn": "can't be fitted",
        "lightgbm": "the target `y` has values as large as 1e+308, which LightGBM treats as infinite",
        "regression": "the target `y` has the value -1e+308, whose square is too large to compute",
        "torch": "`y` has values beyond 3.4e38",
    },
    "endless": {
        "sklearn": "1 of 60 targets in `y` are infinite",
        "lightgbm": "1 of 60 targets in `y` are infinite",
        "regression": "the target `y` has the value inf, whose square is too large to compute",
        "torch": "`y` is missing or not finite in 1 of 60 rows",
        "classification": "one score per row is given, but there are 3 classes",
    },
}
"""What each stage says, where it fails; those that aren't named here succeed."""

SAID = {
    "one": ("AUC: None all 60 rows are of one class", "R2: None all targets are equal, so there is nothing to explain"),
    "nan": ("rows: 59 ", "rows without a target: 1 ", "BLEU: None the texts are too short for BLEU"),
}
"""What the reports of `evaluate` say."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Done]]:
    with lent(tmp_path_factory.mktemp("faults") / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project, project.headrace("run", "all", "--json")


@pytest.mark.parametrize("kind", FAULTS)
def test_each_stage_does_what_can_be_done_or_says_what_is_wrong_once(ran: tuple[Project, Done], kind: str) -> None:
    _, done = ran
    assert done.code == 1, done.err
    tasks = of_kind(done, kind)
    failed = [each for each in tasks if each["state"] == "failed"]
    for each in failed:
        stage = each["stage"]
        assert stage in FAULTS[kind], f"{stage}: {each['reason']}"
        assert FAULTS[kind][stage] in each["reason"]
        assert "\nhint: " in each["reason"]
    assert {each["stage"] for each in failed} == set(FAULTS[kind])
    # tables of the same texts have the same report of them: what is told of it may be reused from another kind
    reused = {each["stage"] for each in tasks if each["state"] == "reused"}
    assert reused <= {"told"}
    assert {each["state"] for each in tasks} <= {"succeeded", "reused", "failed", "skipped"}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_undefined_or_left_out_is_said(ran: tuple[Project, Done], kind: str, tmp_path: Path) -> None:
    project, done = ran
    found: list[str] = []
    for each in of_kind(done, kind):
        if each["stage"] == "told":
            target = tmp_path / f"{each['name']}.json"
            assert project.headrace("get", done.json["run"], each["name"], "--to", str(target)).code == 0
            found += json.loads(target.read_text())
    for words in SAID[kind]:
        assert any(words in each for each in found), f"`{words}` is not in {found}"


def test_no_traceback_of_ours_is_shown(ran: tuple[Project, Done]) -> None:
    project, done = ran
    assert "Traceback" not in done.err + project.headrace("logs", done.json["run"]).out


def of_kind(done: Done, kind: str) -> list[dict[str, Any]]:
    """Return the tasks of a kind of rows."""
    tasks = done.json["tasks"]
    starts = [place for place, each in enumerate(tasks) if each["stage"] == "rows"]
    at = list(FAULTS).index(kind)
    return list(tasks[starts[at] + 1 : [*starts, len(tasks)][at + 1]])
