"""Opens a ledger's database by its address."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.ledger.database import sqlite
from headrace.ledger.database.address import Address, file_of, is_shared
from headrace.ledger.database.database import Database


def connect(address: Address, *, project: str = "") -> Database:
    """Return a connection to a ledger, and create the ledger if it is missing.

    A ledger that has the tables of an older Headrace is migrated if it is a file. A ledger on a server isn't migrated,
    since drivers with the older Headrace may still use it.

    `project` is the name of the project that must own the ledger. If the ledger has no owner, this project becomes its
    owner.

    Raises:
        ConfigError: the address names no known kind of ledger, or the ledger belongs to another project.
        LedgerVersionError: a newer Headrace wrote the ledger, or the ledger is on a server and has the tables of an
            older Headrace.
        LedgerError: the ledger can't be read or created, or the database isn't a ledger.
    """
    if is_shared(address):
        check_driver()
        from headrace.ledger.database import postgres_opening  # noqa: PLC0415  (see `check_driver`)

        return postgres_opening.connect(str(address), project=project)
    return sqlite.connect(file_of(address), project=project)


def connect_to_read(address: Address, *, project: str = "") -> Database:
    """Return a connection that only reads a ledger. A missing ledger is shown as empty, and isn't created."""
    if is_shared(address):
        check_driver()
        from headrace.ledger.database import postgres_opening  # noqa: PLC0415  (see `check_driver`)

        return postgres_opening.connect_to_read(str(address), project=project) or sqlite.nothing()
    path = file_of(address)
    return sqlite.connect_to_read(path, project=project) if path.exists() else sqlite.nothing(path)


def check_driver() -> None:
    """Check that `psycopg`, the client for PostgreSQL, is installed.

    Raises:
        ConfigError: `psycopg` can't be imported.
    """
    # Imported here because it takes 0.1 s and is an optional dependency.
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"a ledger on PostgreSQL needs `psycopg`, which can't be imported here: {error}",
            hint="pip install 'headrace[postgres]'",
        ) from error
