"""A connection to a database through ADBC, in one transaction that sees one state of the data."""

from __future__ import annotations

import datetime as dt
import importlib
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcDatabase, AdbcStatement, Error

from headrace.errors import SourceError
from headrace.stages.ingest._sql.encoding import check_names, check_texts
from headrace.stages.ingest._sql.statement import Dialect, Statement
from headrace.stages.ingest._sql.trouble import telling, words

SCHEMES: dict[str, Dialect] = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}

FILES = frozenset({"sqlite", "duckdb"})
"""The schemes of databases that are one file: `duckdb:///file.duckdb`."""


DRIVERS = "give a name such as `snowflake`; `pip install adbc-driver-snowflake` installs that driver"
_DRIVER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def dialect_of(url: str, driver: str | None) -> Dialect:
    """Return the SQL dialect of the database at a URL. If `driver` is given, the URL's scheme is ignored."""
    return SCHEMES.get(driver or url.partition(":")[0], "other")


class Session:
    """A database connection with its own transaction: all queries see the same state of the data.

    This class works with any ADBC driver. SQLite and PostgreSQL have subclasses. `shown` is the database's name in
    errors.
    """

    dialect: ClassVar[Dialect] = "other"
    begins: ClassVar[str] = "BEGIN"
    reads: ClassVar[str] = ""
    """A text at the end of each version of the data. If a new release of Headrace reads the same data differently, this
    text changes, and so results of earlier releases aren't reused. A subclass may set its own text, so that a change
    for one kind of database doesn't affect the others."""

    def __init__(self, database: Any, shown: str) -> None:
        self.shown = shown
        with ExitStack() as closing, telling(shown):
            closing.callback(database.close)
            self._connection = AdbcConnection(database)
            closing.callback(self._connection.close)
            self._closing = closing.pop_all()  # closes in reverse order

    def begin(self) -> None:
        """Begin the transaction."""
        self._run(self.begins)

    def end(self) -> None:
        """End the transaction, and close the connection."""
        with self._closing, suppress(Exception):  # a broken connection has already ended the transaction
            self._run("ROLLBACK")

    def version(self) -> str | None:
        """Return a name for the state that the transaction sees; None if the database has no such name.

        Any change of the data leads to another name.
        """
        return None

    @contextmanager
    def rows(
        self, statement: Statement, values: Mapping[str, Any], *, rows: int | None = None, like: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """Open a query's result: its schema, and an iterator of its record batches of about `rows` rows each.

        If `rows` is None, the driver chooses the size. `like` is the schema wanted, for a database whose columns have
        no fixed types (SQLite).

        Raises:
            SourceError: the database refuses the query, loses the connection, has a type that Arrow lacks, or has a
                text that isn't UTF-8.
        """
        del like
        with telling(self.shown):
            text, args = self.bound(statement, values)
        with self._asked(text, args, self.options(rows)) as reader:
            check_names(reader.schema)
            schema, convert = self.converted(reader.schema)
            yield schema, self._batches(reader, convert)

    def one(self, statement: Statement, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the values of all rows of a query in one list, row after row."""
        with self.rows(statement, values or {}) as (_, batches):
            return [value for batch in batches for row in batch.to_pylist() for value in row.values()]

    def columns(self, statement: Statement, values: Mapping[str, Any], expected: list[str]) -> list[str]:
        """Return the names of a query's columns without reading its rows. `expected` are the names that the last read
        found."""
        del expected
        with self.rows(statement.inside("select * from (", ") as headrace_rows where 1 = 0"), values) as (schema, _):
            return list(schema.names)

    def bound(self, statement: Statement, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """Return the query in the form that the driver takes, and the values to bind to it."""
        given = {name: self.value(name, values[name]) for name in statement.names}
        return statement.written(lambda _: "?"), [given[name] for name in statement.places]

    def value(self, name: str, value: Any) -> Any:
        """Return a parameter's value in a type that the driver takes.

        Raises:
            SourceError: the value can't be bound.
        """
        if value is None or isinstance(value, bool | int | float | Decimal | str | bytes | dt.date):
            return value
        raise unbindable(name, value)

    def options(self, rows: int | None) -> dict[str, str]:
        """Return the driver's options for a statement whose batches should have `rows` rows. None means the driver's
        default."""
        del rows
        return {}

    def fits(self, statement: Statement, values: Mapping[str, Any], schema: Any) -> bool:
        """Return whether the values of a query's rows have the types of `schema`, for a database whose columns have no
        fixed types. For any other database, return True."""
        del statement, values, schema
        return True

    def types(self, statement: Statement, values: Mapping[str, Any], like: Any) -> Any:
        """Return a schema that fits all of a query's rows, for a database whose columns have no fixed types.

        A column with only nulls gets its type from `like`.
        """
        raise NotImplementedError

    def converted(self, schema: Any) -> tuple[Any, Any]:
        """Return the schema to produce for the driver's `schema`, and a function that converts the driver's batches.

        The function is None if the batches need no conversion.
        """
        return schema, None

    def _batches(self, reader: Any, convert: Any) -> Iterator[Any]:
        while True:
            try:
                with telling(self.shown):
                    batch = reader.read_next_batch()
            except StopIteration:
                return
            check_texts(batch)
            yield batch if convert is None else convert(batch)

    def _run(self, text: str, args: Sequence[Any] = ()) -> None:
        with self._asked(text, args, {}) as reader, telling(self.shown):
            reader.read_all()

    @contextmanager
    def _asked(self, text: str, args: Sequence[Any], options: Mapping[str, str]) -> Iterator[Any]:
        """Execute a statement, and yield a reader of its result.

        The reader is closed before the statement: a reader that outlives its statement would read freed memory.
        """
        # without `dbapi`, because it also imports pandas and polars, which takes 0.35 s in each worker
        statement = AdbcStatement(self._connection)
        with ExitStack() as closing:
            closing.callback(_close, statement)
            with telling(self.shown):
                statement.set_options(**options)
                statement.set_sql_query(text)
                if args:
                    row = pa.RecordBatch.from_arrays([*map(_column, args)], [str(place) for place in range(len(args))])
                    statement.prepare()
                    statement.bind_stream(pa.RecordBatchReader.from_batches(row.schema, [row]))
                handle, _ = statement.execute_query()
                closing.callback(handle.release)  # does nothing once the reader owns the stream
                reader = pa.RecordBatchReader.from_stream(handle)
                closing.callback(reader.close)
            yield reader


def _close(statement: Any) -> None:
    with suppress(Exception):  # a broken connection can't close it, and has already raised an error
        statement.close()


def _column(value: Any) -> Any:
    """Return an Arrow array of one value. `pa.array` would import pandas, which takes longer than most queries."""
    match value:
        case None:
            return pa.nulls(1, pa.int64())
        case bool():
            return pa.Array.from_buffers(pa.bool_(), 1, [None, pa.py_buffer(bytes([value]))])
        case int() if -(2**63) <= value < 2**63:
            return pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(struct.pack("=q", value))])
        case float():
            return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(struct.pack("=d", value))])
        case str() | bytes():
            data = value.encode() if isinstance(value, str) else value
            kind = pa.string() if isinstance(value, str) else pa.binary()
            ends = pa.py_buffer(struct.pack("=ii", 0, len(data)))
            return pa.Array.from_buffers(kind, 1, [None, ends, pa.py_buffer(data)])
        case _:
            return pa.array([value])


def is_driver(name: object) -> bool:
    """Return whether a value is allowed as a driver's name. The name becomes part of a module's name.

    >>> is_driver("flight-sql"), is_driver("../../evil"), is_driver("os.path"), is_driver(3)
    (True, False, False, False)
    """
    return isinstance(name, str) and _DRIVER.fullmatch(name) is not None


def quoted(name: str) -> str:
    """Return a column's name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def unbindable(name: str, value: Any) -> SourceError:
    """Return the error for a parameter whose value can't be bound."""
    return SourceError(
        f"parameter `:{name}` is a `{type(value).__qualname__}`, which can't be bound here",
        hint="give a number, a text, bytes, a date or a time; cast it in the query where the column wants another type",
    )


def connected(url: str, driver: str | None, shown: str, path: Path | None) -> Any:
    """Return an open ADBC database. The driver is a package `adbc_driver_NAME`, or one that ADBC's manager finds.

    `driver` None means the URL's scheme. `path` is the file, for a driver that takes a path instead of a URL.

    Raises:
        SourceError: the driver isn't installed, or can't connect.
    """
    name = driver or url.partition(":")[0]
    if not is_driver(name):
        raise SourceError(f"`{name[:80]}` is not a name of an ADBC driver", hint=DRIVERS)
    package = f"adbc_driver_{name.replace('-', '_')}"
    with telling(shown):
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
        else:
            return module.connect(url if path is None else str(path))
        try:
            return AdbcDatabase(driver=name, uri=url)
        except Error as error:
            raise SourceError(
                f"there is no ADBC driver `{name}` here: {words(str(error))}",
                hint=f"pip install {package.replace('_', '-')}, or name another one by `driver=`",
            ) from error
