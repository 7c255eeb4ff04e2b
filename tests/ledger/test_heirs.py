"""Who gets the results of runs that are forgotten, where the disk has no room to work that out."""

from __future__ import annotations

import sqlite3

import pytest

from headrace.errors import LedgerError
from headrace.ledger import inventory
from headrace.ledger.upkeep import heirs
from headrace.ledger.upkeep.gc import Collector
from headrace.ledger.upkeep.retention import Keep
from tests.ledger.samples import blob, connections, digest, first, open_ledger, result, run_row, task_row


def test_no_room_for_the_results_of_runs_that_are_forgotten_is_one_error(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> sqlite3.Connection:
        db = inventory.scratch()
        db.execute("PRAGMA max_page_count = 3")
        return db

    monkeypatch.setattr(heirs, "scratch", full)
    with open_ledger(address) as ledger:
        with ledger.open_run("flights") as run:
            made = [result(blob("out"), digest(f"key {number}")) for number in range(1000)]
            run.commit(first(run=run_row("succeeded", ended=101.0), tasks=[task_row()], results=made))
        before = connections()
        with Collector(ledger, {}) as collector, pytest.raises(LedgerError, match="can't be sorted") as raised:
            collector.collect(Keep(runs=0), now=1e9)
        assert connections() <= before
    assert raised.value.hint is not None
    assert "SQLITE_TMPDIR" in raised.value.hint
