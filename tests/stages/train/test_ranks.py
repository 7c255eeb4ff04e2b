"""Several processes train one network: on the real command, with real processes, and real signals to them.

Each test imports PyTorch in some ten processes, so all but one are heavy.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Done, Project, finish, lent, wait_for

pytest.importorskip("torch")
LONG_S = 300.0

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
    \"\"\"In step 30 the last of its ranks does what it is told, once.\"\"\"

    steps = 0

    def __init__(self, inputs: int, outputs: int, trouble: str = "", dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(inputs, 24), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(24, outputs)
        )
        self.trouble = trouble

    def forward(self, x):
        Net.steps += self.training
        last = int(os.environ.get("RANK", 0)) == int(os.environ.get("WORLD_SIZE", 1)) - 1
        if self.trouble and Net.steps == 30 and last and not MARKER.exists():
            MARKER.write_text(str(os.getpid()))
            if self.trouble == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "raise":
                raise ValueError("a rank is unhappy")
            signal.pause()
        return self.layers(x)


@hr.stage
def rows(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return pa.table({**{f"f{i}": x[:, i] for i in range(4)}, "y": x.sum(1) + rng.normal(size=n) > 0})


@hr.stage(cache=False)
def told(model: train.Network, history: pa.Table) -> dict:
    return {"weights": [each.ravel().tolist() for each in model.state.values()], "history": history.to_pylist()}


OPTIONS = dict(
    target="y", epochs=3, batch_size=64, lr=0.01, checkpoint_every=5, retries=0, resources=hr.Resources(cpu=0.5)
)


@hr.pipeline
def alike(procs: int = 2, nodes: int = 1, trouble: str = "") -> None:
    table, valid = rows(1281), rows(203)  # neither can be shared evenly, and the last batch has one row
    for word, options in (("", {}), (trouble, {"procs": procs, "nodes": nodes})):
        trained = train.torch(partial(Net, trouble=word), table, valid=valid, **OPTIONS, **options)
        told(trained.model, trained.history)


@hr.pipeline
def fit(trouble: str = "", dropout: float = 0.1, retries: int = 0, nodes: int = 1, procs: int = 2) -> None:
    model = partial(Net, trouble=trouble, dropout=dropout)
    options = {**OPTIONS, "retries": retries, "procs": procs, "nodes": nodes}
    trained = train.torch(model, rows(1281), valid=rows(203), **options)
    told(trained.model, trained.history)
"""
TWO_NODES = """
[pool.local]
nodes = 2
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.environment["MARKER"] = str(tmp_path / "marker")
        project.write("pipelines.py", PIPELINES)
        yield project


def headrace(project: Project, *words: str) -> Done:
    """Run the command to its end: each process imports PyTorch, which takes its time on a busy machine."""
    return finish(project.start(*words), LONG_S)


def run(project: Project, *words: str) -> tuple[str, dict[str, Any]]:
    """Run a pipeline that succeeds; return its number and what each `told` says."""
    done = headrace(project, "run", *words, "--json")
    assert done.code == 0, done.out + done.err
    found = {}
    for name in done.task:
        if name.startswith("told"):
            path = project.root / f"{name}.json"
            assert project.headrace("get", done.json["run"], name, "--to", str(path)).code == 0
            found[name] = json.loads(path.read_text())
    return done.json["run"], found


def check_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Sums of several parts round otherwise than a sum of all: by 1e-6 a step, and no more."""
    for mine, theirs in zip(one["history"], other["history"], strict=True):
        assert mine == pytest.approx(theirs, abs=2e-5)
    for mine, theirs in zip(one["weights"], other["weights"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
def test_two_processes_one_of_which_is_killed_have_the_losses_that_one_has(project: Project) -> None:
    number, told = run(project, "alike", "--trouble", "die")
    check_alike(told["told"], told["told[1]"])
    log = project.headrace("logs", number, "torch[1]").out
    assert "training goes on from the checkpoint of step" in log, log
    assert project.headrace("show", number, "--json").task["torch[1]"]["attempts"] == 1


@pytest.mark.heavy
def test_two_processes_have_the_losses_that_one_has(project: Project) -> None:
    _, told = run(project, "alike")
    check_alike(told["told"], told["told[1]"])


@pytest.mark.heavy
def test_a_rank_that_is_killed_begins_again_and_all_ends_as_if_nothing_had_been(project: Project) -> None:
    number, troubled = run(project, "fit", "--trouble", "die")
    log = project.headrace("logs", number, "torch").out
    assert "training goes on from the checkpoint of step" in log, log
    assert project.headrace("show", number, "--json").task["torch"]["attempts"] == 1
    _, undisturbed = run(project, "fit")
    assert troubled == undisturbed  # each rank's dropout too


@pytest.mark.heavy
def test_four_processes_have_the_losses_that_one_has(project: Project) -> None:
    _, told = run(project, "alike", "--procs", "4")
    check_alike(told["told"], told["told[1]"])


@pytest.mark.heavy
def test_two_nodes_have_the_losses_that_one_has(project: Project) -> None:
    project.write("headrace.toml", TWO_NODES)
    done = headrace(project, "run", "alike", "--procs", "1", "--nodes", "2", "--force", "torch", "--json")
    assert done.code == 0, done.out
    told = {}
    for name in ("told", "told[1]"):
        path = project.root / f"{name}.json"
        project.headrace("get", done.json["run"], name, "--to", str(path))
        told[name] = json.loads(path.read_text())
    check_alike(told["told"], told["told[1]"])


@pytest.mark.heavy
def test_where_a_node_s_rank_is_killed_the_attempt_begins_again_on_all_nodes(project: Project) -> None:
    project.write("headrace.toml", TWO_NODES)
    words = ("--nodes", "2", "--procs", "1", "--retries", "1")
    number, troubled = run(project, "fit", "--trouble", "die", *words)
    assert project.headrace("show", number, "--json").task["torch"]["attempts"] == 2
    assert "training goes on from the checkpoint of step" in project.headrace("logs", number, "torch").out
    _, undisturbed = run(project, "fit", *words)
    assert troubled == undisturbed


@pytest.mark.heavy
def test_what_a_rank_raises_is_the_task_s_error(project: Project) -> None:
    done = headrace(project, "run", "fit", "--trouble", "raise", "--json")
    assert done.code == 1
    assert "rank 1 raised ValueError: a rank is unhappy" in done.task["torch"]["reason"]
    assert "in forward" in project.headrace("logs", done.json["run"], "torch").out


@pytest.mark.heavy
def test_a_run_that_is_cancelled_leaves_no_rank_behind(project: Project) -> None:
    running = project.start("run", "fit", "--trouble", "wait")
    wait_for(lambda: Path(project.environment["MARKER"]).exists(), LONG_S)
    number = project.headrace("runs", "--json").json["runs"][0]["run"]
    assert project.headrace("cancel", number).code == 0
    running.communicate()
    assert running.returncode == 3
    project.check_no_process_is_left()


@pytest.mark.heavy
def test_ranks_end_by_themselves_where_all_above_them_is_killed(project: Project) -> None:
    running = project.start("run", "fit", "--trouble", "wait")
    wait_for(lambda: Path(project.environment["MARKER"]).exists(), LONG_S)
    below = ("headrace.stages.train._torch.rank", "headrace.stages.train._torch.gang")
    above = [each for each in project.processes() if not any(word in each for word in below)]
    assert len(project.processes()) - len(above) == 3
    for each in above:
        os.kill(int(each.split()[0]), signal.SIGKILL)
    running.communicate()
    project.check_no_process_is_left()
