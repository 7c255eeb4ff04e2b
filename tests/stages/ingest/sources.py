"""Databases to read from: SQLite files and PostgreSQL, filled and changed from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.postgres import PASSWORD, Postgres

ORDERS = "create table orders (id integer primary key, at integer, value {real})"


@dataclass(frozen=True)
class Source:
    """A database: its URL as a project's code has it, and how the tests get at it."""

    kind: str
    url: str
    address: str

    def run(self, text: str, rows: Sequence[Sequence[Any]] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement, for each of the rows where some are given, with `?` for their values."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.address)) as db, db:
                return (db.execute(text) if rows is None else db.executemany(text, rows)).fetchall()
        with psycopg.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            if rows is not None:
                cursor.executemany(text.replace("?", "%s").encode(), rows)
                return []
            cursor.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def orders(self, count: int, start: int = 0) -> None:
        """Add orders, each with its number as its watermark."""
        self.run(
            "insert into orders values (?, ?, ?)", [(each, each, each / 2) for each in range(start, start + count)]
        )

    def make_orders(self, count: int) -> None:
        """Make the table of orders."""
        self.run(ORDERS.format(real="real" if self.kind == "sqlite" else "double precision"))
        self.orders(count)


def source_in(kind: str, folder: Path, server: Postgres | None) -> Source:
    """Make an empty database; of SQLite a file in this folder, of PostgreSQL one whose password is the secret `PW`."""
    if kind == "sqlite":
        return Source(kind, "sqlite:///warehouse.db", str(folder / "warehouse.db"))
    assert server is not None
    address = server.database()
    return Source(kind, address.replace(PASSWORD, "secret('PW')"), address)
