"""`prepare.transform` of 10,000,000 rows of 5 columns, beside bare DuckDB on the same memory-mapped file.

Both have one thread. One query has a small result, the other gives out as many rows as it takes.

What is measured is the stage and what is left to save after it, as `show --json` tells them; importing DuckDB is in
neither. The floor is a process that opens the file, asks DuckDB, writes what it gives as Arrow IPC, digests and syncs
it. In turns, and the files are kept in both: a first touch of memory is slow, reused pages are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from blake3 import blake3

from bench.command import environment, headrace, project
from bench.handoff import TABLE
from bench.table import Row
from bench.turns import in_turns

ROWS, COLUMNS = 10_000_000, 5
BAR = 1 / 0.9
MOST_ROUNDS = 5
PIECE_BYTES = 1 << 20
QUERIES = {
    "with `group by`: a small result": """
        select (c0 * 1000)::int as bin, count(*) as n, avg(c1) as mean, max(c2) as most
        from data where c3 < {below} group by bin order by bin
    """,
    "a result with as many rows": "select c0, c1 + c2 as sum, sqrt(c3) as root, c4 < {below} as low from data",
}
CODE = f"""\
import headrace as hr
from headrace.stages import prepare
{TABLE}

@hr.stage
def make(seed: int) -> pa.Table:
    return numbers(seed, {COLUMNS}, {ROWS})


@hr.pipeline
def transformed(sql: str) -> None:
    prepare.transform(make(0), sql=sql)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the stage and the bare engine in turns, for each query."""
    place = project(folder / "project", CODE)
    space: dict[str, Any] = {}
    exec(TABLE, space)
    file = folder / "table.arrow"
    table = space["numbers"](0, COLUMNS, ROWS)
    with pa.OSFile(str(file), "wb") as target, pa.ipc.new_file(target, table.schema) as writer:
        writer.write_table(table)
    del table
    values = count()

    def ours(query: str) -> float:
        out = place / "run.json"
        sql = query.format(below=0.9 + next(values) * 1e-6)
        headrace(["run", "one.py:transformed", "--sql", sql, "--json"], place, out=out)
        task = next(each for each in msgspec.json.decode(out.read_bytes())["tasks"] if each["name"] == "transform")
        return float(task["seconds"] + task["save_s"])

    def bare(query: str) -> float:
        number = next(values)
        sql = query.format(below=0.9 + number * 1e-6)
        words = [sys.executable, "-m", "bench.transform", str(file), str(folder / f"out-{number}.arrow"), sql]
        done = subprocess.run(words, check=True, capture_output=True, text=True, env=dict(environment()))
        return float(done.stdout)

    for name, query in QUERIES.items():
        ours(query)
        turns = in_turns(
            min(rounds, MOST_ROUNDS), {"ours": lambda query=query: ours(query), "bare": lambda query=query: bare(query)}
        )
        found = {side: median(times) for side, times in turns.items()}
        yield Row(
            what=f"transform of {ROWS:,} rows, {name}",
            measured=found["ours"],
            floor=found["bare"],
            bar=BAR * found["bare"],
            bar_is="the floor / 0.9",
            floor_is="DuckDB from the same Arrow file to an Arrow file, digested and synced",
        )


def main() -> None:
    """Be the floor's process: ask DuckDB, write what it gives, print the seconds."""
    source, target, sql = sys.argv[1:]
    began = time.perf_counter()
    table = pa.ipc.open_file(pa.memory_map(source)).read_all()
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.register("data", table)
    reader = connection.sql(sql).to_arrow_reader(122_880)
    with pa.OSFile(target, "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    piece, hasher = memoryview(bytearray(PIECE_BYTES)), blake3()
    descriptor = os.open(target, os.O_RDONLY)
    while size := os.readv(descriptor, [piece]):
        hasher.update(piece[:size])
    os.fsync(descriptor)
    os.close(descriptor)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
