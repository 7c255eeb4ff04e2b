"""`ingest.sql` as a plain function: what is bound, what comes back, and what is refused."""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import subprocess
import sys
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

import headrace as hr
from headrace.codec.later import table_of
from headrace.define.cursor import Cursor
from headrace.errors import DataError, DefinitionError, HeadraceError, SourceError
from headrace.stages import ingest
from headrace.stages.ingest._sql.opening import session
from headrace.stages.ingest._sql.reading import since, version_of
from headrace.stages.ingest._sql.session import Session
from headrace.stages.ingest._sql.stages import Held, read_on
from headrace.stages.ingest._sql.statement import parse
from headrace.stages.ingest._sql.watermark import ahead
from tests.projects import Project
from tests.servers.postgres import PASSWORD, Postgres
from tests.stages.ingest.sources import Source, source_in

sql: Any = ingest.sql


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, and have the secret of the server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PW", PASSWORD)
    return tmp_path


@pytest.fixture
def sqlite(folder: Path) -> Source:
    return source_in("sqlite", folder, None)


@pytest.fixture
def pg(folder: Path, postgres: Postgres) -> Source:
    return source_in("postgresql", folder, postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest) -> Source:
    found: Source = request.getfixturevalue({"sqlite": "sqlite", "postgresql": "pg"}[request.param])
    return found


def refused(kind: type[HeadraceError], *args: Any, **options: Any) -> str:
    """Return what an error and its hint say."""
    with pytest.raises(kind) as caught:
        sql(*args, **options)
    assert caught.value.hint
    assert PASSWORD not in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


def test_a_query_gives_a_table_and_parameters_are_bound(source: Source) -> None:
    source.make_orders(10)
    found = sql(source.url, "select id, value from orders where id <= :m and id >= :m - 1 -- :x", m=4)
    assert found.to_pydict() == {"id": [3, 4], "value": [1.5, 2.0]}
    evil = "'; drop table orders; -- \\ $1 :m"
    echo = sql(
        source.url, f"select {':a' if source.kind == 'sqlite' else ':a::text'} as a, :a || :b as ab", a=evil, b="ü"
    )
    assert echo.to_pylist() == [{"a": evil, "ab": evil + "ü"}]
    assert sql(source.url, "select id from orders where id < 0").num_rows == 0


def test_the_rows_are_in_parts_of_the_size_asked_for(source: Source) -> None:
    source.make_orders(1000)
    found = sql(source.url, "select * from orders order by id", batch_rows=300)
    assert [len(each) for each in found["id"].chunks] == [300, 300, 300, 100]
    assert found["id"].to_pylist() == list(range(1000))


def test_values_of_each_type_are_bound_in_postgresql(pg: Source) -> None:
    day, moment = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001  PostgreSQL has times without a zone
    values: dict[str, Any] = {
        "a": True, "b": 2**40, "c": -1.5, "d": decimal.Decimal("1.10"), "e": day, "f": moment,
        "g": moment.replace(tzinfo=dt.UTC), "h": dt.time(1, 2), "i": b"\x00\xff", "j": uuid.UUID(int=7), "k": None,
        "l": dt.timedelta(days=1, seconds=2), "m": "", "n": float("inf"), "o": 2**70,
    }  # fmt: skip
    columns = ", ".join(f":{name} as {name}" for name in values if name not in "do")
    (row,) = sql(pg.url, f"select {columns}, :d::numeric(4,2) as d, (:o = 2::numeric ^ 70) as o", **values).to_pylist()
    assert (row.pop("l").days, row.pop("l", None)) == (1, None)
    assert row == {**{name: value for name, value in values.items() if name != "l"}, "o": True}


def test_dates_are_text_in_sqlite(sqlite: Source) -> None:
    found = sql(
        sqlite_with(sqlite),
        "select :a as a, :b as b, :c as c",
        a=dt.date(2026, 1, 2),
        b=dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC),
        c=True,
    )
    assert found.to_pylist() == [{"a": "2026-01-02", "b": "2026-01-02 03:00:00+00:00", "c": 1}]
    assert "`Decimal`" in refused(SourceError, sqlite.url, "select :a", a=decimal.Decimal(1))


def sqlite_with(source: Source) -> str:
    source.run("create table if not exists empty (a)")
    return source.url


def test_columns_of_sqlite_that_show_their_type_late_are_read(sqlite: Source) -> None:
    sqlite.run("create table t (id integer, late, mixed numeric, void)")
    rows = [(each, None if each < 20_000 else "late", each if each < 20_000 else 0.5, None) for each in range(20_003)]
    sqlite.run("insert into t values (?, ?, ?, ?)", rows)
    found = sql(sqlite.url, "select * from t order by id")
    assert [str(each) for each in found.schema.types] == ["int64", "string", "double", "int64"]
    assert found.slice(19_999).to_pylist()[1:3] == [
        {"id": each, "late": "late", "mixed": 0.5, "void": None} for each in (20_000, 20_001)
    ]
    assert found.num_rows == 20_003
    sqlite.run("insert into t values (?, ?, ?, ?)", [(1, b"x", 1, None)])
    assert "column `late` holds values of several kinds: blob, text" in refused(
        SourceError, sqlite.url, "select * from t"
    )


