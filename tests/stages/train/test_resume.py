"""A training that is killed ends with the weights that it would have had: on the real command, with real signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.projects import Project, lent, wait_for

pytest.importorskip("torch")

PIPELINES = """
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import headrace as hr
from headrace.stages import train

MARKER = Path(os.environ["MARKER"])


class Net(torch.nn.Module):
    \"\"\"With all that has a state: dropout, running means. In step 60 it does what it is told, once.\"\"\"

    steps = 0

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(inputs, 24), torch.nn.BatchNorm1d(24), torch.nn.ReLU(), torch.nn.Dropout(0.2),
            torch.nn.Linear(24, outputs),
        )

    def forward(self, x):
        Net.steps += self.training
        if Net.steps == 60 and not MARKER.exists() and (trouble := os.environ.get("TROUBLE")):
            MARKER.write_text(str(os.getpid()))
            if trouble == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        return self.layers(x)


@hr.stage
def rows(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return pa.table({**{f"f{i}": x[:, i] for i in range(4)}, "y": x.sum(1) + rng.normal(size=n) > 0})


@hr.stage(cache=False)
def told(model: train.Network, history: pa.Table, report: object) -> list:
    return [float(each.double().sum()) for each in model.state.values()] + history.to_pylist() + [str(report)]


def trained(table: pa.Table) -> train.Trained:
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    return train.torch(
        Net, table, target="y", valid=rows(200), epochs=4, batch_size=50, optimizer=optimizer,
        scheduler=scheduler, warmup_steps=80, checkpoint_every=5, patience=3,
    )


@hr.pipeline
def fit() -> None:
    found = trained(rows(2000))
    told(found.model, found.history, found.report)


@hr.pipeline
def twice() -> None:
    # After the first training, undisturbed by then, the same again.
    first = trained(rows(2000))
    told(first.model, first.history, first.report)
    with hr.options(cache=False):
        again = trained(rows(2000, after=first.report))
    told(again.model, again.history, again.report)
"""

ONE_CPU = "[pool.local]\ncpu = 1\n"
"""One worker does it all, and imports PyTorch once."""


@contextmanager
def fitting(folder: Path) -> Iterator[Project]:
    with lent(folder / "project", ONE_CPU) as project:
        project.environment["MARKER"] = str(folder / "marker")
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with fitting(tmp_path) as project:
        yield project


def weights(project: Project, run: str) -> list[object]:
    """Return the digests of what was learned: of equal tensors they are equal."""
    done = project.headrace("show", run, "--json")
    [task] = [task for task in done.json["tasks"] if task["name"] == "torch"]
    assert task["state"] == "succeeded", task
    return [done.task["told"]["outputs"], task["attempts"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of what an undisturbed run learns."""
    with fitting(tmp_path_factory.mktemp("undisturbed")) as project:
        done = project.headrace("run", "fit", "--json")
        assert done.code == 0, done.err
        found, attempts = weights(project, done.json["run"])
        assert attempts == 1
        return str(found)


@pytest.mark.heavy
def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_weights(project: Project, undisturbed: str) -> None:
    project.environment["TROUBLE"] = "die"
    done = project.headrace("run", "fit", "--json")
    assert done.code == 0, done.err
    found, attempts = weights(project, done.json["run"])
    assert attempts == 2
    assert str(found) == undisturbed
    log = project.headrace("logs", done.json["run"], "torch").out
    assert "training goes on from the checkpoint of step" in log, log


def test_a_run_that_is_killed_goes_on_with_its_training_where_it_was(project: Project) -> None:
    project.environment["TROUBLE"] = "wait"
    running = project.start("run", "twice")
    wait_for(lambda: Path(project.environment["MARKER"]).exists())
    run = project.headrace("runs", "--json").json["runs"][0]["run"]
    project.kill_all()
    running.communicate()
    done = project.headrace("resume", run, "--json")
    assert done.code == 0, done.err
    tasks = project.headrace("show", run, "--json").task
    assert [tasks[name]["state"] for name in ("torch", "torch[1]")] == ["succeeded", "succeeded"]
    assert tasks["told"]["outputs"] == tasks["told[1]"]["outputs"]
    assert "training goes on from the checkpoint of step" in project.headrace("logs", run, "torch").out
    assert "training goes on from the checkpoint" not in project.headrace("logs", run, "torch[1]").out, "undisturbed"
