"""`evaluate.classification` of 50,000 rows: 133 slices of four columns and their pairs, groups of people, robustness.

Seconds of CPU, since a judge shares its machine, on one thread, as a stage runs that declares one cpu (a second thread
of the matrix library would wait in a loop for its next few rows, and count). The floor is what any judge of these rows
would have the model say: all rows once, and 5,000 of them with each feature missing, shifted and shuffled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from bench.table import Row
from bench.turns import in_turns

ROWS, LEARNED, SOME = 50_000, 20_000, 5_000
DISTURBED = 3
BAR_S = 3.0


def rows(folder: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001  it keeps nothing
    """Measure the judge and what the model takes alone, in turns."""
    from headrace.models.hints import text_columns  # noqa: PLC0415  an optional library's
    from headrace.stages import evaluate  # noqa: PLC0415
    from headrace.stages.train import lightgbm  # noqa: PLC0415

    parameters = {"objective": "binary", "verbose": -1, "seed": 1, "num_threads": 1}
    model = lightgbm(parameters, people(LEARNED, 1), target="rich", num_boost_round=100).model
    table = people(ROWS, 2)
    frame = table.select(model.feature_name()).to_pandas()
    frame = frame.astype(dict.fromkeys(text_columns(frame), "category"))

    def judge() -> None:
        evaluate.classification(
            model, table, target="rich", slices=["sex", "race", "age", "work"], sensitive=["sex", "race"]
        )

    def ask() -> None:
        model.predict(frame)
        for _ in range(DISTURBED * len(frame.columns)):
            model.predict(frame[:SOME])

    judge()  # libraries are imported by now
    with threadpool_limits(1):
        turns = in_turns(rounds, {"ours": lambda: _cpu_s(judge), "floor": lambda: _cpu_s(ask)})
    yield Row(
        what="`evaluate.classification` of 50,000 rows, 133 slices: CPU time with one thread",
        measured=median(turns["ours"]),
        floor=median(turns["floor"]),
        bar=BAR_S,
        floor_is="predictions of the model: one for all rows, and three for each feature on 5,000 disturbed rows",
    )


def people(count: int, seed: int) -> pa.Table:
    """Return people, and who of them is rich."""
    random = np.random.default_rng(seed)
    age, hours, education = (random.integers(low, high, count) for low, high in ((17, 90), (1, 99), (1, 16)))
    sex, race = (
        random.choice(["f", "m"], count, p=[0.3, 0.7]),
        random.choice([*"abcde"], count, p=[0.85, 0.1, *[0.05 / 3] * 3]),
    )
    more = {f"x{place}": random.normal(size=count) for place in range(5)}
    odds = -6 + 0.03 * age + 0.25 * education + 0.02 * hours + 0.5 * (sex == "m") + more["x0"] / 2
    texts = {"sex": sex, "race": race, "work": random.choice([*"abcdefg"], count)}
    rich = random.random(count) < 1 / (1 + np.exp(-odds))
    return pa.table({"age": age, "hours": hours, "education": education, **texts, **more, "rich": rich})


def _cpu_s(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