@pytest.mark.parametrize("place", [0, 5, 9_000])
@pytest.mark.parametrize(
    ("value", "odd", "kinds"),
    [
        (1234567.891, "n/a", "real, text"),
        (5, "n/a", "integer, text"),
        ("n/a", 5.123456789, "real, text"),
        (b"a", 5, "blob, integer"),
        (b"a", "a", "blob, text"),
        ("a", b"a", "blob, text"),
    ],
)
def test_a_column_of_several_kinds_is_an_error_wherever_the_odd_value_is(
    sqlite: Source, value: Any, odd: Any, kinds: str, place: int
) -> None:
    sqlite.run("create table orders (id integer, at integer, value)")
    sqlite.run(
        "insert into orders values (?, ?, ?)", [(each, each, odd if each == place else value) for each in range(10_000)]
    )
    told = f"column `value` holds values of several kinds: {kinds}"
    query = "select *, at as value from orders where id >= :least -- two columns with one name"
    assert told in refused(SourceError, sqlite.url, query, least=0)
    with pytest.raises(SourceError, match=told):
        increment(sqlite, None)
    few = sql(sqlite.url, query, least=9_500)  # the rows of the query are of one kind
    assert few.column(2).to_pylist() == [value] * 500


def test_as_many_text_columns_of_sqlite_are_read_as_a_query_may_have(sqlite: Source) -> None:
    names = [f"c{each}" for each in range(1_500)]
    sqlite.run(f"create table wide ({', '.join(names)})")
    sqlite.run(f"insert into wide values ({', '.join('?' * len(names))})", [["text"] * len(names)] * 2)
    assert sql(sqlite.url, "select * from wide").num_columns == 1_500
    sqlite.run("update wide set c1400 = 5 where rowid = 2")
    assert "column `c1400` holds values of several kinds" in refused(SourceError, sqlite.url, "select * from wide")


@pytest.mark.parametrize("name", ["my value", "order"])
def test_the_hint_for_a_column_of_several_kinds_can_be_put_into_the_query(sqlite: Source, name: str) -> None:
    sqlite.run(f'create table t ("{name}")')
    sqlite.run("insert into t values (?)", [(1,), ("one",)])
    told = refused(SourceError, sqlite.url, f'select "{name}" from t')
    assert f"column `{name}` holds values of several kinds: integer, text" in told
    cast, case = told.partition("cast it in the query: ")[2].split("; or read the values of one kind as null: ")
    for advised, values in (cast, ["1", "one"]), (case, [1, None]):
        assert sql(sqlite.url, f"select {advised} from t").to_pydict() == {name: values}


def test_a_text_column_that_gets_numbers_is_an_error_of_the_next_increment(sqlite: Source) -> None:
    sqlite.run("create table orders (id integer primary key, at integer, value)")
    sqlite.run("insert into orders values (?, ?, ?)", [(1, 1, "much"), (5, 5, None)])
    _, held = increment(sqlite, None)
    sqlite.run("insert into orders values (?, ?, ?)", [(9, 9, 2.5)])
    with pytest.raises(SourceError, match="column `value` was `string` at the last read, and is `double`"):
        increment(sqlite, held)


def test_a_pragma_can_be_read(sqlite: Source) -> None:
    sqlite.make_orders(1)
    assert sql(sqlite.url, "/* columns */ pragma table_info(orders)")["name"].to_pylist() == ["id", "at", "value"]


def test_a_text_that_is_not_utf8_is_named_and_never_kept(sqlite: Source) -> None:
    sqlite.run("create table t (id integer, name text)")
    sqlite.run("insert into t values (?, ?)", [(each, f"name {each}") for each in range(20_000)])
    sqlite.run("update t set name = cast(x'61ff' as text) where id = 15000")
    told = "column `name` holds a text that isn't UTF-8: b'a\\xff'"
    assert f"{told}, where `id` is 15000 | correct it" in refused(SourceError, sqlite.url, "select * from t")
    assert told in refused(SourceError, sqlite.url, "select name, id from t")
    assert "isn't UTF-8" in refused(SourceError, sqlite.url, "select 1", version="select name from t where id = 15000")
    found = sql(sqlite.url, "select id, cast(name as blob) as name from t where id = 15000")
    assert found.to_pylist() == [{"id": 15000, "name": b"a\xff"}]


