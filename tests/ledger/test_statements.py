"""The generated statements, and the migrations beside the tables."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Index, Table
from sqlalchemy.schema import SchemaItem

from headrace.ledger.database import statements_sqlite
from headrace.ledger.database.migrate import begin, migrate_file, upgrade
from headrace.ledger.database.queries.text import sources
from headrace.ledger.database.sqlite import APPLICATION, connect
from headrace.ledger.database.tables import SCHEMA, is_for, metadata, revision


def shape(path: Path) -> dict[str, str]:
    """What each table and index of a database is made by, without the layout of the text."""
    db = sqlite3.connect(path)
    try:
        found = db.execute("select name, sql from sqlite_master where sql is not null and name != 'sqlite_sequence'")
        return {name: re.sub(r"\s+", "", text) for name, text in found}
    finally:
        db.close()


def test_the_statements_are_those_that_the_tables_give() -> None:
    for target, text in sources().items():
        assert target.read_text(encoding="utf-8") == text, "run python -m headrace.ledger.database.queries"
    assert statements_sqlite.SCHEMA == SCHEMA


def test_a_new_ledger_has_the_tables_that_the_migrations_make(tmp_path: Path) -> None:
    connect(tmp_path / "new.db").close()
    with begin(tmp_path / "migrated.db") as connection:
        upgrade(connection)
    assert shape(tmp_path / "new.db") == shape(tmp_path / "migrated.db")


def test_the_migrations_lack_nothing_that_the_tables_declare(tmp_path: Path) -> None:
    with begin(tmp_path / "migrated.db") as connection:
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        assert compare_metadata(context, metadata) == []


def is_ours(item: SchemaItem, *_: object) -> bool:
    """Leave out what only a server has."""
    return not isinstance(item, Table | Index) or is_for(item, "sqlite")


def test_alembic_finds_a_new_ledger_at_the_last_revision(tmp_path: Path) -> None:
    connect(tmp_path / "new.db").close()
    with begin(tmp_path / "new.db") as connection:
        assert MigrationContext.configure(connection).get_current_revision() == revision()
        before = shape(tmp_path / "new.db")
        upgrade(connection)
    assert shape(tmp_path / "new.db") == before


def test_an_older_ledger_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connect(path).close()
    db = sqlite3.connect(path)
    db.execute("pragma user_version=0")  # as one of before the first version would have
    db.close()
    db = connect(path)
    assert db.execute("pragma user_version").fetchone() == (SCHEMA,)
    assert db.execute("pragma application_id").fetchone() == (APPLICATION,)
    db.close()


def test_migrating_twice_is_as_good_as_once(tmp_path: Path) -> None:
    connect(tmp_path / "new.db").close()
    before = shape(tmp_path / "new.db")
    migrate_file(tmp_path / "new.db")
    assert shape(tmp_path / "new.db") == before
