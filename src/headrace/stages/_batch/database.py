"""The stage behind `deploy.batch` that writes answers to a table of a database, each row by its key.

The table `headrace_batches` in the same database has a row for each delivery, with the number of answers that are
written. Each transaction writes some answers and updates this number, so a repeated attempt neither repeats an answer
nor leaves one out.
"""

from __future__ import annotations

import os
import re
import secrets as randomness
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from adbc_driver_manager import AdbcStatement

from headrace.define.attempt import attempt
from headrace.define.log import log
from headrace.define.ports import tracing
from headrace.define.stage import ready
from headrace.errors import DataError, SourceError, listed, sentence
from headrace.models.types import plain_type
from headrace.stages._batch.folders import check_real, place_of
from headrace.stages.ingest._check.keys import repeated_rows
from headrace.stages.ingest._sql.opening import filled, module_of, path_in, revealed, secrets_of, shown_of
from headrace.stages.ingest._sql.session import Session, dialect_of, quoted
from headrace.stages.ingest._sql.statement import Statement
from headrace.stages.ingest._sql.trouble import HINTS, telling

WRITE_ROWS = 1 << 16
"""How many rows are written in one transaction."""
BUSY_MS = 30_000
"""The time in milliseconds to wait for another connection that writes to an SQLite file, or that begins a batch."""
MARKS = "headrace_batches"
STAGED = "headrace_staged"
RUN = "HEADRACE_RUN"
_DRIVERS = ("adbc_driver_manager", "adbc_driver_sqlite", "adbc_driver_postgresql", "duckdb")
_INGEST = {"adbc.ingest.mode": "adbc.ingest.mode.create", "adbc.ingest.temporary": "true"}
_NO_KEY = r"no unique or exclusion constraint|does not match any PRIMARY KEY or UNIQUE"
_HINTS = (
    (r"permission denied|readonly|read-only|must be owner", "ask for the right to write, and to create tables there"),
    (r"disk is full|No space left", "make room there, and resume the run: it continues after the last complete part"),
    (r"unable to open|failed to open", "check the path, and whether workers may write there"),
    (
        r"is of type|invalid input syntax|out of range|violates",
        "change the types of the table, or the columns in `keep=`",
    ),
    *HINTS,
)


@ready("deploy.batch.table", version=1, on=_DRIVERS, kind="deploy", name="batch_to_table", cache=False)
def to_database(table: pa.Table, url: str, name: str, *, key: tuple[str, ...], secrets: dict[str, str]) -> pa.Table:
    """Write the answers in `table` to the table `name` of a database, and return `table`. A row of the database with
    the same key is replaced. `secrets` are the secrets that `url` refers to, by name.

    Raises:
        DataError: two rows have the same key, the key of a row is null, a column's type doesn't exist in the database,
            or the table there lacks a column or a unique key on the columns `key`.
        SourceError: the database can't be reached or written.
    """
    _check_keys(table, key)
    job = _job(name)
    with _opened(url, secrets) as target:
        done = target.begin_batch(name, table.schema, key, job, len(table))
        while done < len(table):
            piece = table.slice(done, WRITE_ROWS)
            target.write(piece, done)
            done += len(piece)
            log("rows written", done)
    return table


def _job(name: str) -> str:
    """Return the text that identifies the delivery of a task's answers to a table. The text is the same for all
    attempts of the task in its run. Other tasks have other texts, even if their answers are equal."""
    here = attempt()
    ref = here.ref("table")
    run = os.environ.get(RUN) or randomness.token_hex(8)
    return f"{run}/{here.task}/{'' if ref is None else ref.digest}/{name}"


def url_of(to: str) -> tuple[str, dict[str, Any]]:
    """Return the URL of a database, and the secrets that the URL refers to, by name. Outside of a pipeline, secrets are
    read from the environment.

    Raises:
        DefinitionError: the URL has a password in it, or a secret isn't set.
    """
    secrets = secrets_of(to)
    return (to if tracing.get() is not None else revealed(to)), secrets


