"""What all statements are made of: a dialect, its own form of `INSERT`, and the run that a driver holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Delete,
    Dialect,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    func,
    literal_column,
    select,
)

from headrace.ledger.database.tables import SHARED, runs

Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete
PROJECTED = ("pipeline", "state", "created", "bundle", "seconds", "usd", "params", "why", "ended")
"""What of a run's row the driver writes anew as it goes on."""


class Target(Struct, frozen=True, kw_only=True):
    """A dialect, what its module is called, and its own form of `INSERT`."""

    name: str
    module: str
    dialect: Dialect
    insert: Callable[[Table], Any]

    @property
    def is_shared(self) -> bool:
        """Whether drivers of several machines may use such a ledger."""
        return self.dialect.name == SHARED


def all_of(table: Table, *but: str) -> dict[str, ColumnElement[object]]:
    """Give a parameter for each of a table's columns, by its name."""
    return {column.name: bindparam(column.name) for column in table.columns if column.name not in but}


def put(to: Target, table: Table) -> Statement:
    """Insert a row, or replace what is there under its key."""
    statement = to.insert(table).values(all_of(table))
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in all_of(table) if name not in keys}
    found: Statement = statement.on_conflict_do_update(index_elements=keys, set_=rest)
    return found


def of_run() -> ColumnElement[bool]:
    """The row of the run."""
    return runs.c.number == bindparam("number")


def held() -> ColumnElement[bool]:
    """The epoch is still that of the driver that writes."""
    return of_run() & (runs.c.epoch == bindparam("epoch"))


def must(to: Target, statement: Select[Any] | Update) -> Statement:
    """Have a statement that `Database.require` runs fail by itself if there is no such row.

    SQLite's answer is looked at before anything else is done. To PostgreSQL, the whole transaction may have been sent
    by the time that an answer comes: a division by zero keeps the server from going on with it.
    """
    if not to.is_shared:
        return statement
    rows = (
        statement.cte() if isinstance(statement, Select) else statement.returning(literal_column("1").label("x")).cte()
    )
    return select(literal_column("1").op("/")(func.count())).select_from(rows)
