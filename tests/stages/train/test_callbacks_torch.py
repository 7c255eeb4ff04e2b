"""Callbacks for loops of one's own and for Hugging Face: what they log, on the real command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, lent

pytest.importorskip("torch")

PIPELINES = """
import headrace as hr
from headrace.stages.train import callbacks


@hr.stage(kind="train")
def loop(steps: int) -> int:
    import torch

    done = callbacks.torch(every=2)
    for step in range(1, steps + 1):
        if done(step, loss=torch.tensor(1.0 / step, requires_grad=True), lr=0.1):
            break
    return step


@hr.stage(kind="train")
def face() -> str:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    live = callbacks.transformers()
    state, control = TrainerState(global_step=7), TrainerControl()
    live.on_log(None, state, control, logs={"loss": 0.5, "eval_loss": 0.7, "train_runtime": 3.0, "note": "x"})
    live.on_log(None, state, control, logs={"train_loss": 0.9})
    live.on_step_end(None, state, control)
    return "going on" if not control.should_training_stop else "ended"


@hr.pipeline
def both() -> None:
    loop(5)
    face()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        project.write("headrace.toml", "[pool.local]\ncpu = 1\n")  # one worker: it imports PyTorch once
        yield project


def test_loops_and_trainers_are_logged(project: Project) -> None:
    pytest.importorskip("transformers")
    done = project.headrace("run", "both", "--json")
    assert done.code == 0, done.out
    shown = project.headrace("show", done.json["run"]).out
    for name in ("train/loss", "train/lr", "valid/loss", "train/runtime"):
        assert name in shown, shown
    face = project.headrace("show", done.json["run"], "--json").task["face"]
    assert face["metrics"]["train/loss"]["last"] == 0.5, "the mean over all steps is no point of the curve"
