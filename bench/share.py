"""The framework's share of a training stage of 60 s: the same loop in a process of its own beside `train.torch`.

A step takes 20 ms, most of which the model waits, as for a GPU: what is measured is what else happens meanwhile. Both
sides import PyTorch, read the table and take the same steps, in one thread each: with two, the script took 12 s longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from bench.command import headrace, project
from bench.table import Row
from bench.turns import in_turns

STEPS = 3000
SHARE_BAR = 1.01

MODEL = """\
import time

import numpy as np
import pyarrow as pa
import torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(10, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))

    def forward(self, x):
        time.sleep(0.019)
        return self.layers(x)


def numbers(n: int) -> pa.Table:
    draw = np.random.default_rng(0).random((n, 11))
    return pa.table({f"c{i}": draw[:, i] for i in range(11)})
"""
CODE = f"""\
import headrace as hr
from headrace.stages import train
{MODEL}

@hr.stage
def rows(n: int) -> pa.Table:
    return numbers(n)


@hr.pipeline
def share(seed: int = 0) -> None:
    train.torch(Net, rows({STEPS} * 32), target="c0", epochs=1, batch_size=32, lr=1e-3, seed=seed)
"""
BARE = f"""\
import sys
{MODEL}

def main(path: str, seed: int) -> None:
    torch.manual_seed(seed)
    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    columns = [column.to_numpy().astype(np.float32) for column in table.columns]
    x, y = torch.from_numpy(np.stack(columns[1:], 1)), torch.from_numpy(columns[0])
    net, loss = Net(), torch.nn.MSELoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    order = torch.randperm(len(x))
    for start in range(0, len(x), 32):
        some = order[start : start + 32]
        optimizer.zero_grad()
        value = loss(net(x[some]).squeeze(1), y[some])
        value.backward()
        optimizer.step()
        value.item()
    torch.save(net.state_dict(), f"{{path}}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Train with and without Headrace, in turns."""
    place = project(folder / "project", CODE)
    script, table = folder / "bare.py", folder / "table"
    script.write_text(BARE)
    space = f"import bare, pyarrow as pa; t = bare.numbers({STEPS} * 32); f = pa.OSFile({str(table)!r}, 'wb'); "
    write = "w = pa.ipc.new_file(f, t.schema); w.write_table(t); w.close(); f.close()"
    subprocess.run([sys.executable, "-c", space + write], check=True, cwd=folder)
    seeds = count()

    def stage() -> float:
        out = place / "run.json"
        headrace(["run", "one.py:share", "--seed", str(next(seeds)), "--json"], place, out=out)
        [task] = [task for task in msgspec.json.decode(out.read_bytes())["tasks"] if task["name"] == "torch"]
        return float(task["load_s"] + task["seconds"] + task["save_s"])

    def bare() -> float:
        began = time.perf_counter()
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # as a stage has it that declares one cpu
        subprocess.run([sys.executable, str(script), str(table), "0"], check=True, env=alone)
        return time.perf_counter() - began

    found = {name: median(each) for name, each in in_turns(min(rounds, 3), {"stage": stage, "bare": bare}).items()}
    yield Row(
        what="train.torch: a stage of 60 s, compared with the same loop as a script",
        measured=found["stage"],
        floor=found["bare"],
        bar=SHARE_BAR * found["bare"],
        bar_is=f"{SHARE_BAR:g} x the floor",
        floor_is="the same loop as a script, from its start to its end",
    )
