"""`ingest.sql`: reads a query's rows from a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import pyarrow as pa
from blake3 import blake3

from headrace.codec.joined import Joined
from headrace.define.argument_check import held_to_types
from headrace.define.call import OPTIONS
from headrace.define.cursor import cursor as cursor_named
from headrace.define.ports import tracing
from headrace.errors import DefinitionError
from headrace.spec.duration import seconds
from headrace.stages.ingest._sql.opening import revealed, secrets_of
from headrace.stages.ingest._sql.session import DRIVERS, dialect_of, is_driver
from headrace.stages.ingest._sql.stages import OPTIONS_OF_SQL, Grown, Mode, read, read_on, sql_version
from headrace.stages.ingest._sql.statement import check_given, parse


@overload
def sql(
    url: str,
    query: str,
    *,
    version: str | None = None,
    mode: Literal["table"] = "table",
    batch_rows: int | None = None,
    driver: str | None = None,
    **parameters: Any,
) -> pa.Table: ...
@overload
def sql(
    url: str,
    query: str,
    *,
    mode: Literal["increment", "snapshot"],
    version: str | None = None,
    watermark: str | None = None,
    key: str | Sequence[str] | None = None,
    overlap: str | float | None = None,
    cursor: str | None = None,
    batch_rows: int | None = None,
    driver: str | None = None,
    **parameters: Any,
) -> Grown: ...
@held_to_types("ingest.sql", apart=("url", "query", "driver", "mode", "batch_rows"))
def sql(
    url: str,
    query: str,
    *,
    version: str | None = None,
    mode: Mode = "table",
    watermark: str | None = None,
    key: str | Sequence[str] | None = None,
    overlap: str | float | None = None,
    cursor: str | None = None,
    batch_rows: int | None = None,
    driver: str | None = None,
    **parameters: Any,
) -> Any:
    """Read a query's rows from a database through ADBC. A source that didn't change isn't read again.

    In a pipeline, the call makes two tasks. `sql_version` asks for the version of the source. `sql` reads the rows and
    the version from one snapshot, and its result is kept under that version.

    Args:
        url: `sqlite:///file.db` (relative to the project's folder; `sqlite:////folder/file.db` is absolute),
            `postgresql://ann@host/db`, or the URL of another ADBC driver. A password must be a secret:
            `f"postgresql://ann:{hr.secret('NAME')}@host/db"`, or pass the whole URL as `hr.secret("NAME")`.
        query: one `select`, with parameters as `:name`. The parameters' values are bound, never put into the text.
        version: how to see whether the source changed. None: by the database (SQLite: the state of the file;
            PostgreSQL: the visible transactions; other databases are read each time). Or an expression over the query's
            rows: `"count"`, `"max(updated_at)"`, `"max(updated_at), count(*)"`. Or a separate query. A change isn't
            noticed if the value of the expression or query stays the same.
        mode: `"table"`: return the current rows. `"increment"`: return all rows so far, but read only the rows from the
            last watermark on. `"snapshot"`: return the current rows, and the rows that are new or gone since the last
            read.
        watermark: for increments, a column that only grows: each added or changed row must get a higher value.
        key: the column or columns that identify a row. None: for increments, the watermark.
        overlap: how far before the last watermark to start reading, so that rows that became visible late are read too:
            a number, or a duration such as `"15m"` for dates and times.
        cursor: the name of the cursor that keeps the state between runs. None: made from the query and its options.
        batch_rows: the number of rows of a stored part. None: about 64 MiB of rows.
        driver: the name of an ADBC driver. None: the URL's scheme.
        parameters: the values of the query's parameters. `when=`, `after=` and `always=` are options of the stage call.

    Returns:
        A `pyarrow.Table`; a `Grown` of tables for increments and snapshots.

    Raises:
        DefinitionError: a parameter is missing or unknown, or the options don't go together.
        SourceError: the database refuses the query, can't be reached, loses the connection, or has a type that Arrow
            lacks.
        DataError: two rows have the same key, or a row has no watermark.
    """
    keys = [key] if isinstance(key, str) else list(key or ([watermark] if watermark else []))
    _check_options(mode, watermark, keys, overlap, cursor, batch_rows)
    if driver is not None and not is_driver(driver):
        raise DefinitionError(f"driver={driver!r:.80} is not a name of an ADBC driver", hint=DRIVERS)
    options, values = _sorted_out(url, query, driver, parameters)
    secrets = secrets_of(url)
    if tracing.get() is None:
        url, values = revealed(url), {name: revealed(value) for name, value in values.items()}
    source: dict[str, Any] = {"parameters": values, "secrets": secrets, "probe": version, "driver": driver}
    # every stage call takes common options too; a type checker rejects them when they are passed as a dictionary
    ask, take, grow = _any(sql_version), _any(read), _any(read_on)
    scheme = driver or (url.partition(":")[0] if type(url) is str else "")  # a secret in its place is no driver's name
    if version is None and is_driver(scheme) and dialect_of(scheme, None) == "other":
        take, grow = (each.with_options(cache=False) for each in (take, grow))  # such databases have no version
    found = ask(url, query, **source, **options)
    if mode == "table":
        table = take(url, query, version=found, batch_rows=batch_rows, **source, **options)
        return _whole(table)
    place = cursor_named(cursor or _cursor_name(url, query, mode, watermark, keys))
    grown = grow(
        url, query, version=found, mode=mode, watermark=watermark, key=keys, overlap=overlap, cursor=place,
        batch_rows=batch_rows, **source, **options,
    )  # fmt: skip
    return grown if tracing.get() is not None else Grown(*map(_whole, grown))


def _check_options(
    mode: str, watermark: str | None, key: list[str], overlap: Any, cursor: str | None, batch_rows: int | None
) -> None:
    if mode not in ("table", "increment", "snapshot"):
        raise DefinitionError(f"mode={mode!r} is not known", hint='give "table", "increment" or "snapshot"')
    given = {"watermark": watermark, "key": key, "overlap": overlap, "cursor": cursor}
    if mode == "table" and (odd := [name for name, value in given.items() if value]):
        raise DefinitionError(
            f"`{odd[0]}=` has no meaning when the whole table is read",
            hint='use it with mode="increment" or "snapshot"',
        )
    if mode == "increment" and watermark is None:
        raise DefinitionError('mode="increment" needs `watermark=`', hint="name a column that only grows, as text")
    if mode == "snapshot" and (watermark is not None or overlap is not None):
        raise DefinitionError(
            "a snapshot reads all rows, so it takes no `watermark=` and no `overlap=`",
            hint='leave them out, or use mode="increment"',
        )
    if mode == "snapshot" and not key:
        raise DefinitionError('mode="snapshot" needs `key=`', hint="name the columns that tell rows apart")
    if isinstance(overlap, str):
        seconds(overlap, name="overlap")
    elif overlap is not None and not overlap >= 0:
        raise DefinitionError(
            f"overlap={overlap!r} would leave rows out",
            hint="give a number that isn't negative, or a duration such as `2h`",
        )
    if batch_rows is not None and (type(batch_rows) is not int or batch_rows < 1):
        raise DefinitionError(f"batch_rows={batch_rows!r} is not a number of rows", hint="give a whole number from 1")


def _sorted_out(
    url: Any, query: str, driver: str | None, given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split `given` into options of the stage call and parameters of the query, and return both.

    The parameters are checked against the query if the URL is plain text or a driver is given.
    """
    if type(query) is not str:
        raise DefinitionError(f"the query is a `{type(query).__qualname__}`", hint="a query is text")
    if not query.strip() or "\0" in query:
        raise DefinitionError("the query is empty, or has a NUL in it", hint="give a `select`")
    statement = parse(query, dialect_of(url if type(url) is str else "", driver))
    options = {name: given[name] for name in OPTIONS if name in given and name not in statement.names}
    values = {name: value for name, value in given.items() if name not in options}
    if type(url) is str or driver is not None:
        check_given(statement, values, OPTIONS_OF_SQL)
    return options, values


def _cursor_name(url: Any, query: str, mode: str, watermark: str | None, key: list[str]) -> str:
    told = (url if type(url) is str else getattr(url, "name", ""), query, mode, watermark, key)
    return f"sql/{blake3(repr(told).encode()).hexdigest()[:12]}"


def _whole(value: Any) -> Any:
    """Return a stage's result as one table; return any other value, such as a handle, unchanged."""
    return value.table if isinstance(value, Joined) else value


def _any(stage: Any) -> Any:
    return stage
