"""DuckDB inside this process: it takes Arrow as it lies, keeps to the stage's cpus and memory, and has no way out."""

from __future__ import annotations

import difflib
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

from headrace.errors import DataError, UsageError

OTHERS_GIB = 0.3
"""Of the stage's memory, what Python, its libraries and the tables on their way take."""
SHARE = 0.6
"""Of the rest, what the engine may take before it spills: it takes some beside what it counts."""
LEAST_GIB = 0.06


def cpus() -> int:
    """Return how many cpus this process should use: those of the stage, in a worker; one, where nobody says."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else 1


def memory_gib() -> float | None:
    """Return the memory that the stage declares, in a worker; None where none is declared."""
    told = os.environ.get("HEADRACE_MEMORY_GIB", "")
    try:
        return float(told) or None
    except ValueError:
        return None


@contextmanager
def session(tables: Mapping[str, Any], *, ordered: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection to an empty database in memory, in which each of `tables` (Arrow) is a view of its name.

    It reads and writes no file, no network and no variable of Python's, loads no extension, and can't be set
    otherwise. What doesn't fit in its share of the stage's memory spills to the current folder, an attempt's own.
    Without `ordered` the rows of a scan come in any order, which is quicker.

    Raises:
        DataError: SQL doesn't tell two columns of a table apart: the engine itself would rename one, and go on. Or a
            table has no columns, or one of a type that the engine doesn't read.
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
    """Refuse a table that SQL can't ask.

    Raises:
        DataError: as of `session`.
    """
    if not table.schema.names:
        raise DataError(f"table `{name}` has no columns, so SQL can't read it", hint="check the stage that makes it")
    _told_apart(table.schema.names)
    _readable(table.schema)


def parsed(sql: str, what: str) -> list[duckdb.Statement]:
    """Return the statements of SQL. Nothing is looked up: what they name may not be there.

    Raises:
        UsageError: it can't be read; it says where.
    """
    try:
        return _parser().extract_statements(sql)
    except duckdb.Error as error:
        raise told(error, what) from error


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    """Return a connection that only reads SQL: one of its own for each text would take 12 ms."""
    return duckdb.connect(":memory:", config={"threads": 1})


def check_condition(condition: str, what: str) -> None:
    """Refuse what isn't one condition; `what` says which it is.

    Raises:
        UsageError: it can't be read, or is more than a condition.
    """
    try:
        count = len(parsed(f"select ({condition}\n)", what))
    except UsageError as error:
        early = 'at or near ")" (line ' in error.message and error.message.endswith(": `)`)")
        said = f"{what} can't be read: it ends too early" if early else error.message.replace("`select (", "`")
        raise UsageError(said, hint=CONDITION) from error
    if count != 1:
        raise UsageError(f"{what} can't be run: it is more than a condition", hint="it may not hold a `;`")


def _told_apart(names: Sequence[str]) -> None:
    seen: dict[bytes, str] = {}
    for name in names:
        plain = name.encode(errors="surrogatepass").lower()  # as the engine: ASCII alone
        if plain in seen:
            told = f"SQL doesn't tell the columns `{seen[plain]}` and `{name}` apart"
            raise DataError(told, hint="give one another name first")
        seen[plain] = name


def reads(kind: pa.DataType) -> bool:
    """Return whether SQL reads columns of a type."""
    return not (pa.types.is_float16(kind) or pa.types.is_decimal256(kind))


def _readable(schema: pa.Schema) -> None:
    for field in schema:
        if not reads(field.type):
            # not by its name: some stages give columns others
            told = f"SQL doesn't read columns of the type `{field.type}`, and there is one"
            raise DataError(told, hint="cast it first, to `float32` or to a decimal of 38 digits")


def quoted(name: str) -> str:
    """Return a name as SQL has it.

    >>> print(quoted('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


CONDITION = "write it as DuckDB's SQL has it, such as `price < 0 or name = 'none'`"
WRITTEN = "mend it where the message points; it is DuckDB's SQL: 'text' in single quotes, \"a name\" in double ones"


def told(error: duckdb.Error, what: str, tables: Collection[str] = ()) -> UsageError | DataError:
    """Return an error of the engine as ours: what is wrong, and the line of the SQL where it is.

    `tables` are those that the SQL may name. The engine's own guess at a missing one may be a view of its catalogue.
    """
    text = str(error).strip()
    message, _, _ = text.partition("\n\nLINE ")
    line = re.search(r"^LINE (\d+): (?:explain )?(.*)$", text, re.MULTILINE)
    where = f" (line {line[1]}: `{line[2].strip()[:120]}`)" if line else ""
    message = " ".join(message.partition("Candidate functions:")[0].split())
    absent = re.search(r'Table with name "?(.+?)"? does not exist', message)
    if absent and tables:
        near = difflib.get_close_matches(absent[1], tables, 1)
        meant = f"did you mean `{near[0]}`? " if near else ""
        given = ", ".join(f"`{each}`" for each in tables)
        return UsageError(
            f"{what} names a table `{absent[1]}`, which wasn't given{where}", hint=f"{meant}it is given {given}"
        )
    if isinstance(error, duckdb.PermissionException):
        return UsageError(
            f"{what} reaches outside: {message}{where}",
            hint="it sees only the tables that it is given: read files and other databases in stages of their own",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return DataError(f"{what} needs more memory than it has: {message}", hint="raise `memory_gib` of the stage")
    if isinstance(error, duckdb.ProgrammingError | duckdb.NotSupportedError | duckdb.InternalError):
        return UsageError(f"{what} can't be run: {message}{where}", hint=WRITTEN)
    return DataError(f"{what} failed: {message}{where}", hint="look at the values that it names, or cast by `try_cast`")
