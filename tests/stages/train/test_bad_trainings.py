"""Models, columns and shares of memory that no training can do anything with: on the real command, one error each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.projects import Done, Project, check_error, finish, lent

pytest.importorskip("torch")
LONG_S = 300.0

PIPELINES = """
from functools import partial

import pyarrow as pa
import torch

import headrace as hr
from headrace.stages import train


def net(inputs: int, outputs: int) -> torch.nn.Module:
    return torch.nn.Linear(inputs, outputs)


class Huge(torch.nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)

    def forward(self, x):
        torch.empty(1 << 50)
        return super().forward(x)


class Endless(Huge):
    def forward(self, x):
        held = []
        while True:
            held.append(torch.ones(1 << 22))


@hr.stage
def rows(n: int = 64, kind: str = "") -> pa.Table:
    x = [float(each % 7) for each in range(n)]
    y = [each % 2 for each in range(n)]
    if kind == "missing target":
        y = [None] + y[1:]
    if kind == "one class":
        y = [1] * n
    if kind == "missing feature":
        x[5] = None
    return pa.table({"x": pa.array(x, pa.float64()), "text": ["a"] * n, "y": y})


FAST = dict(target="y", features=["x"], epochs=1, batch_size=16, retries=0)
LITTLE = hr.Resources(cpu=1, memory_gib=1.5)


@hr.pipeline
def all_of_them() -> None:
    train.torch(net, rows(kind="missing target"), **FAST)
    train.torch(net, rows(), **{**FAST, "target": "z"})
    train.torch(net, rows(), **{**FAST, "features": ["z"]})
    train.torch(net, rows(), **{**FAST, "features": ["text"]})
    train.torch(partial(net, inputs=3), rows(), **FAST)
    train.torch(net, rows(), valid=rows(0), **FAST)
    train.torch(Huge, rows(), **FAST)
    train.torch(partial(net, inputs=1 << 40), rows(), **FAST)
    train.torch(torch.nn.Linear, rows(), **FAST)
    train.torch(net, rows(), loss=partial(torch.nn.CrossEntropyLoss, reduction="none"), **FAST)
    train.torch(net, rows(kind="one class"), **{**FAST, "retries": 2})
    train.torch(net, rows(kind="missing feature"), **FAST)
    train.torch(Endless, rows(), **FAST, resources=LITTLE)


@hr.pipeline
def endless() -> None:
    train.torch(Endless, rows(), **FAST, procs=2, resources=LITTLE)


@hr.pipeline
def one(epochs: int = 1) -> None:
    train.torch(net, rows(), **{**FAST, "epochs": epochs})
"""


def cpus(count: int) -> str:
    return f"[pool.local]\ncpu = {count}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with lent(tmp_path_factory.mktemp("bad") / "project", cpus(1)) as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.fixture(scope="module")
def done(project: Project) -> Done:
    """One run of all that is bad, in one worker: PyTorch is imported once, and each task fails alone."""
    return finish(project.start("run", "all_of_them", "--json"), LONG_S)


def test_the_run_of_them_fails_and_ends(done: Done) -> None:
    assert (done.code, done.err, done.json["state"]) == (1, "", "failed")


@pytest.mark.parametrize(
    ("task", "kind", "message", "hint"),
    [
        ("torch", "user", "`y` is missing or not finite in 1 of 64 rows", "drop those rows"),
        ("torch[1]", "user", "the table has no column `z`", "its columns are `x`, `text`, `y`"),
        ("torch[2]", "user", "the table has no column `z`", "its columns are `x`, `text`, `y`"),
        ("torch[3]", "user", "column `text` is `string`", "make it a number"),
        ("torch[4]", "user", "16x1 and 3x2", "`x` float32[16, 1], the target int64[16]; `headrace logs` shows where"),
        ("torch[5]", "user", "`valid` is empty", "the stage before this one"),
        ("torch[6]", "memory", "can't allocate memory", "raise `memory_gib`"),
        ("torch[7]", "memory", "can't allocate memory", "raise `memory_gib`"),
        ("torch[8]", "user", "can't make the model: missing a required argument: 'in_features'", "functools.partial"),
        ("torch[9]", "user", "the loss is a tensor of shape (16,)", "the mean over the batch"),
        ("torch[10]", "user", "`y` is 1 in every row", "too narrow"),
        ("torch[11]", "user", "the loss is nan at step ", "`x` has values that are missing or not finite"),
        ("torch[12]", "memory", "it took ", "raise `memory_gib`"),
    ],
)
def test_each_is_one_error_with_what_to_do(done: Done, task: str, kind: str, message: str, hint: str) -> None:
    found = done.task[task]
    assert (found["state"], found["attempts"]) == ("failed", 1)
    told, _, advice = found["reason"].partition("\nhint: ")
    assert told.startswith(f"{kind}: "), told
    assert message in told, told
    assert hint in advice, advice
    assert "\n" not in told + advice, found["reason"]


def test_the_log_has_where_in_the_model_it_was(project: Project, done: Done) -> None:
    log = project.headrace("logs", done.json["run"], "torch[4]").out
    assert "torch/nn/modules/linear.py" in log, log
    assert "headrace/stages" not in log, log


@pytest.mark.heavy
def test_a_number_of_epochs_that_makes_no_sense_is_told_before_anything_runs(project: Project) -> None:
    check_error(finish(project.start("run", "one", "--epochs", "0"), LONG_S), 2, "`epochs` is 0", hint="from 1")


def test_a_model_that_takes_memory_without_end_is_one_error(project: Project, done: Done) -> None:
    check_endless(done.task["torch[12]"]["reason"])
    project.check_no_process_is_left()


@pytest.mark.heavy
def test_a_model_that_takes_memory_without_end_in_two_processes_is_one_error(project: Project) -> None:
    project.write("headrace.toml", cpus(2))
    done = finish(project.start("run", "endless", "--json"), LONG_S)
    assert done.code == 1
    check_endless(done.task["torch"]["reason"])
    project.check_no_process_is_left()


def check_endless(reason: str) -> None:
    assert reason.startswith("memory: it took "), reason
    assert "more than its limit of 1.5 GiB\nhint: raise `memory_gib`" in reason
