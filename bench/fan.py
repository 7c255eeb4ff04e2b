"""A fan of 1,000 short tasks: `(T(1000) - T(1)) / 999`, where T is the whole command.

Everything is on: the tasks are traced, each gets its key, its retries, a clean state and its output captured, and each
is a row of the ledger. The floor is what no system of two processes can do without: to send a task and its answer
through a pipe, and to digest the answer.

The fan is also run over two pools of half the cpus each, and held against the same in one pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from bench.command import Took, headrace, project, spent
from bench.floor import Echo, digest
from bench.table import Row, amount
from bench.turns import in_turns

WIDTH = 1000
BAR_S = 0.0002
POOLS_BAR = 1.1
POOLS = """\
[project]
pipelines = ["one.py"]

[pool.one]
cpu = 2

[pool.half]
cpu = 1

[pool.other]
cpu = 1
"""
CODE = """\
import headrace as hr


@hr.stage(retries=2)
def work(n: int, salt: int) -> int:
    return n + salt


@hr.pipeline
def fan(salt: int = 0, width: int = 1) -> None:
    work.map(list(range(width)), salt)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure a wide and a narrow run, and the floor, in turns."""
    place = project(folder / "project", CODE)
    salts = count()

    def run(width: int) -> Took:
        return headrace(["run", "one.py:fan", "--salt", str(next(salts)), "--width", str(width)], place)

    for _ in range(2):
        run(1)
    with Echo() as echo:
        runs = {"wide": lambda: run(WIDTH), "narrow": lambda: run(1)}
        parts = {"pipe": echo.round_trip, "digest": lambda: digest(b"1000")}
        turns = in_turns(rounds, {**runs, **parts})
    wide, narrow = spent(turns["wide"]), spent(turns["narrow"])
    yield Row(
        what="one task in a fan of 1,000",
        measured=(wide.wall_s - narrow.wall_s) / (WIDTH - 1),
        floor=median(turns["pipe"]) + median(turns["digest"]),
        bar=BAR_S,
        floor_is="a round trip through a pipe, and BLAKE3 of the value",
        note=f"the runs take {amount(wide.wall_s, 's')} and {amount(narrow.wall_s, 's')};"
        f" a task {amount((wide.cpu_s - narrow.cpu_s) / (WIDTH - 1), 's')} of cpu, in all processes",
    )
    yield _over_pools(folder / "pools", rounds)


def _over_pools(folder: Path, rounds: int) -> Row:
    """Measure the fan over two pools and in one, in turns."""
    place = project(folder, CODE)
    (place / "headrace.toml").write_text(POOLS)
    salts = count()

    def run(pools: str) -> Took:
        words = ["run", "one.py:fan", "--salt", str(next(salts)), "--width", str(WIDTH), "--pool", pools]
        return headrace(words, place)

    for pools in ("one", "half,other"):
        run(pools)
    turns = in_turns(rounds, {"one": lambda: run("one"), "two": lambda: run("half,other")})
    one, two = spent(turns["one"]), spent(turns["two"])
    return Row(
        what="the whole of a fan of 1,000 over two local pools",
        measured=two.wall_s,
        floor=one.wall_s,
        bar=one.wall_s * POOLS_BAR,
        bar_is=f"{POOLS_BAR:g} x in one pool",
        floor_is="the same in one pool with as many cpus",
        note=f"{amount(two.cpu_s, 's')} of cpu in all processes, and {amount(one.cpu_s, 's')} in one pool",
    )
