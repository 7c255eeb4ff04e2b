"""SQLite files: opened for reading only, in the state that one transaction sees."""

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
"""How long a reader waits for a writer that is just committing."""

BATCH_ROWS = 8192
"""The rows that the driver gives at a time; the types of the columns are what the first of these batches holds."""

TRIES = 20
RACY_S = 0.02
"""Files get their times by the kernel's ticks (1 to 10 ms): a later write than this after another has another time."""


_OTHER_FILES = re.compile(
    r"(?:[\s\ufeff]|--[^\n]*(?:\n|$)|/\*.*?\*/)*(attach|detach|vacuum)\b", re.IGNORECASE | re.DOTALL
)
"""What would open, and make, other files, though this one is opened for reading only."""


class SqliteSession(Session):
    """A connection to an SQLite file."""

    dialect: ClassVar[Dialect] = "sqlite"

    def __init__(self, path: Path, shown: str) -> None:
        self._path = path
        self._seen: str | None = None
        with telling(shown):
            database = connect(f"file:{urllib.parse.quote(str(path))}?mode=ro")
        super().__init__(database, shown)

    def begin(self) -> None:
        """Begin to read; the file's state just before and just after must agree, or it isn't known which is seen."""
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
        self._run("SELECT count(*) FROM sqlite_master")  # only now is the state fixed

    def version(self) -> str | None:
        """Name the state of the file."""
        return self._seen

    def bound(self, statement: Statement, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """Return the query with numbered parameters."""
        odd = _OTHER_FILES.match(statement.texts[0])
        if odd is not None:
            raise SourceError(f"`{odd[1]}` opens another file", hint="a query reads the database of its URL alone")
        places = {name: f"?{number}" for number, name in enumerate(statement.names, 1)}
        return statement.written(places.__getitem__), [self.value(name, values[name]) for name in statement.names]

    def value(self, name: str, value: Any) -> Any:
        """Return a value as SQLite keeps it: dates and times are text there."""
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
        """Return the size of the driver's batches."""
        return {StatementOptions.BATCH_ROWS.value: str(min(rows or BATCH_ROWS, BATCH_ROWS))}

    @contextmanager
    def rows(
        self, statement: Statement, values: Mapping[str, Any], *, rows: int | None = None, like: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """Return the schema of a query's result, and its record batches.

        The driver takes the types of the first batch for those of all. With `like`, a row of these types goes before;
        SQLite lays the two together by position, so they are the query's columns, in its order.
        """
        if like is None:
            with super().rows(statement, values, rows=rows) as found:
                yield found
            return
        told = statement.inside(f"{prototype(like)} UNION ALL SELECT * FROM (", ")")
        with super().rows(told, values, rows=rows) as (schema, batches):
            yield schema, _after_first(batches)

    def columns(self, statement: Statement, values: Mapping[str, Any], expected: list[str]) -> list[str]:
        """Return the names of a query's columns; inside another query, SQLite calls some otherwise (`name:1`)."""
        found = super().columns(statement, values, expected)
        if sorted(found) == sorted(expected):
            return found
        with super().rows(statement, values, rows=1) as (schema, _):
            return list(schema.names)

    def types(self, statement: Statement, values: Mapping[str, Any], like: Any) -> Any:
        """Return the schema that fits all of a query's rows, by a look at each value's kind.

        Raises:
            SourceError: a column has values of kinds that don't go together, which are named.
        """
        with super().rows(statement.inside("SELECT * FROM (", ") LIMIT 0"), values) as (schema, _):
            names = schema.names
        kinds = ", ".join(f"group_concat(DISTINCT typeof({quoted(each)}))" for each in names)
        found = self.one(statement.inside(f"SELECT {kinds} FROM (", ")"), values)
        before = [None] * len(names) if like is None else like.types
        told = zip(names, found, before, strict=True)
        return pa.schema([(name, _type_of(name, kinds or "", kind)) for name, kinds, kind in told])


def _after_first(batches: Iterator[Any]) -> Iterator[Any]:
    """Leave out the very first row."""
    yield next(batches).slice(1)
    yield from batches


def _type_of(name: str, kinds: str, before: Any) -> Any:
    """Return the type for values of these kinds; that of `before`, if they can have it."""
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
            raise SourceError(
                f"column `{name}` holds values of several kinds: {', '.join(several)}",
                hint=f"cast it in the query: CAST({name} AS TEXT) AS {name}",
            )


def state_of(path: Path) -> str | None:
    """Name the state of an SQLite file so that every later commit makes another name; None if it was written just now.

    It is made of size and time of the file, and of its write-ahead log where that holds something. The files aren't
    opened: to close them would take from this process all locks that SQLite holds on them
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
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
    """Return a query of one row whose values are of these types: put before another, it tells the driver what will
    come.

    Raises:
        SourceError: SQLite has no values of a type.
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
            raise SourceError(f"SQLite has no `{field.type}`, as column `{field.name}` should be", hint="cast it")
        columns.append(f"{value} AS {quoted(field.name)}")
    return f"SELECT {', '.join(columns)}"