def _check_keys(table: pa.Table, key: Sequence[str]) -> None:
    told = ", ".join(f"`{each}`" for each in key)
    columns = [table.column(name) for name in key]
    if any(column.null_count for column in columns):
        raise DataError(f"the key {told} is null in a row", hint="name columns that are never null as the key")
    twice = repeated_rows(columns)
    if len(twice):
        values = ", ".join(str(column[int(twice[0])].as_py()) for column in columns)
        raise DataError(
            f"{len(twice):,} rows have the key of an earlier row: {told} is {values}",
            hint="name all columns that identify a row: key=[...]; or give each row once",
        )


@contextmanager
def _opened(url: str, secrets: Mapping[str, str]) -> Iterator[_Target]:
    """Open a database for writing. At the end of the `with` block, changes that aren't committed are rolled back."""
    shown, full = shown_of(url), filled(url, secrets)
    if dialect_of(full, None) == "sqlite":
        target: _Target = _Sqlite(full, shown)
    else:
        target = _Postgres(full, shown)
    try:
        yield target
    finally:
        target.end()


class _Target(Session):
    """A connection to a database for writing one batch.

    In each transaction, the number of written rows is increased first. The database lets only one connection change
    this number at a time: others wait until that connection commits. If the new number then isn't the expected one,
    another attempt, which seemed to be dead, has written the rows.
    """

    kinds: Sequence[tuple[str, str]] = ()
    """Regular expressions for the names of Arrow's types, each with the type that such a column gets in the
    database."""

    def __init__(self, database: Any, shown: str) -> None:
        super().__init__(database, shown)
        with telling(shown):
            self._connection.set_autocommit(False)
        self._name = self._job = self._marks = ""
        self._key: Sequence[str] = ()

    def begin_batch(self, name: str, schema: pa.Schema, key: Sequence[str], job: str, count: int) -> int:
        """Create the table `name` and the table `headrace_batches` if they don't exist, check the table `name`, and
        return how many rows of this delivery are written already. `job` identifies the delivery, and `count` is its
        number of rows."""
        place, _, alone = name.rpartition(".")
        self._name = ".".join(map(quoted, filter(None, (place, alone))))
        self._marks = ".".join(map(quoted, filter(None, (place, MARKS))))
        self._key, self._job = key, _text(job)
        columns = ", ".join(f"{quoted(each.name)} {self._type(each)}" for each in schema)
        keys = ", ".join(map(quoted, key))
        self.begin_alone()
        self._make(self._name, f"{columns}, primary key ({keys})")
        self._make(
            self._marks, "job text primary key, target text not null, done bigint not null, total bigint not null"
        )
        self._check_table(name, schema)
        self.do(
            f"insert into {self._marks} (job, target, done, total) values ({self._job}, {_text(name)}, 0, {count})"
            " on conflict (job) do nothing"
        )
        done = self._done()
        self.commit()
        return done

    def write(self, piece: pa.Table, done: int) -> None:
        """Write `piece`, the rows after the first `done` rows, and the new number of written rows, in one transaction.

        Raises:
            SourceError: the rows can't be written, or another attempt has written them.
        """
        self.do(f"update {self._marks} set done = done + {len(piece)} where job = {self._job}")
        if self._done() != done + len(piece):
            raise SourceError(
                f"another attempt of this task writes to {self._name} too",
                hint="resume the run when the other attempt has ended",
            )
        self.put(self._fitted(piece))
        self.commit()

    def begin_alone(self) -> None:
        """Begin the transaction anew, and wait until no other connection is in one that was begun by this method. So
        nobody creates a table after this connection has seen that there is none."""
        raise NotImplementedError

    def put(self, piece: pa.Table) -> None:
        """Insert rows. If a row with the same key exists, replace it."""
        raise NotImplementedError

    def cast(self, kind: pa.DataType) -> pa.DataType:
        """Return the type to which values of the type `kind` are cast for the driver."""
        if pa.types.is_null(kind):
            return pa.float64()
        return pa.float32() if pa.types.is_float16(kind) else plain_type(kind)

    def _fitted(self, piece: pa.Table) -> pa.Table:
        """Return rows, cast to types that the driver takes.

        Raises:
            DataError: a value can't be cast, such as a number that is too large.
        """
        for place, field in enumerate(piece.schema):
            if (kind := self.cast(plain_type(field.type))) == field.type:
                continue
            try:
                piece = piece.set_column(place, field.name, piece.column(place).cast(kind))
            except pa.ArrowException as error:
                raise DataError(
                    f"column `{field.name}` can't be written as `{kind}`: {sentence(error)}",
                    hint="leave it out of `keep=`, or cast it before",
                ) from error
        return piece

    def upsert(self, columns: Sequence[str], rows: str) -> str:
        """Return the statement that inserts `rows`, or replaces rows with the same keys. `rows` is SQL: `values (...)`
        or `select ...`."""
        others = [each for each in columns if each not in self._key]
        changes = ", ".join(f"{quoted(each)} = excluded.{quoted(each)}" for each in others)
        keys = ", ".join(map(quoted, self._key))
        then = f"do update set {changes}" if changes else "do nothing"
        return f"insert into {self._name} ({', '.join(map(quoted, columns))}) {rows} on conflict ({keys}) {then}"

    def commit(self) -> None:
        """Commit the transaction, and begin another one."""
        with telling(self.shown, _HINTS):
            self._connection.commit()

    def do(self, text: str, rows: pa.Table | None = None, **options: str) -> None:
        """Execute a statement, once for each of `rows` if they are given. If `text` is empty, write `rows` to the table
        that the driver's `options` name."""
        statement = AdbcStatement(self._connection)
        try:
            with telling(self.shown, _HINTS):
                statement.set_options(**options)
                if text:
                    statement.set_sql_query(text)
                if rows is not None:
                    if text:
                        statement.prepare()
                    statement.bind_stream(pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches()))
                statement.execute_update()
        finally:
            statement.close()

    def has(self, table: str) -> bool:
        """Return whether a table with this name exists. The name is quoted for SQL."""
        raise NotImplementedError

    def ask(self, text: str) -> int:
        """Return the number that a query returns."""
        (found,) = self.one(Statement(texts=(text,), places=()))
        return int(found)

    def _make(self, table: str, columns: str) -> None:
        """Create a table if it doesn't exist. An existing table is left alone, so that a user without the right to
        create tables can write to it."""
        if not self.has(table):
            self.do(f"create table if not exists {table} ({columns})")

    def _done(self) -> int:
        return self.ask(f"select done from {self._marks} where job = {self._job}")

    def _type(self, field: pa.Field) -> str:
        for pattern, kind in self.kinds:
            if re.fullmatch(pattern, str(plain_type(field.type))):
                return kind
        raise DataError(
            f"column `{field.name}` is `{field.type}`, which a table of the database can't have",
            hint="leave it out of `keep=`",
        )

    def _check_table(self, name: str, schema: pa.Schema) -> None:
        """Check that the table `name` has the columns of `schema`, and that the key is unique in the table.

        Raises:
            DataError: the table lacks a column, or has no constraint that makes the key unique.
        """
        with self.rows(Statement(texts=(f"select * from {self._name} where 1 = 0",), places=()), {}) as (found, _):
            there = list(found.names)
        if missing := [each for each in schema.names if each not in there]:
            raise DataError(
                f"the table `{name}` has no column `{missing[0]}`", hint=f"add it; the table has {listed(there, 20)}"
            )
        columns = ", ".join(map(quoted, schema.names))
        try:
            self.do(self.upsert(schema.names, f"select {columns} from {self._name} where 1 = 0"))
        except SourceError as error:
            if not re.search(_NO_KEY, str(error.__cause__)):
                raise
            keys = ", ".join(map(quoted, self._key))
            raise DataError(
                f"in the table `{name}`, several rows may have the same key: {', '.join(f'`{k}`' for k in self._key)}",
                hint=f"`create unique index on {self._name} ({keys})` in the database; or name its key by `key=`",
            ) from None


