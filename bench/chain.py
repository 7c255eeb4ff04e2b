"""A chain of 1,000 steps, each durable before the next begins: `(T(1000) - T(1)) / 999`, where T is the whole command.

The floor is what a durable step can't do without: to send it to another process and hear of its end, to digest its
value, and to commit once (`synchronous=FULL`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from bench.command import Took, headrace, project, spent
from bench.floor import Echo, commit, digest
from bench.table import Row, amount
from bench.turns import in_turns

LENGTH = 1000
BAR = 3.0
CODE = """\
import headrace as hr


@hr.stage
def step(n: int) -> int:
    return n + 1


@hr.pipeline
def chain(start: int = 0, length: int = 1) -> None:
    n = start
    for _ in range(length):
        n = step(n)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure a long and a short run, and the parts of the floor, in turns."""
    place = project(folder / "project", CODE)
    starts = count(step=2 * LENGTH)

    def run(length: int) -> Took:
        return headrace(["run", "one.py:chain", "--start", str(next(starts)), "--length", str(length)], place)

    for _ in range(2):
        run(1)
    with Echo() as echo:
        sides = {
            "commit": lambda: commit(folder),
            "long": lambda: run(LENGTH),
            "commit after": lambda: commit(folder),  # on both sides of it, since a disk's mood changes by the second
            "short": lambda: run(1),
            "pipe": echo.round_trip,
            "digest": lambda: digest(b"1000"),
        }
        turns = in_turns(2 * rounds, sides)
    turns["commit"] += turns["commit after"]
    long, short = spent(turns["long"]), spent(turns["short"])
    parts = {name: median(turns[name]) for name in ("pipe", "digest", "commit")}
    floor = sum(parts.values())
    yield Row(
        what="one durable step in a chain of 1,000",
        measured=(long.wall_s - short.wall_s) / (LENGTH - 1),
        floor=floor,
        bar=BAR * floor,
        bar_is=f"{BAR:g} x the floor",
        floor_is=f"a round trip through a pipe ({amount(parts['pipe'], 's')}), BLAKE3 of the value"
        f" ({amount(parts['digest'], 's')}) and a commit ({amount(parts['commit'], 's')})",
        note=f"the runs take {amount(long.wall_s, 's')} and {amount(short.wall_s, 's')};"
        f" a step {amount((long.cpu_s - short.cpu_s) / (LENGTH - 1), 's')} of cpu, in all processes",
    )
