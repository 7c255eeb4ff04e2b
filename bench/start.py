"""One integer stage, the whole process: `headrace run one.py:single --n I`, a new parameter each time.

The bar is an absolute one, so the floors only tell how fast the machine is just now.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from bench.command import Took, headrace, project, spent, took
from bench.table import Row, amount
from bench.turns import in_turns

BAR_S = 0.3
CODE = """\
import headrace as hr


@hr.stage
def double(n: int) -> int:
    return 2 * n


@hr.pipeline
def single(n: int = 0) -> None:
    double(n)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the command beside bare Python, with and without the two modules that it can't do without."""
    place = project(folder / "project", CODE)
    numbers = count()

    def run() -> Took:
        return headrace(["run", "one.py:single", "--n", str(next(numbers))], place)

    for _ in range(2):  # the first run makes the ledger, the second is the first that begins workers early
        run()
    sides = {
        "python": lambda: took([sys.executable, "-c", "pass"], folder),
        "imports": lambda: took([sys.executable, "-c", "import msgspec, sqlite3"], folder),
        "run": run,
    }
    found = {name: spent(times) for name, times in in_turns(3 * rounds, sides).items()}
    yield Row(
        what="the whole process of a run with one integer stage",
        measured=found["run"].wall_s,
        floor=found["imports"].wall_s,
        bar=BAR_S,
        floor_is="Python importing msgspec and sqlite3",
        note=f"bare Python takes {amount(found['python'].wall_s, 's')};"
        f" all processes of the run use {amount(found['run'].cpu_s, 's')} of cpu",
    )