class _Sqlite(_Target):
    """A connection to an SQLite file. If the file doesn't exist, it is created; its folder must exist."""

    kinds = (
        (r"u?int\d+|bool", "integer"),
        (r"float|double|halffloat|null", "real"),
        (r"string|date.*|time.*", "text"),
        (r"(large_)?binary|fixed_size_binary.*", "blob"),
        (r"decimal.*", "numeric"),
    )

    def __init__(self, url: str, shown: str) -> None:
        path = place_of(path_in(url, shown))
        check_real(path.parent.resolve())
        if not path.parent.is_dir():
            raise SourceError(
                f"there is no folder `{path.parent}`", hint="make it; a relative path begins at the project's folder"
            )
        with telling(shown, _HINTS):
            database = module_of("sqlite").connect(f"file:{urllib.parse.quote(str(path))}?mode=rwc")
        super().__init__(database, shown)
        self.do(f"PRAGMA busy_timeout = {BUSY_MS}")

    def begin_alone(self) -> None:
        # A transaction that reads first, and then writes, fails without waiting if another one wrote in between.
        self.do("rollback")
        self.do("begin immediate")

    def has(self, table: str) -> bool:
        place, _, name = table[1:-1].rpartition('"."')
        schema = f"{quoted(place)}." if place else ""
        return self.ask(f"select count(*) from {schema}sqlite_master where name = {_text(name)}") > 0

    def put(self, piece: pa.Table) -> None:
        names = piece.column_names
        self.do(self.upsert(names, f"values ({', '.join('?' * len(names))})"), piece)

    def cast(self, kind: pa.DataType) -> pa.DataType:
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
            return pa.int64()
        if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
            return pa.string()
        return super().cast(kind)


