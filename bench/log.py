"""`hr.log`: 100,000 numbers from a loop, and what they leave in the ledger.

The stage times its own loop, without and with the calls, so what is measured is what the caller waits for. The floor is
to keep the same number in a list with its step and the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from bench.command import headrace, project
from bench.table import Row, amount
from bench.turns import in_turns

POINTS = 100_000
BAR_S = 0.000005
CODE = """\
import time

import headrace as hr


@hr.stage(cache=False)
def work(points: int, salt: int) -> dict[str, float]:
    began = time.perf_counter()
    for step in range(points):
        hr.log("train/loss", 1 / (step + 1), step)
    logged = time.perf_counter() - began
    kept = []
    began = time.perf_counter()
    for step in range(points):
        kept.append(("train/loss", 1 / (step + 1), step, time.time()))
    return {"logged": logged, "kept": time.perf_counter() - began}


@hr.pipeline
def log(points: int = 0, salt: int = 0) -> None:
    work(points, salt)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the loop with and without the calls, and the whole command with and without the numbers."""
    place = project(folder / "project", CODE)
    salts = count()

    def run(points: int) -> tuple[float, dict[str, float]]:
        took = headrace(["run", "one.py:log", "--points", str(points), "--salt", str(next(salts))], place)
        out = place / "work.json"
        headrace(["get", "latest", "work", "--to", str(out)], place)
        return took.wall_s, json.loads(out.read_text())

    run(1)
    turns = in_turns(rounds, {"all": lambda: run(POINTS), "none": lambda: run(1)})
    loops = [out for _, out in turns["all"]]
    yield Row(
        what="hr.log: one number in a loop of 100,000",
        measured=median(each["logged"] for each in loops) / POINTS,
        floor=median(each["kept"] for each in loops) / POINTS,
        bar=BAR_S,
        floor_is="the number kept in a list, with its step and the time",
    )
    whole = median(wall_s for wall_s, _ in turns["all"]) - median(wall_s for wall_s, _ in turns["none"])
    loop = median(sum(each.values()) for each in loops)
    size = (place / ".headrace" / "ledger.db").stat().st_size / (rounds * POINTS)
    yield Row(
        what="hr.log: one number, by the time of the whole run minus that of a run with one number",
        measured=whole / POINTS,
        bar=2 * BAR_S,
        note=f"{amount(loop, 's')} of it in the two loops; the ledger grew by {size:.0f} bytes a number",
    )
