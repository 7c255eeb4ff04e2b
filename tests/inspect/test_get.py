"""What `headrace get` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

import headrace as hr
from headrace.inspect.get.get import find
from headrace.inspect.views import Views
from headrace.ledger.ledger import Ledger
from headrace.run.ports import TaskRow
from tests.ledger.samples import blob, first, open_ledger, task_row
from tests.projects import lent

MAPPED = """\
from dataclasses import dataclass
import headrace as hr

@dataclass
class Fitted:
    model: str
    rate: float

@hr.stage(kind="train")
def fit(rate: float) -> Fitted:
    return Fitted(model=f"at {rate}", rate=rate)

@hr.pipeline
def flow() -> None:
    fit.map([0.1, 0.25])
    fit.map([0.1, 0.5])
"""


def test_the_latest_run_stays_the_same_though_another_begins_meanwhile(tmp_path: Path) -> None:
    class Busy(Views):
        """Another run begins whenever a task is looked up."""

        def task(self, run: str | None, task: str) -> TaskRow:
            found = super().task(run, task)
            begin(ledger, "later")
            return found

    def begin(ledger: Ledger, text: str) -> None:
        with ledger.open_run("flights") as run:
            run.commit(first(tasks=[task_row("fit", out=blob(text))]))

    with open_ledger(tmp_path) as ledger:
        begin(ledger, "earlier")
        with Busy(ledger.address) as views:
            assert find(views, "latest", "fit").digest == blob("earlier").digest


def test_a_part_of_one_element_of_a_map_is_found_though_the_elements_name_has_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lent(tmp_path) as project:
        project.write("pipelines.py", MAPPED)
        assert project.headrace("run", "flow").code == 0
        for words in (["get"], ["lineage"], ["register", "--dataset", "rates"]):
            done = project.headrace(words[0], "latest", "fit[rate=0.1].model", *words[1:])
            assert done.code == 0, done
        assert (project.root / "fit[rate=0.1].model.txt").read_text() == "at 0.1"
        assert project.headrace("get", "latest", "fit[1][rate=0.5].model").code == 0
        assert (project.root / "fit[1][rate=0.5].model.txt").read_text() == "at 0.5"
        absent = project.headrace("get", "latest", "fit[rate=0.7].model")
        assert "has no task `fit[rate=0.7]`" in absent.err
        monkeypatch.chdir(project.root)
        [run] = hr.runs()
        assert run["fit[rate=0.25].model"].value() == hr.load(run.id, "fit[rate=0.25].model") == "at 0.25"
