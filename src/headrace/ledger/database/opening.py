"""Opening a ledger's database by its address."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.ledger.database import sqlite
from headrace.ledger.database.address import Address, file_of, is_shared
from headrace.ledger.database.database import Database


def connect(address: Address, *, project: str = "") -> Database:
    """Open a ledger, making it where needed, or migrating it where nobody else can have it open with other code.

    `project` is the name of the project whose ledger it has to be; one that is nobody's yet becomes its.

    Raises:
        ConfigError: there is no such kind of ledger, or it is another project's.
        LedgerVersionError: a newer Headrace wrote it, or an older one that others may use still.
        LedgerError: it can't be read or made, or isn't a ledger.
    """
    if is_shared(address):
        check_driver()
        from headrace.ledger.database import postgres_opening  # noqa: PLC0415  (see `check_driver`)

        return postgres_opening.connect(str(address), project=project)
    return sqlite.connect(file_of(address), project=project)


def connect_to_read(address: Address, *, project: str = "") -> Database:
    """Open a ledger to look at it. One that isn't there yet is empty, and stays unmade."""
    if is_shared(address):
        check_driver()
        from headrace.ledger.database import postgres_opening  # noqa: PLC0415  (see `check_driver`)

        return postgres_opening.connect_to_read(str(address), project=project) or sqlite.nothing()
    path = file_of(address)
    return sqlite.connect_to_read(path, project=project) if path.exists() else sqlite.nothing(path)


def check_driver() -> None:
    """Check that what talks to PostgreSQL is installed.

    Raises:
        ConfigError: it isn't.
    """
    # 0.1 s, and an extra: it is loaded for those who have such a ledger.
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"a ledger on PostgreSQL needs `psycopg`, which can't be imported here: {error}",
            hint="pip install 'headrace[postgres]'",
        ) from error
