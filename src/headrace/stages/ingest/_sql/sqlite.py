"""Reads SQLite files: opened for reading only, in one transaction."""

from __future__ import annotations

import datetime as dt
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from adbc_driver_sqlite import StatementOptions, connect

from headrace.errors import SourceError
from headrace.stages.ingest._sql.session import Session, quoted, unbindable
from headrace.stages.ingest._sql.statement import Dialect, Statement
from headrace.stages.ingest._sql.trouble import telling

BUSY_MS = 30_000
"""The time in milliseconds that a reader waits for a writer to finish its commit."""

BATCH_ROWS = 8192
"""The number of rows in a batch of the driver. The driver takes the types of the columns from the first batch."""

ANY_OF = 500
"""The most conditions in one sequence of `OR`: SQLite refuses expressions that are more than 1,000 levels deep."""

TRIES = 20
RACY_S = 0.02
"""Two writes to a file that are further apart than this, in seconds, give the file different times: the kernel's clock
ticks every 1 to 10 ms."""


_START = r"(?:[\s\ufeff]|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
"""White space and comments before a statement's first word."""
_OTHER_FILES = re.compile(rf"{_START}(attach|detach|vacuum)\b", re.IGNORECASE | re.DOTALL)
"""Statements that can open or create other files, even if the database is opened for reading only."""
_ABOUT = re.compile(rf"{_START}(pragma|explain)\b", re.IGNORECASE | re.DOTALL)
"""Statements that describe the database. They can't be inside a query."""


