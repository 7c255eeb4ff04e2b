"""`ingest.sql`: 5,000,000 rows from SQLite and PostgreSQL, the memory that it takes, and 1% of rows that came since.

The floor of reading is a process that reads the same query by the same ADBC driver and writes its batches to one file
as Arrow IPC, without digest or sync. That of an increment is the same stage reading just the new rows as a table.
The server is one of its own on this machine.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench.command import headrace, project
from bench.memory import peak_pss_mib
from bench.table import Row, amount
from bench.turns import in_turns
from tests.servers.postgres import PASSWORD, Postgres

ROWS, NEW = 5_000_000, 50_000
SHARE = 0.9
INCREMENT = 1.1
PEAK_BAR_MIB = 400
MOST_ROUNDS = 3  # each leaves up to 400 MB behind
COLUMNS = "id, amount, customer, kind, at, day, ok, share"
VALUES = "select g, g * 0.5, g % 97, 'kind ' || (g % 1000), g, g % 7, g % 2, g / 3.0 from"
MAKE = {
    "sqlite": "insert into orders with recursive n(g) as"
    " (select {first} union all select g + 1 from n where g < {last})"
    f" {VALUES} n",
    "postgresql": f"insert into orders {VALUES} generate_series({{first}}, {{last}}) g",
}
TABLE = (
    "create {unlogged} table orders (id bigint primary key, amount {real}, customer integer, kind text, at bigint,"
    " day integer, ok integer, share {real})"
)
CODE = """\
import headrace as hr
from headrace.stages import ingest

URL = {url!r}


@hr.pipeline
def whole(least: int) -> None:
    ingest.sql(URL, "select {columns} from orders where id >= :least", least=least)


@hr.pipeline
def grow(name: str) -> None:
    ingest.sql(URL, "select {columns} from orders", mode="increment", watermark="at", key="id", cursor=name)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Make both databases; read them by hand and by the stage, in turns; then let them grow."""
    os.environ["PW"] = PASSWORD  # the secret that the project's URL names
    file = folder / "warehouse.db"
    with sqlite3.connect(file) as made:
        made.execute(TABLE.format(unlogged="", real="real"))
        made.execute(MAKE["sqlite"].format(first=1, last=ROWS))
        made.execute("create index orders_at on orders (at)")
    made.close()
    yield from _of("SQLite", "sqlite", folder, f"sqlite:///{file}", str(file), rounds)
    with TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as place:
        postgres = Postgres(Path(place) / "server")
        try:
            address = postgres.database()
            name = address.rpartition("/")[2]
            postgres.query(TABLE.format(unlogged="unlogged", real="float8"), name)
            postgres.query(MAKE["postgresql"].format(first=1, last=ROWS), name)
            postgres.query("create index on orders (at)", name)
            postgres.query("analyze orders", name)
            url = address.replace(PASSWORD, "secret('PW')")
            yield from _of("PostgreSQL", "postgresql", folder, url, address, rounds)
        finally:
            postgres.stop()


def _of(title: str, kind: str, folder: Path, url: str, address: str, rounds: int) -> Iterator[Row]:
    place = project(folder / kind, CODE.format(url=url, columns=COLUMNS))
    (folder / "bare").mkdir(exist_ok=True)
    turns = min(rounds, MOST_ROUNDS)
    salts = count()

    def stage() -> float:
        return _taken(place, "whole", "--least", str(-next(salts)))

    def bare() -> float:
        words = [sys.executable, "-m", "bench.sql", kind, address, str(folder / "bare" / "table"), str(-next(salts))]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    stage()
    bare()
    found = {name: median(took) for name, took in in_turns(turns, {"stage": stage, "bare": bare}).items()}
    yield Row(
        what=f"ingest.sql: 5,000,000 rows from {title}",
        measured=found["stage"],
        floor=found["bare"],
        bar=found["bare"] / SHARE,
        bar_is=f"{SHARE:g} x the floor's rows a second",
        floor_is="ADBC to an Arrow IPC file, without digest and sync",
    )
    yield Row(
        what=f"ingest.sql: 5,000,000 rows from {title}, peak PSS of the workers",
        measured=max(peak_pss_mib(["run", "one.py:whole", "--least", str(-next(salts))], place) for _ in range(2)),
        bar=PEAK_BAR_MIB,
        unit="MiB",
        bar_is="three parts, the batches of the driver, and the processes",
    )
    yield _increment(title, kind, place, address, rounds)
    shutil.rmtree(place)


def _increment(title: str, kind: str, place: Path, address: str, rounds: int) -> Row:
    """Let the source grow by 1% a round; read on, and read just those rows as a table."""
    _taken(place, "grow", "--name", "orders")
    on, alone = [], []
    last = ROWS
    for _ in range(rounds):
        _grow(kind, address, last + 1, last + NEW)
        on.append(_taken(place, "grow", "--name", "orders"))
        alone.append(_taken(place, "whole", "--least", str(last + 1)))
        last += NEW
    return Row(
        what=f"an increment of ingest.sql: {NEW:,} new rows (1% of the table) from {title}",
        measured=median(on),
        floor=median(alone),
        bar=INCREMENT * median(alone),
        bar_is=f"{INCREMENT:g} x the floor",
        floor_is="the same stage reading just these rows as a table",
        note=f"the fastest took {amount(min(on), 's')} and {amount(min(alone), 's')}",
    )


def _grow(kind: str, address: str, first: int, last: int) -> None:
    """Add rows, and read them once: PostgreSQL's first reader of new rows writes to them, which is neither side's."""
    text, look = MAKE[kind].format(first=first, last=last), f"select count(share) from orders where id >= {first}"
    if kind == "sqlite":
        made = sqlite3.connect(address)
        made.execute(text)
        made.commit()
        made.execute(look).fetchone()
        made.close()
        return
    import psycopg  # noqa: PLC0415  the bare process should not load it

    with psycopg.connect(address) as connection:
        connection.execute(text.encode())
        connection.commit()
        connection.execute(look.encode()).fetchone()


def _taken(place: Path, pipeline: str, *words: str) -> float:
    """Run a pipeline, and return the seconds that its task `sql` took, with what it loaded and saved."""
    out = place / "run.json"
    headrace(["run", f"one.py:{pipeline}", *words, "--json"], place, out=out)
    (task,) = [each for each in msgspec.json.decode(out.read_bytes())["tasks"] if each["name"] == "sql"]
    if task["state"] != "succeeded":
        raise RuntimeError(f"`sql` is {task['state']}, so nothing was measured")
    return float(task["seconds"] + task["load_s"] + task["save_s"])


def bare(kind: str, address: str, path: str, least: int) -> float:
    """Return the seconds from connecting to the end of the file."""
    import adbc_driver_postgresql.dbapi  # noqa: PLC0415  the floor's own, not the benchmark's
    import adbc_driver_sqlite.dbapi  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    driver: Any = adbc_driver_sqlite.dbapi if kind == "sqlite" else adbc_driver_postgresql.dbapi
    began = time.perf_counter()
    with driver.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"select {COLUMNS} from orders where id >= {least}")
        reader = cursor.fetch_record_batch()
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    return time.perf_counter() - began


def main(words: Sequence[str]) -> None:
    """Be the floor's process: read, write, print the seconds."""
    kind, address, path, least = words
    print(bare(kind, address, path, int(least)))


if __name__ == "__main__":
    main(sys.argv[1:])
