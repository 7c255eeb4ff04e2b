"""The statements of `ledger.sql`, and the migrations beside its tables."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.runtime.migration import MigrationContext
from msgspec import Struct

import headrace as hr
from headrace.ledger import records
from headrace.ledger.database import opening
from headrace.ledger.database.migrate import begin, migrate_file, upgrade
from headrace.ledger.database.reader import Reader, columns
from headrace.ledger.database.schema import SCHEMA, revision
from headrace.ledger.database.sqlite import APPLICATION, connect, nothing
from headrace.ledger.database.statements import FILE, MARKS, Dialect, Statements
from headrace.ledger.standing.tables import STANDING
from headrace.ledger.views import rows as shown
from headrace.run.events import Gone, Taken, encode_event
from tests.servers.postgres import Postgres

SOURCES = Path(hr.__file__).parent


def shape(path: Path) -> dict[str, str]:
    """What each table and index of a database is made by, without the layout of the text."""
    db = sqlite3.connect(path)
    try:
        found = db.execute("select name, sql from sqlite_master where sql is not null and name != 'sqlite_sequence'")
        return {name: re.sub(r"\s+", "", text) for name, text in found}
    finally:
        db.close()


# -- the file -----------------------------------------------------------------------------------------------------


def test_each_statement_has_a_name_of_its_own_and_says_what_it_is_for() -> None:
    _, *parts = re.split(r"^---(.*)\n", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    heads = parts[::2]
    assert [head for head in heads if not re.fullmatch(r" \w+( \((sqlite|postgresql)\))?", head)] == []
    assert [head for head, times in Counter(heads).items() if times > 1] == []
    assert [head for head, text in zip(heads, parts[1::2], strict=True) if not text.startswith("-- ")] == []


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_each_statement_reads_as_one_in_its_dialect(dialect: Dialect) -> None:
    sql = Statements(dialect)
    for name in sql.names():
        text = getattr(sql, name)
        assert re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE) ", text), name
        assert not re.search(r"--|[{}:;]", text), name
        assert text.count(MARKS[dialect]) == len(sql.parameters(name)), name


def test_the_statements_take_their_parameters_in_the_same_order_on_both() -> None:
    lite, server = Statements("sqlite"), Statements("postgresql")
    both = [name for name in lite.names() if name in server.names()]
    assert both == lite.names()
    assert {name: lite.parameters(name) for name in both} == {name: server.parameters(name) for name in both}


# -- its users ----------------------------------------------------------------------------------------------------


def asked_for() -> Iterator[str]:
    """Name what any module asks a ledger's statements for: `sql.NAME`, `db.sql.NAME`, `sql.values("NAME", ...)`. The
    declarations of standing tables have names too."""
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="values", value=of), args=[ast.Constant(value=str(name)), *_]):
                    found = name
                case ast.Attribute(attr=name, value=of) if not hasattr(Statements, name):
                    found = name
                case _:
                    continue
            if getattr(of, "id", getattr(of, "attr", "")) in ("sql", "_sql"):
                yield found
    for table in STANDING:
        yield from filter(
            None, (table.pages, table.puts, table.points, table.forgets, table.target and table.target.finds)
        )
        yield from (twin.finds for twin in (table.twin, *table.twins))
        yield from [table.whole.known] if table.whole is not None else []


def test_each_statement_that_is_asked_for_is_there_and_each_that_is_there_is_asked_for() -> None:
    written = {*Statements("sqlite").names(), *Statements("postgresql").names()}
    assert {*asked_for()} ^ {name for name in written if not name.startswith("CREATE_")} == set()


def test_a_statement_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"`ledger\.sql` has no statement `put_taks` for sqlite"):
        _ = Statements("sqlite").PUT_TAKS


# -- the databases ------------------------------------------------------------------------------------------------


def test_sqlite_prepares_each_statement() -> None:
    with closing(nothing()) as db:
        for name in db.sql.names():
            if not name.startswith("CREATE_"):
                db.execute(f"EXPLAIN {getattr(db.sql, name)}", [None] * len(db.sql.parameters(name)))


def test_a_server_prepares_each_statement(postgres: Postgres) -> None:
    url = postgres.database()
    opening.connect(url).close()
    sql = Statements("postgresql")
    with closing(psycopg.connect(url, autocommit=True)) as db:
        for name in sql.names():
            if not name.startswith("CREATE_"):
                places = count(1)
                text = re.sub("%s", lambda _, places=places: f"${next(places)}", getattr(sql, name))
                db.execute(f"PREPARE {name} AS {text}".encode())


def test_the_index_of_the_events_of_drivers_has_the_kinds_that_are_asked_for() -> None:
    kinds = [encode_event(Gone("far", "why", 1.0)), encode_event(Taken(1, "ada", 1.0))]
    for dialect in ("sqlite", "postgresql"):
        for text in (Statements(dialect).OF_DRIVER, Statements(dialect).CREATE_EVENTS_OF_DRIVERS):
            assert [bytes.fromhex(found) for found in re.findall(r"A[0-9A-F]{9}", text)] == [
                body[1:6] for body in kinds
            ]


def test_sqlite_finds_the_events_of_drivers_by_their_index() -> None:
    with closing(nothing()) as db:
        (found,) = db.execute(f"EXPLAIN QUERY PLAN {db.sql.OF_DRIVER}", (1, 6, b"")).fetchall()
    assert found[-1] == "SEARCH events USING INDEX ix_events_of_drivers (run=?)"


def test_a_server_finds_the_events_of_drivers_by_their_index(postgres: Postgres) -> None:
    url = postgres.database()
    opening.connect(url).close()
    with closing(psycopg.connect(url, autocommit=True)) as db:
        db.execute("INSERT INTO events SELECT 1, n, BYTEA '\\x92A4776F6B65' FROM generate_series(1, 5000) n")
        db.execute("ANALYZE events")
        found = db.execute(f"EXPLAIN {Statements('postgresql').OF_DRIVER}".encode(), (1, 6, b"")).fetchall()
    assert "ix_events_of_drivers" in str(found)


# -- rows ---------------------------------------------------------------------------------------------------------


class Times(Struct, frozen=True, kw_only=True):
    """Two numbers that nobody could tell apart by their places."""

    load_s: float
    save_s: float
    more: float = 0.0


def test_a_column_goes_to_the_field_of_its_name_wherever_it_stands() -> None:
    reader = Reader(Times)
    with closing(sqlite3.connect(":memory:")) as db:
        for text in ("select 1.0 as load_s, 2.0 as save_s", "select 9 as other, 2.0 as save_s, 1.0 as load_s"):
            assert list(reader.read(db.execute(text))) == [Times(load_s=1.0, save_s=2.0)]
        found = db.execute("select 2.0 as save_s, 7 as number, 1.0 as load_s")
        assert list(reader.beside(found, "number")) == [(Times(load_s=1.0, save_s=2.0), 7)]
        assert list(reader.read(db.execute("select 1.0 as load_s, 2.0 as save_s where false"))) == []
        with pytest.raises(TypeError, match="load_s"):
            list(reader.read(db.execute("select 2.0 as save_s")))


READ: list[tuple[Reader[Any], list[str]]] = [
    (records.TASK_ROWS, ["TASK_ROW", "TASK_ROWS", "TASKS_FROM"]),
    (records.RUN_ROWS, ["RUN_ROW"]),
    (records.RUNS, ["ALL_RUNS"]),
    (records.RESULTS, ["RESULTS_FROM", "RESULT_ROW"]),
    *((table.reader, [table.pages, table.twin.finds, *(twin.finds for twin in table.twins)]) for table in STANDING),
    (records.VERSIONS, ["VERSIONS", "VERSIONS_OF"]),
    (records.ALIASES, ["ALIASES"]),
    (records.METRICS, ["METRICS"]),
    (records.GRANTS, ["CLAIMS"]),
    (shown.TASK_VIEWS, ["TASK_LINES", "FAILED_LINES"]),
    (shown.RUN_LINES, ["NEWEST_RUN", "RUN_LINE", "RUNS_BY_PREFIX", "RUN_LINES", "RUN_LINES_OF", "RUN_LINE_BY_NUMBER"]),
    (shown.STAGE_LINES, ["STAGE_LINES"]),
    (shown.PAST_VIEWS, ["HISTORY"]),
]


@pytest.mark.parametrize(("reader", "names"), READ)
def test_each_field_of_a_row_is_a_column_even_one_that_has_a_default(reader: Reader[Any], names: list[str]) -> None:
    with closing(nothing()) as db:
        for name in names:
            found = columns(db.execute(getattr(db.sql, name), [0] * len(db.sql.parameters(name))))
            assert reader.needs() - {*found} == set(), name


def test_what_is_put_into_a_table_is_told_in_the_order_of_its_columns() -> None:
    """An archive has its rows in that order, and they are put as they come."""
    with closing(nothing()) as db:
        for name in db.sql.names():
            if named := re.match(r"INSERT INTO (\w+) .* VALUES ", getattr(db.sql, name)):
                table = [column for _, column, *_ in db.execute(f"PRAGMA table_info({named[1]})")]
                given = db.sql.parameters(name)
                assert list(given) == [column for column in table if column in given], name


# -- migrations ---------------------------------------------------------------------------------------------------


def test_a_new_ledger_has_the_tables_that_the_migrations_make(tmp_path: Path) -> None:
    connect(tmp_path / "new.db").close()
    with begin(tmp_path / "migrated.db") as connection:
        upgrade(connection)
    assert shape(tmp_path / "new.db") == shape(tmp_path / "migrated.db")


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
