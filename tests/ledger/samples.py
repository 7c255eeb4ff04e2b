"""Batches, rows and refs to test the record with."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from headrace.ledger.database import lease_rows
from headrace.ledger.database.lease_files import FileLeases
from headrace.ledger.ledger import Ledger
from headrace.ledger.run_ledger import RunLedger
from headrace.place.share import grant
from headrace.run.ports import Batch, ResultRow, RunRow, TaskRow, Want
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool

POOL = Pool(name="here", cpu=8, memory_gib=32, gpus=2)


def open_ledger(address: str | Path, **more: Any) -> Ledger:
    """Open a ledger, or that of a project's state folder."""
    return Ledger(address / "ledger.db" if isinstance(address, Path) else address, pools=[POOL], share=grant, **more)


def connections() -> set[int]:
    """Return which connections to SQLite this process has open: only from 3.13 on Python tells of those left so."""
    # by `type`: asked for its `__class__`, as `isinstance` does, some object of a library warns
    found = [each for each in gc.get_objects() if issubclass(type(each), sqlite3.Connection)]
    return {id(each) for each in found if _is_open(each)}


def _is_open(db: sqlite3.Connection) -> bool:
    try:
        return db.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


def rows(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a ledger."""
    with closing(ledger.connect()) as db:
        return [tuple(row) for row in db.execute(query).fetchall()]


def edit(ledger: Ledger, statement: str) -> None:
    """Change a ledger behind everybody's back."""
    with closing(ledger.connect()) as db:
        db.execute(statement)


def free(ledger: Ledger, run: str) -> None:
    """Let another take a run whose driver lives: as if somebody cleaned up, or the driver had been silent for long.

    On PostgreSQL the lease gets another token. Otherwise the driver's own thread could renew it before the other driver
    takes it.
    """
    if isinstance(ledger.leases, FileLeases):
        (ledger.leases.folder / f"{run}.lock").unlink()
    else:
        edit(ledger, f"update leases set token = 0, expires = now() - interval '1 s' where name = '{run}'")


def hold_briefly() -> None:
    """Have this process's leases run out soon where they do so by a clock: it will be killed."""
    lease_rows.TERM_S = 1.0


def digest(text: str) -> str:
    return blake3(text.encode()).hexdigest()


def blob(text: str, nonce: str | None = "n1", **more: Any) -> Ref:
    """An artifact in the store, of these bytes."""
    return Ref(digest=digest(text), size=len(text), codec="text", type="builtins.str", nonce=nonce, **more)


def run_row(state: str = "running", **more: Any) -> RunRow:
    return RunRow(**{"pipeline": "flights", "state": state, "created": 100.0, "bundle": digest("bundle")} | more)


def task_row(name: str = "fit", state: str = "succeeded", *, out: Ref | None = None, **more: Any) -> TaskRow:
    row: dict[str, Any] = {
        "ordinal": 0,
        "name": name,
        "stage": name.partition("[")[0],
        "kind": "train",
        "state": state,
        "reason": "no earlier result",
        "attempts": 1,
        "key": digest(f"key of {name}"),
        "code": digest("code"),
        "inputs": msgspec.msgpack.encode([("table", "arrow:pyarrow.Table:abc")]),
        "out": None if out is None else msgspec.msgpack.encode(out),
    }
    return TaskRow(**row | more)


def result(out: Ref, key: str = "key", task: str = "fit") -> ResultRow:
    return ResultRow(key=key, task=task, out=out)


def first(bodies: Iterable[bytes] = (b"opened",), **more: Any) -> Batch:
    """The commit that opens a run."""
    return Batch(**{"first": 0, "bodies": list(bodies), "run": run_row()} | more)


def after(ledger: RunLedger, /, *bodies: bytes, **more: Any) -> Batch:
    """The next commit of a run."""
    return Batch(first=ledger.next_seq, bodies=list(bodies), **more)


def want(cpu: float = 1, used: float = 0, least: float = 0, pool: str = "here") -> Want:
    return Want(
        pool=pool, cpu=cpu, memory_gib=0, gpus=0, used_cpu=used, used_memory_gib=0, used_gpus=0, least_cpu=least
    )
