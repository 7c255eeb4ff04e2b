"""A table of 400 MB from stage to stage: saving it, loading it, and the memory of the workers.

The floor of saving is a process that writes the same table as Arrow IPC, digests the file and syncs it, one after the
other. In turns, and the files are kept in both: a guest's first touch of memory is slow, reused pages are not.
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
from typing import Any

import msgspec
import pyarrow as pa
from blake3 import blake3

from bench.command import headrace, project
from bench.memory import peak_pss_mib
from bench.table import Row
from bench.turns import in_turns

COLUMNS, ROWS = 5, 10_000_000
TABLE_MIB = COLUMNS * ROWS * 8 / 2**20
SAVE_BAR, LOAD_BAR_S = 1.2, 0.010
PSS_BAR_MIB = 1.1 * TABLE_MIB + 100
PIECE_BYTES = 1 << 20
MOST_ROUNDS = 5  # each leaves 800 MB behind

# From buffers: what `pa.array` makes of a NumPy array imports pandas first, where that is installed.
TABLE = """\
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def numbers(seed: int, columns: int, rows: int) -> pa.Table:
    draw = np.random.default_rng(seed)
    buffers = [pa.py_buffer(draw.random(rows)) for _ in range(columns)]
    arrays = [pa.Array.from_buffers(pa.float64(), rows, [None, each]) for each in buffers]
    return pa.table(arrays, [f"c{i}" for i in range(columns)])
"""
CODE = f"""\
import headrace as hr
{TABLE}

@hr.stage
def make(seed: int) -> pa.Table:
    return numbers(seed, {COLUMNS}, {ROWS})


@hr.stage
def total(table: pa.Table) -> float:
    return sum(pc.sum(column).as_py() for column in table.columns)


@hr.pipeline
def handoff(seed: int = 0) -> None:
    total(make(seed))
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Hand tables over and write them by hand, in turns; then look at the memory, undisturbed by the timing."""
    place = project(folder / "project", CODE)
    kept = folder / "kept"
    kept.mkdir()
    seeds = count()
    loads: list[float] = []

    def save() -> float:
        tasks = _handed_over(place, next(seeds))
        loads.append(tasks["total"]["load_s"])
        return float(tasks["make"]["save_s"])

    def write() -> float:
        words = [sys.executable, "-m", "bench.handoff", str(kept / "table"), str(next(seeds))]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    save()
    loads.clear()
    found = {name: median(s) for name, s in in_turns(min(rounds, MOST_ROUNDS), {"save": save, "write": write}).items()}
    yield Row(
        what="400 MB Arrow table: save_s",
        measured=found["save"],
        floor=found["write"],
        bar=SAVE_BAR * found["write"],
        bar_is=f"{SAVE_BAR:g} x the floor",
        floor_is="to write, digest and sync the same table, one after the other, in a process of its own",
    )
    yield Row(what="400 MB Arrow table: load_s", measured=median(loads), bar=LOAD_BAR_S)
    yield Row(
        what="400 MB Arrow table: peak PSS of the workers",
        measured=max(peak_pss_mib(["run", "one.py:handoff", "--seed", str(next(seeds))], place) for _ in range(2)),
        floor=TABLE_MIB,
        bar=PSS_BAR_MIB,
        unit="MiB",
        bar_is="1.1 x the table + 100 MiB",
        floor_is="the table; counted are all processes that the driver has begun, together",
    )


def _handed_over(place: Path, seed: int) -> dict[str, dict[str, Any]]:
    out = place / "run.json"
    headrace(["run", "one.py:handoff", "--seed", str(seed), "--json"], place, out=out)
    return {task["name"]: task for task in msgspec.json.decode(out.read_bytes())["tasks"]}


def _write(path: Path, table: Any) -> float:
    """Return the seconds that it takes to write, digest and sync a table."""
    piece = memoryview(bytearray(PIECE_BYTES))
    hasher = blake3()
    began = time.perf_counter()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    descriptor = os.open(path, os.O_RDONLY)
    while count := os.readv(descriptor, [piece]):
        hasher.update(piece[:count])
    os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter() - began


def main() -> None:
    """Be the floor's process: make a table, write it beside a path, print the seconds."""
    path, seed = sys.argv[1:]
    space: dict[str, Any] = {}
    exec(TABLE, space)
    print(_write(Path(f"{path}-{seed}"), space["numbers"](int(seed), COLUMNS, ROWS)))


if __name__ == "__main__":
    main()
