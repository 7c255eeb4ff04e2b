"""The loader: rows a second beside NumPy, which does the same shuffle from memory maps; and how long a step waits.

Ten columns of float32, in batches of 1,024 rows. NumPy has a file a column, and indexes it with the same permutation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from bench.table import Row
from bench.turns import in_turns
from headrace.stages.train import Loader

COLUMNS, ROWS, BATCH = 10, 4_000_000, 1024
SHARE_BAR = 0.8
STEP_S, STEPS, WAIT_BAR = 0.005, 1000, 0.02


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Read an epoch in turns; then take steps of 5 ms over one, and count the waiting."""
    table, maps = _stored(folder)
    names = table.schema.names

    def numpy(part: int = BATCH) -> float:
        began = time.perf_counter()
        order = np.random.default_rng(0).permutation(ROWS)
        for start in range(0, ROWS, BATCH):
            some = order[start : start + part]
            _ = {name: each[some] for name, each in maps.items()}
        return time.perf_counter() - began

    def loader(world: int = 1) -> float:
        began = time.perf_counter()
        for _ in Loader(table, batch_size=BATCH, shuffle="whole", world=world, rank=world - 1):
            pass
        return time.perf_counter() - began

    found = {
        name: median(each)
        for name, each in in_turns(
            rounds,
            {
                "numpy": numpy,
                "numpy of four": lambda: numpy(BATCH // 4),
                "loader": loader,
                "of four": lambda: loader(4),
                "blocks": lambda: _blocks(table),
            },
        ).items()
    }
    bar_is = f"the floor / {SHARE_BAR:g}"
    floor_is = "NumPy: the same permutation, from a memory map a column"
    floor = found["numpy"]
    yield Row(
        what="loader: a shuffled epoch of 4,000,000 rows x 10 columns",
        measured=found["loader"], floor=floor, bar=floor / SHARE_BAR, bar_is=bar_is, floor_is=floor_is,
    )  # fmt: skip
    yield Row(
        what="loader: one rank's quarter of the epoch",
        measured=found["of four"], floor=found["numpy of four"], bar=found["numpy of four"] / SHARE_BAR,
        bar_is=bar_is, floor_is="NumPy: the same permutation, and a quarter of each batch",
    )  # fmt: skip
    yield Row(
        what="loader: the epoch shuffled by blocks",
        measured=found["blocks"], floor=floor, bar=floor / SHARE_BAR, bar_is=bar_is, floor_is=floor_is,
    )  # fmt: skip
    stacked = Loader(table, batch_size=BATCH, columns={"x": names})
    for _, _batch in zip(range(STEPS), stacked, strict=False):
        time.sleep(STEP_S)
    yield Row(
        what="loader: the time that a step of 5 ms waits for its batch",
        measured=stacked.input_wait_s / STEPS,
        bar=WAIT_BAR * STEP_S,
        bar_is=f"{WAIT_BAR:.0%} of the step",
        note="the mean of 1,000 steps, the first of which waits for the permutation",
    )


def _blocks(table: pa.Table) -> float:
    began = time.perf_counter()
    for _ in Loader(table, batch_size=BATCH, shuffle="blocks"):
        pass
    return time.perf_counter() - began


def _stored(folder: Path) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Write the same columns as a table, in batches as the store has them, and as a file each; map both."""
    draw = np.random.default_rng(0)
    columns = {f"c{i}": draw.random(ROWS, dtype=np.float32) for i in range(COLUMNS)}
    for name, each in columns.items():
        np.save(folder / f"{name}.npy", each)
    table = pa.table(columns)
    with pa.OSFile(str(folder / "table"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 20)
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in columns}
    return pa.ipc.open_file(pa.memory_map(str(folder / "table"))).read_all(), maps
