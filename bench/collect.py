"""`headrace gc` over a ledger with 1,000,000 rows of blobs, a tenth of which belong to runs that are forgotten.

The ledger is made by the statements that drivers run: 400 runs of 2,500 tasks, each with its row, its events, its
result and its blob. The store is a folder with as many names of files. They are empty, and those of a run are links to
one file, since making a million files takes minutes: what they hold is no matter to the collector. It is measured once,
since it does away with what it was measured on.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from bench import fan
from bench.command import headrace, project
from bench.table import Row
from headrace.ledger.database.statements import statements
from headrace.ledger.ledger import Ledger
from headrace.run.events import Launched, Succeeded, encode_event
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref

RUNS, TASKS = 400, 2500
DOOMED = RUNS // 10
BAR_S, BAR_MIB = 60.0, 300.0

_encode = msgspec.msgpack.Encoder().encode


def rows(folder: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001  it can be measured once
    """Fill ledger and store, list the store, collect, and delete as much again."""
    root = project(folder / "full", fan.CODE)
    ledger, blobs = root / ".headrace" / "ledger.db", root / ".headrace" / "store" / "blobs"
    Ledger(ledger).close()
    fill(ledger, blobs)
    listed_s = _listing(blobs)
    took = headrace(["gc", "--keep-runs", str(RUNS - DOOMED), "--json"], root, out=root / "gc.json")
    found = msgspec.json.decode((root / "gc.json").read_bytes())
    gone = DOOMED * TASKS
    assert found["count"] == gone, found
    deleted_s = _deleting(blobs, gone)
    what = f"`gc` over {RUNS * TASKS:,} blobs, 10% of them to delete"
    yield Row(
        what=what,
        measured=took.wall_s,
        floor=listed_s + deleted_s,
        bar=BAR_S,
        floor_is=f"listing as many files with their sizes, and deleting {gone:,} of them",
        note=f"{took.cpu_s:.1f} s of cpu; {RUNS} runs with {TASKS:,} tasks each, a store of empty files",
    )
    yield Row(what=f"{what}: peak memory", measured=took.peak_mib, bar=BAR_MIB, unit="MiB")


def fill(ledger: Path, blobs: Path) -> None:
    """Make runs that have ended, and the files that they name."""
    for shelf in range(256):
        (blobs / f"{shelf:02x}").mkdir(parents=True)
    began = time.time() - 1e6
    sql = statements("sqlite")
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        for number in range(1, RUNS + 1):
            at = began + number
            db.execute("BEGIN")
            run = (f"run-{number:04}", "p", "succeeded", at, "b" * 64, 9.0, 0.0, "{}", "", at + 9, 1, "bench")
            db.execute(sql.INSERT_RUN, run)
            _fill_run(db, number, at, blobs)
            db.execute("COMMIT")


def _fill_run(db: sqlite3.Connection, run: int, at: float, blobs: Path) -> None:
    sql = statements("sqlite")
    events, tasks, results, named = [], [], [], []
    source = blobs / f"run-{run}"
    source.touch()
    for task in range(TASKS):
        name, key, nonce = f"each[#{task}]", os.urandom(32).hex(), os.urandom(4).hex()
        out = Ref(digest=os.urandom(32).hex(), size=100, codec="arrow", type="pyarrow.lib.Table", nonce=nonce)
        data = _encode(out)
        events.append((run, 2 * task, encode_event(Launched(name, 1, key, (1,), "local", "it never ran", b"", at=at))))
        events.append((run, 2 * task + 1, encode_event(Succeeded(name, 1, out, at, 1.0))))
        row = TaskRow(
            name=name, ordinal=task, stage="each", kind="", state="succeeded", reason="it never ran", attempts=1,
            started=at, seconds=1.0, pool="local", queued_s=0.0, key=key, code="c" * 64, inputs=b"", out=data,
        )  # fmt: skip
        more = {"run": run, "bytes": 100, "digest": out.digest, "log": None, "log_start": None, "log_end": None}
        tasks.append(sql.values("PUT_TASK", asdict(row) | more))
        results.append((key, run, name, at, None, data))
        named.append((run, out.digest, nonce, 100, at))
        os.link(source, f"{blobs}/{out.digest[:2]}/{out.digest}.{nonce}")
    for statement, made in (
        (sql.INSERT_EVENT, events),
        (sql.PUT_TASK, tasks),
        (sql.PUT_RESULT, results),
        (sql.PUT_BLOB, named),
    ):
        db.executemany(statement, made)


def _listing(blobs: Path) -> float:
    began = time.perf_counter()
    for shelf in filter(Path.is_dir, sorted(blobs.iterdir())):
        with os.scandir(shelf) as entries:
            for entry in entries:
                entry.stat()
    return time.perf_counter() - began


def _deleting(blobs: Path, count: int) -> float:
    names = [path for shelf in filter(Path.is_dir, sorted(blobs.iterdir())) for path in shelf.iterdir()][:count]
    began = time.perf_counter()
    for path in names:
        path.unlink()
    return time.perf_counter() - began
