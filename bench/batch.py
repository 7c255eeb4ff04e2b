"""`deploy.batch` of 10,000,000 rows: what it takes beside the model's own calls, and the memory.

The floor is a process that opens the same Arrow file, asks the same model about as many rows at once, and writes the
answers beside the id to one file as Arrow IPC, without digest, sync or checkpoint. Both have one thread. What is
measured is the stage and what is left to save after it, as `show --json` tells them. In turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.command import environment, headrace, project
from bench.memory import peak_pss_mib
from bench.table import Row
from bench.turns import in_turns

ROWS = 10_000_000
AT_ONCE = 1 << 16
BAR = 1 / 0.9
PEAK_BAR_MIB = 1024
MOST_ROUNDS = 3
TRAINED = 50_000
CODE = f"""\
import numpy as np
import pyarrow as pa
from lightgbm import LGBMRegressor
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.stages import deploy

NAMES = ["c0", "c1", "c2", "c3", "c4"]


@hr.stage
def make(count: int) -> pa.Table:
    random = np.random.default_rng(0)
    columns = {{name: random.random(count) for name in NAMES}}
    return pa.table({{"id": np.arange(count), **columns}})


@hr.stage
def lightgbm(table: pa.Table) -> LGBMRegressor:
    frame = table.slice(0, {TRAINED}).select(NAMES).to_pandas()
    model = LGBMRegressor(n_estimators=100, num_leaves=31, n_jobs=1, verbose=-1)
    return model.fit(frame, frame["c0"] * frame["c1"] + np.sin(6 * frame["c2"]))


@hr.stage
def logistic(table: pa.Table) -> LogisticRegression:
    frame = table.slice(0, {TRAINED}).select(NAMES).to_pandas()
    return LogisticRegression().fit(frame, frame["c0"] + frame["c1"] > 1)


@hr.pipeline
def batch(kind: str, count: int = {ROWS}) -> None:
    table = make(count)
    model = lightgbm(table) if kind == "lightgbm" else logistic(table)
    with hr.options(cache=False):
        deploy.batch(model, table, keep="id")


@hr.pipeline
def files(kind: str, count: int = {ROWS}) -> None:
    table = make(count)
    write(table, lightgbm(table) if kind == "lightgbm" else logistic(table))


@hr.stage(cache=False)
def write(table: pa.Table, model: object) -> hr.Folder:
    import pickle
    from pathlib import Path

    folder = Path("floor")
    folder.mkdir()
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as target, pa.ipc.new_file(target, table.schema) as writer:
        writer.write_table(table, {AT_ONCE})
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    return hr.Folder(folder)
"""
MODELS = {"lightgbm": "LightGBM with 100 trees of 31 leaves", "logistic": "a logistic regression"}


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the stage and the bare calls in turns, for each model; then the memory."""
    place = project(folder / "project", CODE)
    for kind, called in MODELS.items():
        given = folder / kind
        headrace(["run", "one.py:files", "--kind", kind], place)
        headrace(["get", "latest", "write", "--to", str(given)], place)
        sides: dict[str, Callable[[], float]] = {
            "ours": lambda kind=kind: ours(place, kind),  # type: ignore[misc]
            "bare": lambda given=given: bare(given, folder / "answers.arrow"),  # type: ignore[misc]
        }
        for measure in sides.values():
            measure()
        turns = in_turns(min(rounds, MOST_ROUNDS), sides)
        found = {side: median(times) for side, times in turns.items()}
        rates = {side: ROWS / took for side, took in found.items()}
        yield Row(
            what=f"`deploy.batch` of {ROWS:,} rows by {called}",
            measured=found["ours"],
            floor=found["bare"],
            bar=BAR * found["bare"],
            bar_is="the floor / 0.9",
            floor_is="the model's calls from the same Arrow file to an Arrow file, not digested and not synced",
            note=f"{rates['ours']:,.0f} and {rates['bare']:,.0f} rows a second",
        )
        yield Row(
            what="the same: peak PSS of the workers, with the mapped rows",
            measured=peak_pss_mib(["run", "one.py:batch", "--kind", kind], place),
            bar=PEAK_BAR_MIB,
            unit="MiB",
        )


def ours(place: Path, kind: str) -> float:
    """Return the seconds of the task `batch`."""
    out = place / "run.json"
    headrace(["run", "one.py:batch", "--kind", kind, "--json"], place, out=out)
    task = next(each for each in msgspec.json.decode(out.read_bytes())["tasks"] if each["name"] == "batch")
    headrace(["gc", "--keep", "1s"], place)  # each round leaves 160 or 320 MB
    return float(task["seconds"] + task["save_s"])


def bare(given: Path, target: Path) -> float:
    """Return the seconds of the bare process."""
    words = [sys.executable, "-m", "bench.batch", str(given), str(target)]
    one = {**environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return float(subprocess.run(words, check=True, capture_output=True, text=True, env=one).stdout)


def main() -> None:
    """Be the floor's process: read, predict, write, print the seconds."""
    import pickle  # noqa: PLC0415  the floor's own

    import pyarrow as pa  # noqa: PLC0415  as above

    given, target = Path(sys.argv[1]), sys.argv[2]
    model: Any = pickle.loads((given / "model.pickle").read_bytes())
    names = ["c0", "c1", "c2", "c3", "c4"]
    model.predict(pa.table({name: [0.5] for name in names}).to_pandas())
    began = time.perf_counter()
    table = pa.ipc.open_file(pa.memory_map(str(given / "rows.arrow"))).read_all()
    writer = None
    with pa.OSFile(target, "wb") as file:
        for start in range(0, len(table), AT_ONCE):
            piece = table.slice(start, AT_ONCE)
            frame = piece.select(names).to_pandas()
            columns = {"id": piece["id"], "predicted": model.predict(frame)}
            if hasattr(model, "predict_proba"):
                scores = model.predict_proba(frame)
                columns |= {f"predicted_{name}": scores[:, at] for at, name in enumerate(model.classes_)}
            answers = pa.table(columns)
            if writer is None:
                writer = pa.ipc.new_file(file, answers.schema)
            writer.write_table(answers)
        if writer is not None:
            writer.close()
    print(time.perf_counter() - began)
    os.unlink(target)


if __name__ == "__main__":
    main()
