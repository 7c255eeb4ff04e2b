"""Checkpoints of 500 MB while training goes on: how long a step stands still for one.

The model notes when each step begins. A stall is the longest step that had a checkpoint, less a step that had none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import msgspec

from bench.command import headrace, project
from bench.table import Row

STEPS, EVERY = 600, 200
STALL_BAR_S = 0.6
NOTES = "BENCH_CHECKPOINT_NOTES"

CODE = f"""\
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import headrace as hr
from headrace.stages import train

class Net(torch.nn.Module):
    \"\"\"500 MB, nearly all of it in buffers: a step is then short, and what stands still is seen.\"\"\"

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        for number in range(125):
            self.register_buffer(f"b{{number}}", torch.randn(1 << 20))
        self.notes = open(os.environ["{NOTES}"], "a")

    def forward(self, x):
        self.notes.write(f"{{time.perf_counter()}}\\n")
        self.notes.flush()
        time.sleep(0.02)
        return self.layer(x)


@hr.stage
def rows(n: int) -> pa.Table:
    numbers = np.random.default_rng(0).random((n, 2))
    return pa.table({{"x": numbers[:, 0], "y": numbers[:, 1]}})


@hr.pipeline
def checkpoints(seed: int = 0) -> None:
    train.torch(
        Net, rows({STEPS} * 8), target="y", epochs=1, batch_size=8, checkpoint_every={EVERY}, seed=seed, lr=1e-6
    )
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Train once for each round, on the real command; take the middle of the longest stalls."""
    place = project(folder / "project", CODE)
    with (place / "headrace.toml").open("a") as toml:
        toml.write(f'[run]\nvariables = ["{NOTES}"]\n')
    stalls = []
    for seed in range(min(rounds, 3)):
        notes = folder / f"notes-{seed}"
        os.environ[NOTES] = str(notes)
        out = place / "run.json"
        headrace(["run", "one.py:checkpoints", "--seed", str(seed), "--json"], place, out=out)
        assert msgspec.json.decode(out.read_bytes())["state"] == "succeeded"
        began = [float(line) for line in notes.read_text().split()][:STEPS]  # later, the model shows what it gives
        steps = [after - before for before, after in pairwise(began)]
        stalls.append(max(steps) - median(steps))
    yield Row(
        what="checkpoint of 500 MB while training: the longest stall of a step",
        measured=median(stalls),
        bar=STALL_BAR_S,
        note=f"the longest of {STEPS} steps minus the median step; a checkpoint every {EVERY} steps",
    )
