"""`show` and `runs` with a run of 10,000 tasks and 1,000 runs in the ledger, beyond the same with an empty ledger.

The large run is a real one. Of the small ones one is real, and the others are copies of its rows: a thousand real ones
would take minutes, and look the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench import fan
from bench.beyond import beyond
from bench.command import headrace, project
from bench.table import Row
from headrace.ledger.ledger import Ledger

RUNS = 1000
TASKS = 10_000
BAR_S = 0.05
COMMANDS = (["show"], ["show", "--json"], ["runs"], ["runs", "--json"])
WRONG_USAGE = 2  # what `show` says where there is no run


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Fill a ledger, and ask it and an empty one in turns."""
    empty = project(folder / "empty", fan.CODE)
    Ledger(empty / ".headrace" / "ledger.db").close()
    full = project(folder / "full", fan.CODE)
    headrace(["run", "one.py:fan"], full)
    with closing(sqlite3.connect(full / ".headrace" / "ledger.db")) as db, db:
        for number in range(2, RUNS):
            _copy_run(db, number)
    headrace(["run", "one.py:fan", "--width", str(TASKS)], full)
    for words in COMMANDS:
        code = WRONG_USAGE if words[0] == "show" else 0
        yield beyond(
            f"`{' '.join(words)}`, minus the time with an empty ledger",
            lambda words=words: headrace(words, full),
            lambda words=words, code=code: headrace(words, empty, code=code),
            bar_s=BAR_S,
            rounds=2 * rounds,
            floor_is="the whole command with an empty ledger; this time is subtracted",
        )


def _copy_run(db: sqlite3.Connection, number: int) -> None:
    """Make another run of the rows of the first."""
    for table, key in (("runs", "number"), ("tasks", "run"), ("events", "run")):
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = {name: f'"{name}"' for name in columns}
        values[key] = str(number)
        if table == "runs":
            values["id"] = f"id || '-{number}'"
        names = ", ".join(f'"{name}"' for name in columns)
        db.execute(f'INSERT INTO {table} ({names}) SELECT {", ".join(values.values())} FROM {table} WHERE "{key}" = 1')
