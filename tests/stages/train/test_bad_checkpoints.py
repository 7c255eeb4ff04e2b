"""Checkpoints that are damaged, or half written when all is killed: on the real command, with real bytes and signals.

Whatever becomes of them, a training ends with the weights that it would have had.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.projects import Project, finish, lent, wait_for

pytest.importorskip("torch")
LONG_S = 300.0
TRIES = 5

PIPELINES = """
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import headrace as hr
from headrace.stages import train

MARKER = Path(os.environ["MARKER"])


class Net(torch.nn.Module):
    \"\"\"In its 40th step it fails, once, where it is told to.\"\"\"

    steps = 0

    def __init__(self, inputs: int, outputs: int, ballast: int, step_s: float) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)
        self.register_buffer("ballast", torch.arange(ballast, dtype=torch.float32))
        self.step_s = step_s

    def forward(self, x):
        Net.steps += self.training
        if Net.steps == 38 and os.environ.get("TROUBLE") and not MARKER.exists():
            time.sleep(2)  # until the last checkpoint is written; in the next step it is found so, and kept
        if Net.steps == 40 and os.environ.get("TROUBLE") and not MARKER.exists():
            MARKER.write_text("x")
            raise ValueError("the power is gone")
        time.sleep(self.step_s)
        return self.layer(x)


@hr.stage
def rows(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return pa.table({**{f"f{i}": x[:, i] for i in range(4)}, "y": x.sum(1) + rng.normal(size=n) > 0})


@hr.stage(cache=False)
def told(model: train.Network, history: pa.Table) -> list:
    return [float(each.double().sum()) for each in model.state.values()] + history.to_pylist()


def trained(table: pa.Table, ballast: int, every: int, procs: int, step_s: float = 0.0) -> train.Trained:
    return train.torch(
        partial(Net, ballast=ballast, step_s=step_s), table, target="y", epochs=2, batch_size=50,
        optimizer="SGD", lr=0.05, checkpoint_every=every, retries=0, procs=procs, resources=hr.Resources(cpu=1),
    )


@hr.pipeline
def fit(ballast: int, every: int = 5, step_s: float = 0.0) -> None:
    found = trained(rows(2000), ballast, every, 1, step_s)
    told(found.model, found.history)


@hr.pipeline
def twice(procs: int = 1) -> None:
    # After the first training, undisturbed by then, the same again.
    first = trained(rows(2000), 100_000, 5, procs)
    told(first.model, first.history)
    with hr.options(cache=False):
        again = trained(rows(2000, after=first.history), 100_000, 5, procs)
    told(again.model, again.history)
"""


def cpus(count: int) -> str:
    return f"[pool.local]\ncpu = {count}\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", cpus(1)) as project:  # one worker does it all, and imports PyTorch once
        project.environment["MARKER"] = str(tmp_path / "marker")
        project.write("pipelines.py", PIPELINES)
        yield project


def learned(project: Project, run: str) -> str:
    """Return the digest of what was learned: it is the same for the same weights and history."""
    return str(project.headrace("show", run, "--json").task["told"]["outputs"])


def blobs(project: Project, least: int, most: int) -> list[Path]:
    """Return the blobs of these sizes."""
    found = (project.home / "store" / "blobs").glob("*/*")
    return [path for path in found if least <= path.stat().st_size <= most]


TENSORS, REST = (390_000, 500_000), (10_000, 25_000)
"""In these projects only the two parts of a checkpoint have these sizes, in bytes."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


def last(paths: list[Path]) -> Path:
    return max(paths, key=lambda path: path.stat().st_mtime_ns)


def failed(project: Project, *words: str) -> str:
    """Run a training that fails in its 40th step; return the run."""
    project.environment["TROUBLE"] = "stop"
    died = finish(project.start("run", *words), LONG_S)
    assert (died.code, died.task["torch"]["state"]) == (1, "failed"), died.out
    return str(died.json["run"])


def check_resumed(project: Project, run: str) -> str:
    """Have the run go on, and hold what it learned against an undisturbed training; return what the first printed."""
    resumed = finish(project.start("resume", run, "--json"), LONG_S)
    assert resumed.code == 0, resumed.out + resumed.err
    assert resumed.task["torch[1]"]["state"] == "succeeded"
    assert resumed.task["told"]["outputs"] == resumed.task["told[1]"]["outputs"]
    assert "checkpoint" not in project.headrace("logs", run, "torch[1]").out, "it was disturbed too"
    return project.headrace("logs", run, "torch").out


def test_where_the_last_checkpoint_is_damaged_the_one_before_it_is_used(project: Project) -> None:
    run = failed(project, "twice", "--json")
    flip(last(blobs(project, *TENSORS)))
    log = check_resumed(project, run)
    assert "the last checkpoint can't be used, so the one before it is used: the blob" in log, log
    assert "training goes on from the checkpoint of step 30" in log, log


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("harm", "part", "procs"),
    [
        (flip, TENSORS, 1),
        (flip, REST, 1),
        (truncate, TENSORS, 1),
        (truncate, REST, 1),
        (Path.unlink, TENSORS, 1),
        (flip, TENSORS, 2),
    ],
)
def test_where_all_checkpoints_are_damaged_that_is_said_and_training_begins_anew(
    project: Project, harm: Callable[[Path], None], part: tuple[int, int], procs: int
) -> None:
    project.write("headrace.toml", cpus(procs))
    run = failed(project, "twice", "--procs", str(procs), "--json")
    harmed = blobs(project, *part)
    assert harmed
    for path in harmed:
        harm(path)
    log = check_resumed(project, run)
    assert "the checkpoint can't be used, so training begins anew" in log, log
    assert log.count("Traceback") <= 2 * procs, log  # of what the first attempt raised


@pytest.mark.heavy  # tests/stages/train/test_resume.py kills a training with small checkpoints at any moment
@pytest.mark.parametrize("megabytes", [100, 500])
def test_a_checkpoint_that_is_half_written_when_all_is_killed_is_none(project: Project, megabytes: int) -> None:
    size = megabytes * 1_000_000
    words = ("fit", "--ballast", str(size // 4), "--step-s", "0.05", "--json")
    running = project.start("run", *words)
    tmp = project.home / "store" / "tmp"

    def half() -> bool:  # a draft: what is whole has its place elsewhere
        return any(written(path) > size // 8 for path in tmp.glob("*"))

    wait_for(lambda: blobs(project, size, 2 * size), LONG_S)
    wait_for(half, LONG_S)
    project.kill_all()
    running.communicate()
    run = project.headrace("runs", "--json").json["runs"][0]["run"]
    for _ in range(TRIES):
        if half():
            break
        running = project.start("resume", run, "--json")  # it was whole a moment before it was killed
        wait_for(half, LONG_S)
        project.kill_all()
        running.communicate()
    assert half()
    resumed = finish(project.start("resume", run, "--json"), LONG_S)
    assert resumed.code == 0, resumed.out + resumed.err
    log = project.headrace("logs", run, "torch").out
    assert "training goes on from the checkpoint of step" in log, log
    assert "can't be used" not in log, log
    undisturbed = finish(project.start("run", *words, "--every", "1000"), LONG_S)
    assert undisturbed.code == 0, undisturbed.out + undisturbed.err
    assert learned(project, undisturbed.json["run"]) == learned(project, run)
    shutil.rmtree(project.home / "store" / "blobs")  # a gigabyte, that pytest would keep


def written(path: Path) -> int:
    """Return how much of a file is written, which has its whole length from the first; 0 if it has gone meanwhile."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
