"""One integer stage, the whole process: `headrace run one.py:single --n I`, a new parameter each time.

The bar is an absolute one, so the floors only tell how fast the machine is just now.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from bench.command import Took, headrace, project, took
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
    used: list[Took] = []

    def run() -> float:
        used.append(headrace(["run", "one.py:single", "--n", str(next(numbers))], place))
        return used[-1].wall_s

    for _ in range(2):  # the first run makes the ledger, the second is the first that begins workers early
        run()
    used.clear()
    sides = {
        "python": lambda: took([sys.executable, "-c", "pass"], folder).wall_s,
        "imports": lambda: took([sys.executable, "-c", "import msgspec, sqlite3"], folder).wall_s,
        "run": run,
    }
    found = {name: median(numbers) for name, numbers in in_turns(3 * rounds, sides).items()}
    cpu_s = median(each.cpu_s for each in used)
    yield Row(
        what="one integer stage, the whole process",
        measured=found["run"],
        floor=found["imports"],
        bar=BAR_S,
        floor_is="Python importing msgspec and sqlite3",
        note=f"bare Python takes {amount(found['python'], 's')}; the run's processes used {amount(cpu_s, 's')} of cpu",
    )
