"""DuckDB within this process: reads Arrow tables without a copy, keeps to the stage's CPUs and memory, and can't reach
files or the network."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from headrace.errors import DataError, UsageError, meant

OTHERS_GIB = 0.3
"""The part of the stage's memory, in GiB, for Python, its libraries, and tables in transit."""
SHARE = 0.6
"""DuckDB's memory limit, as a share of the stage's memory minus `OTHERS_GIB`. DuckDB uses more memory than it counts
against the limit."""
LEAST_GIB = 0.06


def cpus() -> int:
    """Return how many CPUs this process should use: in a worker as many as the stage has, otherwise one."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else 1


def memory_gib() -> float | None:
    """Return the memory that the stage declares, in GiB; None outside of a worker, or if none is declared."""
    told = os.environ.get("HEADRACE_MEMORY_GIB", "")
    try:
        return float(told) or None
    except ValueError:
        return None


@contextmanager
def session(tables: Mapping[str, Any], *, ordered: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a context with a connection to an empty database in memory, in which each of `tables` (Arrow) is a view.

    The connection can't access files, the network or Python variables, can't load extensions, and its settings are
    locked. Data that don't fit in DuckDB's share of the stage's memory are written to the current folder, which belongs
    to the attempt alone. If `ordered` is False, scans return rows in any order, which is faster.

    Raises:
        DataError: (1) two columns of a table have names that are equal in SQL, which ignores case, so DuckDB would
            silently rename one; (2) a table has no columns; or (3) DuckDB can't read a column's type.
    """
    for name, table in tables.items():
        check(name, table)
    memory = memory_gib()
    with tempfile.TemporaryDirectory(prefix="spill-", dir=Path.cwd() if memory else None) as folder:
        settings: dict[str, Any] = {
            "threads": cpus(),
            "temp_directory": folder,
            "preserve_insertion_order": str(ordered).lower(),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }
        if memory is not None:
            settings["memory_limit"] = f"{max(LEAST_GIB, (memory - OTHERS_GIB) * SHARE) * 1024:.0f}MiB"
        connection = duckdb.connect(":memory:", config=settings)
        try:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set enable_external_access = false")
            for name, table in tables.items():
                connection.register(name, table)
            connection.execute("set lock_configuration = true")
            yield connection
        finally:
            connection.close()


def check(name: str, table: Any) -> None:
    """Raise if SQL can't read a table.

    Raises:
        DataError: two columns have names that are equal in SQL, the table has no columns, or DuckDB can't read a
            column's type.
    """
    if not table.schema.names:
        raise DataError(f"table `{name}` has no columns, so SQL can't read it", hint="check the stage that makes it")
    _told_apart(table.schema.names)
    _readable(table.schema)


def parsed(sql: str, what: str) -> list[duckdb.Statement]:
    """Return the statements of an SQL text. They are only parsed: the tables and columns that they name needn't exist.

    Raises:
        UsageError: the text isn't valid SQL; the message says where.
    """
    try:
        return _parser().extract_statements(sql)
    except duckdb.Error as error:
        raise told(error, what) from error


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    """Return a connection that is used only to parse SQL. All callers share the connection, since opening one takes 12
    ms."""
    return duckdb.connect(":memory:", config={"threads": 1})


def check_condition(condition: str, what: str) -> None:
    """Raise if a text isn't exactly one SQL condition. `what` names it in the message.

    Raises:
        UsageError: the text isn't valid SQL, or is more than a condition.
    """
    try:
        count = len(parsed(f"select ({condition}\n)", what))
    except UsageError as error:
        early = 'at or near ")" (line ' in error.message and error.message.endswith(": `)`)")
        said = f"{what} can't be read: it ends too early" if early else error.message.replace("`select (", "`")
        raise UsageError(said, hint=CONDITION) from error
    if count != 1:
        raise UsageError(f"{what} can't be run: it is more than a condition", hint="write one condition, without `;`")


def _told_apart(names: Sequence[str]) -> None:
    seen: dict[bytes, str] = {}
    for name in names:
        plain = name.encode(errors="surrogatepass").lower()  # as DuckDB does: only ASCII letters are lowered
        if plain in seen:
            told = f"SQL doesn't tell the columns `{seen[plain]}` and `{name}` apart"
            raise DataError(told, hint="rename one of them first")
        seen[plain] = name


def reads(kind: pa.DataType) -> bool:
    """Return whether DuckDB can read columns of a type."""
    return not (pa.types.is_float16(kind) or pa.types.is_decimal256(kind))


def _readable(schema: pa.Schema) -> None:
    for field in schema:
        if not reads(field.type):
            # the message doesn't name the column: some stages rename columns first
            told = f"a column is of the type `{field.type}`, which SQL can't read"
            raise DataError(told, hint="cast it first, to `float32` or to a decimal of 38 digits")


def quoted(name: str) -> str:
    """Return a name quoted for SQL.

    >>> print(quoted('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


CONDITION = "write a condition in DuckDB's SQL, such as `price < 0 or name = 'none'`"
WRITTEN = "correct the SQL where the message points; DuckDB reads 'a' as a text, and \"a\" as the name of a column"


def told(error: duckdb.Error, what: str, tables: Collection[str] = ()) -> UsageError | DataError:
    """Return our error for a DuckDB exception, with a message and the line of the SQL that is wrong.

    `tables` are the names of the tables that the SQL may use. If the SQL names a missing table, the hint lists them,
    since DuckDB itself might suggest one of its own system views.
    """
    text = str(error).strip()
    message, _, _ = text.partition("\n\nLINE ")
    line = re.search(r"^LINE (\d+): (?:explain )?(.*)$", text, re.MULTILINE)
    where = f" (line {line[1]}: `{line[2].strip()[:120]}`)" if line else ""
    message = " ".join(message.partition("Candidate functions:")[0].split())
    absent = re.search(r'Table with name "?(.+?)"? does not exist', message)
    if absent and tables:
        given = ", ".join(f"`{each}`" for each in tables)
        return UsageError(
            f"{what} names a table `{absent[1]}`, which wasn't given{where}",
            hint=f"{meant(absent[1], tables)} the tables are {given}".lstrip(),
        )
    if isinstance(error, duckdb.PermissionException):
        return UsageError(
            f"{what} reaches outside: {message}{where}",
            hint="SQL can read only the tables that are passed to it: read files and other databases in earlier stages",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return DataError(f"{what} needs more memory than it has: {message}", hint="raise `memory_gib` of the stage")
    if isinstance(error, duckdb.ProgrammingError | duckdb.NotSupportedError | duckdb.InternalError):
        return UsageError(f"{what} can't be run: {message}{where}", hint=WRITTEN)
    return DataError(
        f"{what} failed: {message}{where}", hint="correct the values that the message names, or cast by `try_cast`"
    )