def test_a_name_of_a_column_that_is_not_utf8_is_told(sqlite: Source) -> None:
    sqlite.run("create table t (id integer, naam text)")
    file = Path(sqlite.address)
    file.write_bytes(file.read_bytes().replace(b"naam", b"na\xffm"))
    assert "the name of a column isn't UTF-8: b'na\\xffm'" in refused(SourceError, sqlite.url, "select * from t")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_come_as_utf8_whatever_encoding_postgresql_keeps_them_in(
    postgres: Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    name = f"texts_{encoding.lower()}"
    postgres.query(f"create database {name} encoding '{encoding}' template template0")
    postgres.query("create table t as select 1 as id, 'caf' || chr(233) as name", name)
    url = postgres.url(name).replace(PASSWORD, "secret('PW')")
    if encoding == "LATIN1":
        assert sql(url, "select * from t")["name"].to_pylist() == ["café"]
    else:
        assert "isn't UTF-8: correct it" in refused(SourceError, url, "select * from t")


def test_what_arrow_has_not_is_named(pg: Source) -> None:
    for query, told in (
        ("select avg(1) as a", "column `a` is a `numeric` without a precision | cast it in the query: `a::float8`"),
        ("select point(1,2) as p", "column `p` is a `point`"),
        ("select int4range(1,2) as r", "column `r` is of a type of PostgreSQL's own"),
        ("select 1::money as m", "column `m` is a `money`"),
        ("select 'NaN'::numeric(4,2) as n", "column `n` has a value that doesn't fit the type `decimal128(4, 2)`"),
    ):
        assert told.replace(" | ", ", which Arrow doesn't have | ") in refused(SourceError, pg.url, query)
    pg.run("create type mood as enum ('good', 'bad')")
    made = "select 'good'::mood as m, '{1,2}'::int[] as a, '{\"x\": 1}'::jsonb as j, 1.5::numeric(10,2) as n"
    assert sql(pg.url, made).to_pylist() == [{"m": "good", "a": [1, 2], "j": '{"x": 1}', "n": decimal.Decimal("1.50")}]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_a_time_without_an_end_is_named_and_taken_for_no_other(pg: Source, kind: str) -> None:
    pg.run(f"create table spans (id integer, until {kind})")
    pg.run("insert into spans values (1, '2026-01-01'), (2, null)")
    pg.run("insert into spans values (3, '4713-01-01 BC'), (4, '9999-12-31')")
    assert sql(pg.url, "select * from spans")["until"].null_count == 1
    assert sql(pg.url, "select * from spans where id = 2")["until"].null_count == 1
    for endless in ("infinity", "-infinity"):
        pg.run(f"insert into spans values (5, '{endless}')")
        assert "column `until` has a time that is `infinity`" in refused(SourceError, pg.url, "select * from spans")
        query = f"select id, nullif(until, '{endless}') as until from spans"
        assert sql(pg.url, query)["until"].null_count == 2
        pg.run("delete from spans where id = 5")


def test_what_the_database_refuses_is_told_with_what_to_do(source: Source) -> None:
    source.make_orders(1)
    assert "correct the query" in refused(SourceError, source.url, "select nope from orders")
    assert "correct the query" in refused(SourceError, source.url, "select 1 from nowhere")
    assert "correct the query" in refused(SourceError, source.url, "selec 1")
    assert "for reading only" in refused(SourceError, source.url, "delete from orders")
    assert source.run("select count(*) from orders") == [(1,)]


def test_a_database_that_is_not_there_is_told(folder: Path, pg: Source) -> None:
    assert "there is no database" in refused(SourceError, "sqlite:///none.db", "select 1")
    assert not (folder / "none.db").exists()
    (folder / "text.db").write_text("hello" * 1000)
    assert "isn't an SQLite database" in refused(SourceError, "sqlite:///text.db", "select 1 from x")
    assert "names no file" in refused(SourceError, "sqlite://", "select 1")
    assert "is not a URL" in refused(SourceError, "warehouse", "select 1")
    assert "no ADBC driver `nosuch`" in refused(SourceError, "nosuch://host/db", "select 1")
    host = pg.url.replace("127.0.0.1", "nohost.invalid")
    assert "check host and port" in refused(SourceError, host, "select 1")
    assert "check the name of the database" in refused(SourceError, f"{pg.url}x", "select 1")


def test_a_wrong_password_is_told_and_never_shown(pg: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "gehe:im@x/")
    told = refused(SourceError, pg.url, "select 1")
    assert "password authentication failed" in told
    assert "gehe" not in told
    monkeypatch.delenv("PW")
    assert "secret `PW` is not set" in refused(DefinitionError, pg.url, "select 1")
    told = refused(DefinitionError, pg.address, "select 1")
    assert "has a password in it" in told


def test_the_whole_url_may_be_a_secret(pg: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE", pg.address)
    assert sql(hr.secret("WAREHOUSE"), "select :a::int as a", a=1).to_pylist() == [{"a": 1}]
    assert PASSWORD not in refused(SourceError, hr.secret("WAREHOUSE"), "selec 1")


def test_a_user_who_may_only_read_is_enough(pg: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    pg.make_orders(3)
    name = pg.address.rpartition("/")[2]
    pg.run(f"create role reader_{name} login password 'only-reads'")
    pg.run(f"grant select on orders to reader_{name}")
    for hidden in (False, True):
        if hidden:
            pg.run("revoke execute on function pg_control_system() from public")
        monkeypatch.setenv("PW", "only-reads")
        url = pg.url.replace("//postgres:", f"//reader_{name}:")
        assert sql(url, "select id from orders where id < :m", m=2).num_rows == 2
        assert "permission denied" in refused(SourceError, url, "select * from pg_authid")
    pg.run("grant execute on function pg_control_system() to public")


def test_other_databases_are_read_by_the_name_of_their_driver(folder: Path) -> None:
    with duckdb.connect(str(folder / "other.duckdb")) as made:
        made.execute("create table t as select range as id, 'x' as s from range(5000)")
    found = sql("duckdb:///other.duckdb", "select id from t where id < :a or id = :b or id = :a", a=2, b=4000)
    assert found["id"].to_pylist() == [0, 1, 2, 4000]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"b": 1}, "`b` was given, but is not a parameter"),
        ({"mode": "increment"}, "needs `watermark=`"),
        ({"mode": "snapshot"}, "needs `key=`"),
        ({"mode": "snapshot", "key": "id", "overlap": 1}, "takes no `watermark=`"),
        ({"mode": "increment", "watermark": "id", "overlap": "-1h"}, "give a time that isn't negative"),
        ({"mode": "all"}, "mode='all'"),
        ({"key": "id"}, "`key=` has no meaning"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"driver": "../../evil"}, "driver='../../evil' is not a name of an ADBC driver"),
        ({"driver": "os.path"}, "driver='os.path' is not a name of an ADBC driver"),
    ],
)
def test_options_that_make_no_sense_are_refused(sqlite: Source, options: dict[str, Any], told: str) -> None:
    assert told in refused(DefinitionError, sqlite.url, "select 1", **options)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("snowcap://host/db", "there is no ADBC driver `snowcap` here"),
        ("os.path://host/db", "`os.path` is not a name of an ADBC driver"),
    ],
)
def test_a_driver_that_is_not_there_is_named_with_its_package(url: str, told: str) -> None:
    found = refused(SourceError, url, "select 1")
    assert told in found
    assert "pip install adbc-driver-snow" in found


