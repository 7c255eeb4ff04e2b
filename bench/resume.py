"""`headrace resume` of a run of 10,000 tasks of which 9,000 are done, from the command to its first launch.

The 1,000 others have failed, and are tried again. What is measured is the whole way: Python, the ledger, the replay of
all events, the bundle, and the first tick. It is asked of the event that says when the launch was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.command import headrace, project
from bench.ledger import server
from bench.table import Row
from headrace.ledger.views.views import Views
from headrace.run.events import Launched, Taken

TASKS, DONE = 10_000, 9_000
BAR_S = 1.0
CODE = f"""\
import headrace as hr


@hr.stage
def work(n: int) -> int:
    if n >= {DONE}:
        raise ValueError("not yet")
    return n


@hr.pipeline
def wide() -> None:
    work.map(list(range({TASKS})))
"""
FAILED = 1


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Make such a run on each kind of ledger, and resume it again and again."""
    yield _row("SQLite", folder / "sqlite", "", rounds)
    with server() as postgres:
        yield _row("PostgreSQL", folder / "postgres", postgres.database(), rounds)


def _row(name: str, folder: Path, url: str, rounds: int) -> Row:
    place = project(folder, CODE)
    if url:
        (place / "headrace.toml").write_text(f'[project]\npipelines = ["one.py"]\n[ledger]\nurl = "{url}"\n')
    headrace(["run", "one.py:wide"], place, code=FAILED)
    address = url or str(place / ".headrace" / "ledger.db")
    with Views(address) as views:
        run = views.find().run
    times = [_first_launch(place, address, run) for _ in range(rounds)]
    return Row(
        what=f"resume of 10,000 tasks, 9,000 of them done: time to the first launch, {name}",
        measured=median(times),
        bar=BAR_S,
        note=f"the run has some {_events(address, run):,} events by the end",
    )


def _first_launch(place: Path, address: str, run: str) -> float:
    began = time.time()
    headrace(["resume", run], place, code=FAILED)
    launched = 0.0
    with Views(address) as views:
        for event in views.events(run):
            if isinstance(event, Taken):
                launched = 0.0
            elif isinstance(event, Launched) and not launched:
                launched = event.at
    return launched - began


def _events(address: str, run: str) -> int:
    with Views(address) as views:
        return sum(1 for _ in views.bodies(run))
