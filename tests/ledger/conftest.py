"""What is true of a ledger is true on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.ledger.database import lease_rows
from tests.servers.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a ledger that isn't there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")
    request.getfixturevalue("monkeypatch").setattr(lease_rows, "TERM_S", 3.0)  # who waits for one waits less
    return server.database()