def test_a_parameter_that_was_not_given_is_named(sqlite: Source) -> None:
    assert "parameter `:m`" in refused(DefinitionError, sqlite.url, "select :m")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_state_of_an_sqlite_file_changes_with_each_commit(sqlite: Source, mode: str) -> None:
    sqlite.make_orders(1)
    sqlite.run(f"pragma journal_mode={mode}")
    seen: set[str | None] = set()
    with session(sqlite.url, {}, None, Path.cwd()) if mode == "wal" else nullcontext():  # so the log stays
        for each in range(1, 4):
            add_order(sqlite, each)
            for again in (False, True):
                with session(sqlite.url, {}, None, Path.cwd()) as opened:
                    assert (opened.version() in seen) == again
                    seen.add(opened.version())


@pytest.mark.parametrize("probe", [None, "count", "select count(*) from orders"])
def test_the_version_of_a_source_tells_how_it_is_read(
    source: Source, monkeypatch: pytest.MonkeyPatch, probe: str | None
) -> None:
    source.make_orders(1)
    query = parse("select * from orders", "postgresql" if source.kind == "postgresql" else "sqlite")
    secrets = {"PW": PASSWORD}
    with session(source.url, secrets, None, Path.cwd()) as opened:
        before = version_of(opened, query, {}, probe)
        assert before is not None
        assert before.endswith(", read 2") == (source.kind == "sqlite")
        monkeypatch.setattr(type(opened), "reads", ", read otherwise")
        assert version_of(opened, query, {}, probe) != before


def test_a_read_sees_one_state(source: Source) -> None:
    source.make_orders(10)
    if source.kind == "sqlite":
        source.run("pragma journal_mode=wal")
    with session(source.url, {"PW": PASSWORD}, None, Path.cwd()) as opened:
        before = opened.version()
        add_order(source, 10)
        with session(source.url, {"PW": PASSWORD}, None, Path.cwd()) as later:
            assert later.version() != before
        assert opened.version() == before
        table = pa.Table.from_batches(_batches(opened, "select * from orders"))
        assert table.num_rows == 10
    assert source.run("select count(*) from orders") == [(11,)]


READS_ON = """
import sys
from pathlib import Path
from headrace.errors import SourceError
from headrace.stages.ingest._sql.opening import session
from headrace.stages.ingest._sql.statement import parse

with session(sys.argv[1], {"PW": sys.argv[2]}, None, Path.cwd()) as opened:
    try:
        with opened.rows(parse("select * from orders", opened.dialect), {}) as (_, batches):
            next(batches)
            raise KeyError
    except KeyError:
        pass
try:
    list(batches)
except SourceError as error:
    print(error.message)
"""


