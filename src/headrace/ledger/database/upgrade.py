"""Migrates a ledger, in a file or on a server, to this version's tables.

All drivers of a ledger in a file are on one machine and use the same Headrace, so such a ledger is migrated when it is
opened. A ledger on a server may have drivers with an older Headrace, so it is migrated only when a user runs `headrace
ledger migrate`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from headrace.errors import NotFoundError
from headrace.ledger.database.address import Address, file_of, is_shared, masked
from headrace.ledger.database.migrate import upgrade
from headrace.ledger.database.opening import check_driver, connect
from headrace.ledger.database.schema import SCHEMA, revision
from headrace.ledger.database.sqlite import Troubles


class Migrated(Struct, frozen=True, kw_only=True):
    """The result of a migration: the table versions `before` and `after`, which are equal if there was nothing to
    do."""

    ledger: str
    before: int
    after: int


def migrate(address: Address) -> Migrated:
    """Migrate a ledger to this version's tables; return the versions before and after.

    Raises:
        NotFoundError: there is no ledger yet.
        LedgerVersionError: a newer Headrace wrote the ledger.
        LedgerError: the ledger can't be read or written, or the database isn't a ledger.
    """
    before = _migrate_shared(str(address)) if is_shared(address) else _file_version(file_of(address))
    connect(address).close()  # migrates a file, and raises if the ledger can't be used
    return Migrated(ledger=masked(address), before=before, after=SCHEMA)


@contextmanager
def begin_shared(url: str) -> Iterator[Connection]:
    """Return a context with a connection to a server, in a transaction that may change tables. Other processes that
    want to change tables wait until the transaction ends."""
    import psycopg  # noqa: PLC0415  (an optional dependency)

    from headrace.ledger.database.postgres_opening import LOCK  # noqa: PLC0415  (it imports psycopg)

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            yield connection
    finally:
        engine.dispose()


def _file_version(path: Path) -> int:
    if not path.exists():
        raise NotFoundError(f"there is no ledger `{path}` yet", hint="the first run creates it with the newest tables")
    with Troubles(path), closing(sqlite3.connect(path)) as db:
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        return found


def _migrate_shared(url: str) -> int:
    check_driver()
    # psycopg is an optional dependency, and these modules import it.
    import psycopg  # noqa: PLC0415

    from headrace.ledger.database.postgres import PostgresDatabase  # noqa: PLC0415
    from headrace.ledger.database.postgres_opening import version  # noqa: PLC0415
    from headrace.ledger.database.postgres_troubles import trouble  # noqa: PLC0415

    with closing(PostgresDatabase(url)) as db, db.troubles():
        before = version(db)
    if before is None:
        raise NotFoundError(
            f"there is no ledger at `{masked(url)}` yet", hint="the first run creates it with the newest tables"
        )
    if before < SCHEMA:
        try:
            with begin_shared(url) as connection:
                upgrade(connection, revision())
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error):
                raise
            raise trouble(error.orig, masked(url)) from error
    return before
