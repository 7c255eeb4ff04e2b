"""The contract of ledgers: the fake, SQLite and PostgreSQL."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from headrace.ledger import cursors
from headrace.ledger.database import lease_rows
from headrace.ledger.ledger import Ledger
from headrace.ledger.run_ledger import RunLedger
from headrace.spec.intent import Advance
from headrace.testing.ledger import MemoryLedger, MemoryRun
from headrace.testing.ledger_contract import LedgerContract
from tests.ledger.samples import POOL, free, open_ledger
from tests.servers.postgres import Postgres


class TestMemoryLedger(LedgerContract):
    def make(self, folder: Path) -> MemoryLedger:
        self.numbers = count()
        return MemoryLedger(POOL)

    def open(self, ledger: MemoryLedger) -> MemoryRun:
        return ledger.open(f"flights-{next(self.numbers)}")

    def take(self, ledger: MemoryLedger, run: MemoryRun) -> MemoryRun:
        return ledger.take(run.run)

    def advance(self, ledger: MemoryLedger, wanted: Advance) -> None:
        ledger.advance(wanted)

    def close(self, held: Any) -> None:
        """It goes with the process."""


class TestSqliteLedger(LedgerContract):
    def make(self, folder: Path) -> Ledger:
        return open_ledger(folder)

    def open(self, ledger: Ledger) -> RunLedger:
        return ledger.open_run("flights")

    def take(self, ledger: Ledger, run: RunLedger) -> RunLedger:
        free(ledger, run.run)
        return ledger.take(run.run)

    def advance(self, ledger: Ledger, wanted: Advance) -> None:
        cursors.advance(ledger, wanted, by="ann")


class TestPostgresLedger(TestSqliteLedger):
    @pytest.fixture(autouse=True)
    def server(self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        self.postgres = postgres
        monkeypatch.setattr(lease_rows, "TERM_S", 3.0)

    def make(self, folder: Path) -> Ledger:
        return open_ledger(self.postgres.database())