def test_rows_that_are_read_on_after_their_database_was_closed_are_an_error_and_end_no_process(source: Source) -> None:
    source.make_orders(20_000)
    done = subprocess.run(
        [sys.executable, "-c", READS_ON, source.url, PASSWORD], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "a stream that has already been closed" in done.stdout


def add_order(source: Source, number: int) -> None:
    """Add an order, of SQLite from another process: in this one, it has no locks against itself."""
    if source.kind == "postgresql":
        return source.orders(1, number)
    code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()"
    insert = f"insert into orders values ({number}, {number}, {number / 2})"
    subprocess.run([sys.executable, "-c", code, source.address, insert], check=True)
    return None


def _batches(opened: Session, query: str) -> list[Any]:
    with opened.rows(parse(query, opened.dialect), {}) as (_, batches):
        return list(batches)


def increment(
    source: Source, held: Held | None, query: str = "select * from orders", **options: Any
) -> tuple[Any, Held | None]:
    """Read on as a stage would, and return what came, and what the cursor would hold then."""
    advanced: list[Any] = []
    asked: dict[str, Any] = {
        "mode": "increment", "watermark": "at", "key": ["id"], "overlap": 2, "parameters": {}, "version": "1",
        "secrets": {"PW": PASSWORD}, "cursor": Cursor("orders", 1 if held else 0, held),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headrace.stages.ingest._sql.stages.advance", lambda _, value: advanced.append(value))
        grown = read_on.function(source.url, query, **asked | options)
    return grown, advanced[0] if advanced else held


def version_in(held: Held | None) -> str:
    """The version of the source that a cursor holds. PostgreSQL's own upkeep may change it between two reads."""
    assert held is not None
    assert held.state is not None
    version = ast.literal_eval(held.state)[2]
    assert isinstance(version, str)
    return version


def rows(table: Any) -> dict[int, tuple[int, float]]:
    whole = getattr(table, "table", table)
    found = {row["id"]: (row["at"], row["value"]) for row in whole.to_pylist()}
    assert len(found) == whole.num_rows
    return found


def test_increments_have_each_row_once_in_its_latest_version(source: Source) -> None:
    source.make_orders(100)
    grown, held = increment(source, None, batch_rows=40)
    assert len(rows(grown.table)) == len(rows(grown.new)) == 100
    assert held is not None
    first = held
    source.orders(3, start=100)
    source.run("update orders set value = -1, at = 200 where id = 50")
    source.run("insert into orders values (?, ?, ?)", [(500, 98, 1.0)])  # late, within the overlap
    source.run("insert into orders values (?, ?, ?)", [(501, 10, 1.0)])  # later than that
    source.run("delete from orders where id = 7")
    grown, held = increment(source, first, batch_rows=40)
    assert held is not None
    assert set(rows(grown.new)) == {100, 101, 102, 50, 500}
    assert rows(grown.table) == {
        **{each: (each, each / 2) for each in range(103)}, 50: (200, -1.0), 500: (98, 1.0)
    }  # fmt: skip
    assert [each for each in first.parts if any(each is other for other in held.parts)] == [
        first.parts[0],
        first.parts[2],
    ]
    again, same = increment(source, held, batch_rows=40)
    assert same is held, "nothing new, so the cursor stays"
    assert again.new.num_rows == 0
    assert again.new.schema == again.table.table.schema
    facts = {each.name: each.value for each in grown.report.facts}
    assert facts == {
        "rows read": 8,
        "new rows": 4,
        "changed rows": 1,
        "rows held already": 3,
        "rows in all": 104,
        "rows behind the mark at the source": 96,
        "rows behind the mark that were read": 96,  # the one that came late makes up for the one that was deleted
    }
    assert "deleted rows can hide them" in " ".join(grown.report.limits)


@pytest.mark.parametrize(
    ("late", "told"),
    [
        (1, "at least 1 row at the source lies behind the mark and was never read: it came later"),
        (3, "at least 3 rows at the source lie behind the mark and were never read: they came later"),
    ],
)
def test_rows_that_came_behind_the_mark_are_counted_and_told(
    source: Source, capsys: pytest.CaptureFixture[str], late: int, told: str
) -> None:
    source.make_orders(100)
    _, held = increment(source, None)
    source.run("insert into orders values (?, ?, ?)", [(500 + each, 10 + each, 1.0) for each in range(late)])
    source.orders(1, start=100)
    grown, _ = increment(source, held)
    facts = {each.name: each.value for each in grown.report.facts}
    assert facts["rows in all"] == 101
    assert facts["rows behind the mark at the source"] == 97 + late
    assert facts["rows behind the mark that were read"] == 97
    assert told in capsys.readouterr().err


def test_a_longer_overlap_reads_late_rows_of_the_version_that_is_held(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.make_orders(100)
    _, held = increment(source, None)
    source.run("insert into orders values (?, ?, ?)", [(500, 10, 1.0)])
    source.orders(1, start=100)
    _, held = increment(source, held)
    assert "give a longer `overlap=`" in capsys.readouterr().err
    grown, held = increment(source, held, overlap=95, version=version_in(held))
    assert set(rows(grown.new)) == {500}
    grown, same = increment(source, held, overlap=95, version=version_in(held))
    assert (grown.new.num_rows, same) == (0, held)
    assert "not read again" in grown.report.limits[0]


def test_late_rows_that_deleted_rows_hide_are_not_said_to_be_none(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.make_orders(100)
    _, held = increment(source, None)
    source.run("insert into orders values (?, ?, ?)", [(500, 10, 1.0), (501, 11, 1.0)])
    source.run("delete from orders where id in (7, 8)")
    grown, _ = increment(source, held)
    assert not [each for each in grown.report.facts if "never" in each.name]
    assert "deleted rows can hide them" in " ".join(grown.report.limits)
    assert "behind the mark" not in capsys.readouterr().err


def test_a_watermark_from_which_no_overlap_can_be_taken_is_refused_before_the_cursor_moves(source: Source) -> None:
    source.run("create table visits (id integer primary key, at text)")
    source.run("insert into visits values (?, ?)", [(1, "2026-01-01 10:00:00"), (2, "nonsense")])
    with pytest.raises(DefinitionError, match="the watermark `at`, which is 'nonsense'") as caught:
        increment(source, None, query="select * from visits", overlap="1d")
    assert "correct its row at the source" in caught.value.hint
    source.run("delete from visits where id = 2")
    grown, held = increment(source, None, query="select * from visits", overlap="1d")
    assert held is not None
    assert grown.new.num_rows == 1


NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MINUTES = [f"2026-01-01 {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(100)]


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ([*MINUTES, "2026-01-01 23:00:00"], "1 of 101 rows have a watermark far ahead of the others"),
        (MINUTES, ""),
        ([*MINUTES, "2026-01-01 02:00:00"], ""),
        ([*MINUTES, "2027-01-01 00:00:00"], "1 row has a watermark in the future (`at` up to 2027-01-01 00:00:00)"),
        ([dt.date(2026, 1, 1), dt.date(2030, 1, 1)], "1 row has a watermark in the future (`at` up to 2030-01-01)"),
        ([*range(100), 10**9], "1 of 101 rows have a watermark far ahead of the others (`at` = 1000000000)"),
        ([float(each) for each in range(100)], ""),
        ([2**each for each in range(40)], ""),
        ([f"order {each}" for each in range(100)], ""),
        ([*MINUTES, "nonsense"], "the highest watermark (`at` = nonsense) isn't a time, unlike others"),
        ([5] * 99 + [10**9], ""),
        ([1, 10**9], ""),
        ([], ""),
    ],
)
def test_a_watermark_far_ahead_of_the_others_is_told(marks: list[Any], told: str) -> None:
    column = pa.chunked_array([pa.array(marks, None if marks else pa.int64())])
    assert ahead(column, "at", now=NOW).startswith(told) if told else ahead(column, "at", now=NOW) == ""


def test_a_snapshot_sees_what_is_gone(source: Source) -> None:
    source.make_orders(100)
    snapshot = {"mode": "snapshot", "watermark": None, "overlap": None}
    _, held = increment(source, None, batch_rows=40, **snapshot)
    source.run("delete from orders where id in (7, 93)")
    source.run("update orders set value = -1 where id = 50")
    source.orders(1, start=100)
    assert held is not None
    grown, then = increment(source, held, batch_rows=40, **snapshot)
    assert set(rows(grown.gone)) == {7, 93}
    assert rows(grown.new) == {50: (50, -1.0), 100: (100, 50.0)}
    assert set(rows(grown.table)) == set(range(101)) - {7, 93}
    assert increment(source, then, batch_rows=40, **snapshot)[1] is then


def test_a_watermark_that_is_its_own_key_must_be_so(source: Source) -> None:
    source.make_orders(5)
    grown, _ = increment(source, None, key=["at"])
    assert len(rows(grown.table)) == 5
    source.run("update orders set at = 3 where id = 2")
    with pytest.raises(DataError, match="2 rows have the same key: `at` is 3"):
        increment(source, None, key=["at"])


def test_rows_without_a_watermark_are_an_error_whenever_they_come(source: Source) -> None:
    source.make_orders(5)
    _, held = increment(source, None)
    source.run("insert into orders values (?, ?, ?)", [(9, None, 1.0)])
    with pytest.raises(DataError, match="1 row has no watermark: `at` is null"):
        increment(source, held)


@pytest.mark.parametrize("declared", ["integer", "integer not null"])
def test_what_came_since_is_found_by_an_index_in_sqlite(sqlite: Source, declared: str) -> None:
    sqlite.run(f"create table orders (id integer primary key, at {declared}, value real)")
    sqlite.run("create index orders_at on orders (at)")
    with session(sqlite.url, {}, None, Path.cwd()) as opened:
        asked, values = since(opened, parse("select * from orders where id > :m", "sqlite"), {"m": 0}, "at", 7)
        plan = opened.one(asked.inside("explain query plan ", ""), values)
    assert not [each for each in plan if "SCAN" in str(each)]


def test_an_increment_of_few_rows_has_the_types_of_the_rest_in_sqlite(sqlite: Source) -> None:
    sqlite.run("create table orders (id integer primary key, at integer, value numeric)")
    sqlite.run("insert into orders values (?, ?, ?)", [(1, 1, 0.5)])
    _, held = increment(sqlite, None)
    sqlite.run("insert into orders values (?, ?, ?)", [(9, 9, 2)])
    grown, held = increment(sqlite, held)
    assert rows(grown.table) == {1: (1, 0.5), 9: (9, 2.0)}
    sqlite.run("insert into orders values (?, ?, ?)", [(10, 10, "much")])
    with pytest.raises(SourceError, match="column `value` holds values of several kinds: integer, text"):
        increment(sqlite, held)


def test_a_column_that_never_had_a_value_gets_its_type_with_the_first(sqlite: Source) -> None:
    sqlite.run("create table orders (id integer primary key, at integer, value)")
    sqlite.run("insert into orders values (?, ?, ?)", [(1, 1, None), (2, 2, None)])
    _, held = increment(sqlite, None, batch_rows=1)
    sqlite.run("insert into orders values (?, ?, ?)", [(3, 3, "much")])
    grown, held = increment(sqlite, held, batch_rows=1)
    assert rows(grown.table) == {1: (1, None), 2: (2, None), 3: (3, "much")}
    sqlite.run("insert into orders values (?, ?, ?)", [(4, 4, None)])
    assert len(rows(increment(sqlite, held)[0].table)) == 4


@pytest.mark.parametrize(("value", "later", "kind"), [("much", None, pa.string()), (0.5, 3, pa.float64())])
def test_a_column_keeps_its_type_while_another_gets_its_own_late(
    sqlite: Source, value: Any, later: Any, kind: pa.DataType
) -> None:
    sqlite.run("create table orders (id integer primary key, at integer, value, note)")
    sqlite.run("insert into orders values (?, ?, ?, ?)", [(1, 1, value, None), (5, 5, later, None)])
    _, held = increment(sqlite, None)
    sqlite.run(  # a text that the driver comes upon only behind its first batch
        "insert into orders values (?, ?, ?, ?)",
        [(each, each, later, "late" if each == 9_000 else None) for each in range(6, 9_001)],
    )
    grown, _ = increment(sqlite, held)
    assert grown.table.table.schema.field("value").type == kind
    assert grown.table.table.schema.field("note").type == pa.string()
    assert grown.table.table.num_rows == 8_997


def test_a_database_that_has_no_version_is_planned_to_be_read_in_each_run(project: Project) -> None:
    project.write(
        "other.py",
        """\
    import headrace as hr
    from headrace.stages import ingest

    @hr.pipeline
    def other(url: str = "duckdb:///other.duckdb", probe: str = "") -> None:
        url = f"{hr.secret('URL')}" if url == "secret" else url
        ingest.sql(url, "select 1 as n", version=probe or None)
    """,
    )
    reasons = []
    for words in ((), ("--probe", "count"), ("--url", "sqlite:///shop.db"), ("--url", "secret")):
        tasks = project.headrace("plan", "other.py:other", "--json", *words).json["tasks"]
        reasons.append({each["name"]: each["reason"] for each in tasks}["sql"])
    assert [each == "never reused (`cache=False`)" for each in reasons] == [True, False, False, False]


def test_a_decimal_is_a_watermark_in_other_databases_too(folder: Path) -> None:
    source = Source("duckdb", "duckdb:///other.duckdb", "")
    with duckdb.connect(str(folder / "other.duckdb")) as made:
        made.execute("create table orders (id int, at_ decimal(9, 2))")
        made.execute("insert into orders values (1, 1.5), (2, 2.5)")
    _, held = increment(source, None, watermark="at_", overlap=None)
    with duckdb.connect(str(folder / "other.duckdb")) as made:
        made.execute("insert into orders values (3, 2.75), (4, 0.5)")
    grown, _ = increment(source, held, watermark="at_", overlap=None, version="2")
    assert grown.new["id"].to_pylist() == [3]


MODES: dict[str, dict[str, Any]] = {
    "increment": {"watermark": "id"},
    "snapshot": {"mode": "snapshot", "watermark": None, "overlap": None},
}


def staff(source: Source, mode: str) -> Held:
    """Make a table of staff, and return what a cursor holds of it."""
    source.run("create table staff (id integer, name text, city text)")
    source.run("insert into staff values (?, ?, ?)", [(1, "Ann", "Ulm"), (2, "Bob", "Bonn")])
    _, held = increment(source, None, query="select * from staff", **MODES[mode])
    assert held is not None
    return held


@pytest.mark.parametrize("mode", MODES)
def test_columns_that_came_or_went_are_named(source: Source, mode: str) -> None:
    for columns, told in (
        ("id integer, name text, city text, team text", "column `team` is new since the last read"),
        ("id integer, city text", "column `name` is gone since the last read"),
        ("name text, city text", "column `id` is gone since the last read"),
        ("id integer", "columns `name`, `city` are gone since the last read"),
    ):
        held = staff(source, mode)
        source.run("drop table staff")
        source.run(f"create table staff ({columns})")
        source.run(f"insert into staff ({columns.split()[0]}) values ('3')")
        with pytest.raises(SourceError) as caught:
            increment(source, held, query="select * from staff", **MODES[mode])
        assert caught.value.message == told
        assert "read all rows again with another `cursor=` than `orders`" in str(caught.value.hint)
        source.run("drop table staff")


@pytest.mark.parametrize("mode", MODES)
def test_a_column_that_got_another_name_or_was_replaced_is_named(source: Source, mode: str) -> None:
    held = staff(source, mode)
    for changes in (["rename name to team"], ["rename team to name", "drop column name", "add column team text"]):
        for change in changes:
            source.run(f"alter table staff {change}")
        source.run("insert into staff (id, team) values (3, 'red')")
        with pytest.raises(SourceError) as caught:
            increment(source, held, query="select * from staff", **MODES[mode])
        assert caught.value.message == (
            "column `name` is gone since the last read and column `team` is new since the last read"
        )


@pytest.mark.parametrize("mode", MODES)
def test_columns_in_another_order_are_matched_by_their_names(source: Source, mode: str) -> None:
    held = staff(source, mode)
    source.run("drop table staff")
    source.run("create table staff (city text, name text, id integer)")
    source.run("insert into staff values (?, ?, ?)", [("Ulm", "Ann", 1), ("Bonn", "Bob", 2), ("Bern", "Cy", 3)])
    grown, _ = increment(source, held, query="select * from staff", **MODES[mode])
    assert grown.new.to_pylist() == [{"id": 3, "name": "Cy", "city": "Bern"}]
    assert sorted(grown.table.table.to_pylist(), key=lambda row: row["id"]) == [
        {"id": 1, "name": "Ann", "city": "Ulm"},
        {"id": 2, "name": "Bob", "city": "Bonn"},
        {"id": 3, "name": "Cy", "city": "Bern"},
    ]
    assert grown.gone.num_rows == 0


@pytest.mark.parametrize("mode", MODES)
def test_columns_of_one_name_are_read_on_while_their_order_stays(source: Source, mode: str) -> None:
    source.run("create table staff (id integer, name text)")
    source.run("create table towns (town integer, name text)")
    source.run("insert into staff values (1, 'Ann')")
    source.run("insert into towns values (1, 'Ulm')")
    query = "select * from staff join towns on town = id"
    _, held = increment(source, None, query=query, **MODES[mode])
    source.run("insert into staff values (2, 'Bob')")
    source.run("insert into towns values (2, 'Bonn')")
    grown, held = increment(source, held, query=query, **MODES[mode])
    (new,) = zip(*(column.to_pylist() for column in grown.new.columns), strict=True)
    assert new == (2, "Bob", 2, "Bonn")
    source.run("drop table towns")
    source.run("create table towns (name text, town integer)")
    source.run("insert into towns values (?, ?)", [("Ulm", 1), ("Bonn", 2)])
    with pytest.raises(SourceError, match=r"the order of the columns has changed .* two columns have the same name"):
        increment(source, held, query=query, **MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_a_column_that_changed_its_type_is_named(source: Source, mode: str) -> None:
    held = staff(source, mode)
    source.run("alter table staff alter column city type integer using 1")
    with pytest.raises(SourceError, match="column `city` was `string` at the last read, and is `int32`") as caught:
        increment(source, held, query="select * from staff", **MODES[mode])
    assert "another `cursor=` than `orders`" in str(caught.value.hint)


def test_a_cursor_belongs_to_one_question(sqlite: Source) -> None:
    sqlite.make_orders(5)
    _, held = increment(sqlite, None)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"key": ["id", "at"]}, "`key` was `id`, and is `id`, `at`"),
        ({"watermark": "value"}, "`watermark` was `at`, and is `value`"),
        (
            {"mode": "snapshot", "watermark": None},
            "`mode` was `increment`, and is `snapshot`; `watermark` was `at`, and",
        ),
        (
            {"query": "select * from orders where id > 1"},
            "`query` was `select \\* from orders`, and is `select .* > 1`",
        ),
    ]
    for options, told in wrong:
        with pytest.raises(SourceError, match=f"cursor `orders` holds the rows of another query: {told}") as caught:
            increment(sqlite, held, **options)
        assert str(caught.value.hint).startswith("use the query as before to go on")
    assert held is not None
    with pytest.raises(SourceError, match="its query, parameters, `key`, `watermark` or `mode` was another one"):
        increment(sqlite, msgspec.structs.replace(held, asked=None), key=["id", "at"])
    with pytest.raises(SourceError, match="is not one of `ingest"):
        increment(sqlite, "something")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_a_source_of_the_version_that_is_held_is_not_read_again(sqlite: Source, mode: str) -> None:
    sqlite.make_orders(5)
    options: dict[str, Any] = {**MODES[mode], "query": "select * from orders", "probe": "count"}
    _, held = increment(sqlite, None, **options)
    version = version_in(held)
    sqlite.run("update orders set value = 7 where id = 4")  # which a count doesn't show
    grown, same = increment(sqlite, held, **options, version=version)
    assert (rows(grown.table), grown.new.num_rows, grown.gone.num_rows, same) == (rows(held_rows(held)), 0, 0, held)
    facts = {fact.name: fact.value for fact in grown.report.facts}
    assert (facts["rows read"], facts["rows in all"]) == (0, 5)
    assert "not read again" in grown.report.limits[0]
    for other in ({"version": "another"}, {"version": version, "probe": "max(id)"}):
        grown, _ = increment(sqlite, held, **options | other)
        assert getattr(grown.new, "table", grown.new).column("id").to_pylist() == [4]


def held_rows(held: Held) -> pa.Table:
    return pa.concat_tables([table_of(part) for part in held.parts])


def test_that_a_parameter_has_another_value_is_said_without_the_value(sqlite: Source) -> None:
    sqlite.make_orders(5)
    query = "select * from orders where id > :least"
    _, held = increment(sqlite, None, query=query, parameters={"least": 1234})
    assert held is None
    _, held = increment(sqlite, None, query=query, parameters={"least": 1})
    with pytest.raises(SourceError, match="another query: the value of `least` is another one"):
        increment(sqlite, held, query=query, parameters={"least": 2})
    assert held is not None
    assert "1" not in repr(held.asked)


def test_reading_imports_neither_pandas_nor_polars(sqlite: Source) -> None:
    sqlite.make_orders(5)
    code = (
        "import sys; from headrace.stages import ingest; "
        "ingest.sql('sqlite:///warehouse.db', 'select * from orders where id < :m', m=3, mode='increment',"
        " watermark='at'); print([each for each in ('pandas', 'polars') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
