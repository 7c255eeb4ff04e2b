"""Opens a ledger on PostgreSQL: creates its tables, and checks their version and the project that owns them."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing

from headrace.errors import LedgerUnreachable, LedgerVersionError
from headrace.ledger.database.address import refuse_other
from headrace.ledger.database.postgres import PostgresDatabase
from headrace.ledger.database.schema import SCHEMA

OLDEST = 120000
LOCK = 0x48524C47
"""The number of the advisory lock that a process holds while it creates or changes tables."""

LOOK = """
SELECT coalesce(bool_or(tablename = 'alembic_version'), false), coalesce(bool_or(tablename = 'runs'), false),
current_setting('server_version_num')::integer, current_setting('server_encoding')
FROM pg_catalog.pg_tables WHERE schemaname = ANY(current_schemas(false))
"""
"""The query that finds out which tables there are. It doesn't use `to_regclass`, which may still report that a table is
missing after another session has created it."""


def connect(url: str, *, project: str = "") -> PostgresDatabase:
    """Return a connection to a ledger, and create its tables if there are none.

    Raises:
        ConfigError: the ledger belongs to another project.
        LedgerVersionError: a newer Headrace wrote the ledger, or the ledger has the tables of an older Headrace, which
            other drivers may still use.
        LedgerError: the ledger can't be reached or created, or the database isn't a ledger.
    """
    with ExitStack() as exits:
        db = exits.enter_context(closing(PostgresDatabase(url)))
        with db.troubles():
            found = version(db)
            if found is None:
                db.atomically(lambda: _create(db))
            _check(db, found or SCHEMA)
            if project:
                check_project(db, project)
        exits.pop_all()
        return db


def connect_to_read(url: str, *, project: str = "") -> PostgresDatabase | None:
    """Return a connection that only reads a ledger, or None if the database has no tables of a ledger."""
    with ExitStack() as exits:
        db = exits.enter_context(closing(PostgresDatabase(url)))
        with db.troubles():
            found = version(db)
            if found is None:
                return None
            _check(db, found)
            if project:
                check_project(db, project)
        exits.pop_all()
        return db


def version(db: PostgresDatabase) -> int | None:
    """Return the version of a ledger's tables, or None if there are no tables.

    Raises:
        LedgerError: the tables belong to another program, or the server doesn't meet a ledger's needs.
    """
    ((has_version, has_runs, server, encoding),) = db.execute(LOOK).fetchall()
    if server < OLDEST:
        raise LedgerUnreachable(
            f"the server of the ledger `{db.name}` is PostgreSQL {server // 10000}, which is too old",
            hint=f"PostgreSQL {OLDEST // 10000} or later is needed",
        )
    if encoding != "UTF8":
        raise LedgerUnreachable(
            f"the database of the ledger `{db.name}` keeps text as {encoding}",
            hint="use a database that was created with ENCODING 'UTF8' TEMPLATE template0",
        )
    if not has_version and not has_runs:
        return None
    found = db.execute("SELECT version_num FROM alembic_version").fetchone() if has_version else None
    if found is None or not has_runs or not re.fullmatch(r"\d{4}", found[0]):
        raise LedgerUnreachable(
            f"`{db.name}` holds tables of another program",
            hint="give the ledger a database of its own, or a schema: ?options=-csearch_path%3Dheadrace",
        )
    return int(found[0])


def check_project(db: PostgresDatabase, project: str) -> None:
    """Record this project as the ledger's owner if the ledger has none; refuse any other owner.

    Raises:
        ConfigError: the ledger belongs to another project.
    """
    about = dict(db.execute(db.sql.ABOUT).fetchall())
    if "project" not in about:
        db.execute(db.sql.PUT_ABOUT, ("project", project))
        about = dict(db.execute(db.sql.ABOUT).fetchall())
    refuse_other(db.name, about["project"], project)


def _check(db: PostgresDatabase, found: int) -> None:
    if found > SCHEMA:
        raise LedgerVersionError(
            f"the ledger `{db.name}` was written by a newer Headrace (its version is {found}, ours {SCHEMA})",
            hint="upgrade Headrace here: pip install --upgrade headrace",
        )
    if found < SCHEMA:
        raise LedgerVersionError(
            f"the ledger `{db.name}` was written by an older Headrace (its version is {found}, ours {SCHEMA})",
            hint="when nobody uses the older Headrace on this ledger any more, run `headrace ledger migrate`",
        )


def _create(db: PostgresDatabase) -> None:
    """Create the tables. If several processes try at the same time, only the first one creates the tables."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    if version(db) is None:
        for statement in db.sql.create:
            db.execute(statement)