class _Postgres(_Target):
    """A connection to a PostgreSQL server. Rows are first written to a temporary table, because this takes a tenth of
    the time of single inserts."""

    kinds = (
        (r"bool", "boolean"),
        (r"u?int8|int16", "smallint"),
        (r"uint16|int32", "integer"),
        (r"uint32|u?int64", "bigint"),
        (r"float|halffloat", "real"),
        (r"double|null", "double precision"),
        (r"string", "text"),
        (r"(large_)?binary|fixed_size_binary.*", "bytea"),
        (r"date.*", "date"),
        (r"timestamp\[\w+\]", "timestamp"),
        (r"timestamp\[.*", "timestamptz"),
        (r"time\d.*", "time"),
        (r"decimal.*", "numeric"),
    )

    def __init__(self, url: str, shown: str) -> None:
        module = module_of("postgresql")
        with telling(shown, _HINTS):
            database = module.connect(module.address(url))
        super().__init__(database, shown)

    def begin_alone(self) -> None:
        # `create table if not exists` isn't enough: of two at the same time, one fails.
        self.do(f"set local lock_timeout = {BUSY_MS}")
        self.ask(f"select count(pg_advisory_xact_lock(hashtext({_text(MARKS)})))")

    def has(self, table: str) -> bool:
        return self.ask(f"select count(to_regclass({_text(table)}))") > 0

    def put(self, piece: pa.Table) -> None:
        self.do(f"drop table if exists pg_temp.{STAGED}")
        self.do("", piece, **{**_INGEST, "adbc.ingest.target_table": STAGED})
        columns = ", ".join(map(quoted, piece.column_names))
        self.do(self.upsert(piece.column_names, f"select {columns} from pg_temp.{STAGED}"))

    def cast(self, kind: pa.DataType) -> pa.DataType:
        if pa.types.is_unsigned_integer(kind) or kind == pa.int8():
            return pa.int16() if kind.bit_width < 16 else pa.int32() if kind.bit_width < 32 else pa.int64()
        return super().cast(kind)


def _text(text: str) -> str:
    """Return a text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"
