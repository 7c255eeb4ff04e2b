"""Brings an older ledger to this version's tables, with Alembic.

The migrations are in `migrations/versions`, one for each change of the tables. The revision of a migration is its
number; SQLite also keeps that number as `user_version`. A new ledger is created with all tables, at the last revision.
A migration is one transaction, so after a crash the ledger has either the old or the new version.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool

from headrace.ledger.database.schema import SCHEMA, revision

SCRIPTS = Path(__file__).with_name("migrations")


def migrate_file(path: Path, schema: int = SCHEMA) -> None:
    """Bring the ledger at `path` to the version `schema`. If two processes do this at the same time, the second one
    changes nothing."""
    with begin(path) as connection:
        upgrade(connection, revision(schema))
        connection.execute(text(f"PRAGMA user_version={schema}"))


@contextmanager
def begin(path: Path) -> Iterator[Connection]:
    """Return a context with a connection to the file, in one transaction. The transaction holds SQLite's write lock
    from its start, and also covers changes to the schema."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"isolation_level": None})

    @event.listens_for(engine, "begin")
    def lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def upgrade(connection: Connection, target: str = "head") -> None:
    """Run the migrations that a database lacks, within the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    scripts = ScriptDirectory.from_config(config)

    def steps(current: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(target, current)

    with EnvironmentContext(config, scripts, fn=steps, destination_rev=target) as environment:
        environment.configure(connection=connection, transaction_per_migration=False)
        environment.run_migrations()