class SqliteSession(Session):
    """A connection to an SQLite file."""

    dialect: ClassVar[Dialect] = "sqlite"
    reads: ClassVar[str] = ", read 2"  # since then, columns of several kinds are refused

    def __init__(self, path: Path, shown: str) -> None:
        self._path = path
        self._seen: str | None = None
        with telling(shown):
            database = connect(f"file:{urllib.parse.quote(str(path))}?mode=ro")
        super().__init__(database, shown)

    def begin(self) -> None:
        """Begin the transaction, and note the state of the file that the transaction sees.

        The file's states before and after the transaction began are compared, up to `TRIES` times. If the two are never
        equal, the noted state is a unique text, so the file counts as changed.
        """
        self._run(f"PRAGMA busy_timeout = {BUSY_MS}")
        for _ in range(TRIES):
            before = state_of(self._path)
            if before is None:
                time.sleep(RACY_S)
                continue
            self._fix()
            if state_of(self._path) == before:
                self._seen = before
                return
            self._run("ROLLBACK")
        self._fix()
        self._seen = f"changing at {time.time_ns()}"

    def _fix(self) -> None:
        self._run("BEGIN")
        self._run("SELECT count(*) FROM sqlite_master")  # SQLite fixes the state at the first read

    def version(self) -> str | None:
        """Return a name for the state of the file that the transaction sees."""
        return self._seen

    def bound(self, statement: Statement, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """Return the query with numbered parameters (`?1`), and their values."""
        odd = _OTHER_FILES.match(statement.texts[0])
        if odd is not None:
            raise SourceError(f"`{odd[1]}` opens another file", hint="a query reads the database of its URL alone")
        places = {name: f"?{number}" for number, name in enumerate(statement.names, 1)}
        return statement.written(places.__getitem__), [self.value(name, values[name]) for name in statement.names]

    def value(self, name: str, value: Any) -> Any:
        """Return a parameter's value as SQLite stores it: dates and times become text."""
        match value:
            case None | float() | str() | bytes():
                return value
            case bool():
                return int(value)
            case int() if -(2**63) <= value < 2**63:
                return value
            case dt.datetime():
                return value.isoformat(sep=" ")
            case dt.date() | dt.time():
                return value.isoformat()
            case _:
                raise unbindable(name, value)

    def options(self, rows: int | None) -> dict[str, str]:
        """Return the driver's option for the number of rows in a batch."""
        return {StatementOptions.BATCH_ROWS.value: str(min(rows or BATCH_ROWS, BATCH_ROWS))}

    @contextmanager
    def rows(
        self, statement: Statement, values: Mapping[str, Any], *, rows: int | None = None, like: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """Open a query's result: its schema, and an iterator of its record batches.

        The driver takes the types from the first batch. With `like`, a row of the types in `like` is put before the
        query's rows, and is removed again. SQLite matches the columns by position, so `like` must have the query's
        columns in the query's order.
        """
        if like is None:
            with super().rows(statement, values, rows=rows) as found:
                yield found
            return
        told = statement.inside(f"{prototype(like)} UNION ALL SELECT * FROM (", ")")
        with super().rows(told, values, rows=rows) as (schema, batches):
            yield schema, _after_first(batches)

    def columns(self, statement: Statement, values: Mapping[str, Any], expected: list[str]) -> list[str]:
        """Return the names of a query's columns, which should be `expected`.

        The names are first taken from a query with this query inside it. SQLite renames some columns of such an inner
        query (`name:1`). So if the names aren't `expected`, the query itself is run, and its names are returned.
        """
        found = super().columns(statement, values, expected)
        if sorted(found) == sorted(expected):
            return found
        with super().rows(statement, values, rows=1) as (schema, _):
            return list(schema.names)

    def fits(self, statement: Statement, values: Mapping[str, Any], schema: Any) -> bool:
        """Return whether, in the database, the text columns of `schema` have only texts, and its bytes columns have
        only bytes.

        If a column has numbers and texts, the driver turns the numbers into texts, and loses digits. Columns of numbers
        need no check, because the driver refuses texts there. This check takes a tenth of the time of the read, because
        `typeof` doesn't load the values. But the database runs the query once more, so the time of a slow join is
        doubled.
        """
        storage = [_storage_of(field.type) for field in schema]
        if not any(storage) or _ABOUT.match(statement.texts[0]):
            return True
        names = self._names_inside(statement, values)
        odd = [
            f"(typeof({column}) <> '{kind}' AND {column} IS NOT NULL)"  # faster than `NOT IN (...)`
            for column, kind in zip(map(quoted, names), storage, strict=True)
            if kind
        ]
        groups = [" OR ".join(odd[start : start + ANY_OF]) for start in range(0, len(odd), ANY_OF)]
        return not self.one(statement.inside("SELECT 1 FROM (", f") WHERE ({') OR ('.join(groups)}) LIMIT 1"), values)

    def types(self, statement: Statement, values: Mapping[str, Any], like: Any) -> Any:
        """Return a schema that fits all of a query's rows, found from the type of each value.

        A column with only nulls gets its type from `like`.

        Raises:
            SourceError: a column has values of types that have no common type. The error names these types.
        """
        names = self._names_inside(statement, values)
        kinds = ", ".join(f"group_concat(DISTINCT typeof({quoted(each)}))" for each in names)
        found = self.one(statement.inside(f"SELECT {kinds} FROM (", ")"), values)
        before = [None] * len(names) if like is None else like.types
        told = zip(names, found, before, strict=True)
        return pa.schema([(name, _type_of(name, kinds or "", kind)) for name, kinds, kind in told])

    def _names_inside(self, statement: Statement, values: Mapping[str, Any]) -> list[str]:
        """Return the names of a query's columns as a query around it sees them."""
        with super().rows(statement.inside("SELECT * FROM (", ") LIMIT 0"), values) as (schema, _):
            return list(schema.names)


def _after_first(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches without the first row of the first batch."""
    yield next(batches).slice(1)
    yield from batches


def _storage_of(kind: Any) -> str | None:
    """Return SQLite's name for the type of the values in a column of texts or bytes; None for a column of numbers."""
    if pa.types.is_string(kind):
        return "text"
    return "blob" if pa.types.is_binary(kind) else None


def _type_of(name: str, kinds: str, before: Any) -> Any:
    """Return the Arrow type for a column with values of the SQLite types `kinds`. If `before`, the type that the last
    read found, can hold them too, return `before`."""
    match sorted(set(kinds.split(",")) - {"null", ""}):
        case []:
            return before or pa.int64()
        case ["integer"]:
            return before if before == pa.float64() else pa.int64()
        case ["real"] | ["integer", "real"]:
            return pa.float64()
        case ["text"]:
            return pa.string()
        case ["blob"]:
            return pa.binary()
        case several:
            column = quoted(name)
            raise SourceError(
                f"column `{name}` holds values of several kinds: {', '.join(several)}",
                hint=f"cast it in the query: CAST({column} AS TEXT) AS {column}; or read the values of one kind as "
                f"null: CASE typeof({column}) WHEN '{several[-1]}' THEN NULL ELSE {column} END AS {column}",
            )


def state_of(path: Path) -> str | None:
    """Return a name for the state of an SQLite file; None if the file was written just now.

    Every later commit leads to another name. The name is made from the size and time of the file and of its write-ahead
    log, unless that log is empty. The files aren't opened: closing them would release all locks that SQLite holds on
    them in this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    told = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = each.stat()
        except FileNotFoundError:
            continue
        if each is path or status.st_size:
            if 0 <= time.time() - status.st_mtime < RACY_S:
                return None
            told.append(f"{status.st_size}.{status.st_mtime_ns}")
    return "+".join(told)


def prototype(schema: Any) -> str:
    """Return a query of one row with values of the schema's types. If its row is put before the rows of another query,
    it sets the types of the result.

    Raises:
        SourceError: SQLite has no values of one of the types.
    """
    columns = []
    for field in schema:
        if pa.types.is_integer(field.type):
            value = "1"
        elif pa.types.is_floating(field.type):
            value = "1.0"
        elif pa.types.is_string(field.type):
            value = "''"
        elif pa.types.is_binary(field.type):
            value = "x''"
        else:
            raise SourceError(
                f"column `{field.name}` is `{field.type}`, and SQLite has no such values", hint="cast it in the query"
            )
        columns.append(f"{value} AS {quoted(field.name)}")
    return f"SELECT {', '.join(columns)}"
