"""Reads a query's rows and the version of the source in the same transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headrace.errors import SourceError
from headrace.stages.ingest._sql.session import Session, quoted
from headrace.stages.ingest._sql.statement import Statement, parse
from headrace.stages.tables.parts import kept

_QUERY = re.compile(r"\s*(?:select|with|values|pragma|show)\b", re.IGNORECASE)
_MISMATCH = re.compile(r"Type mismatch in column (\d+)")
_FROM, _NONE = "headrace_from", "headrace_none"


def version_of(session: Session, statement: Statement, values: Mapping[str, Any], probe: str | None) -> str | None:
    """Return the version of the data that a query reads; None if it is unknown.

    If `probe` is None, the version is the database's own name for the state of its data (in PostgreSQL, a snapshot's
    name). Otherwise the version is the value of `probe`: an expression over the query's rows (`max(updated_at)`;
    `count` means `count(*)`), or a separate query.
    """
    seen = session.version() if probe is None else _probed(session, statement, values, probe)
    return None if seen is None else seen + session.reads


def _probed(session: Session, statement: Statement, values: Mapping[str, Any], probe: str) -> str:
    if _QUERY.match(probe):
        asked = parse(probe, session.dialect)
    else:
        expression = "count(*)" if probe.strip().lower() == "count" else probe
        asked = statement.inside(f"select {expression} from (", ") as headrace_rows")
    return f"{probe}: " + ", ".join("null" if each is None else str(each) for each in session.one(asked, values))


def since(
    session: Session, statement: Statement, values: Mapping[str, Any], watermark: str, mark: Any
) -> tuple[Statement, dict[str, Any]]:
    """Return a query for the rows whose watermark is at least `mark` or is null, and the values to bind to that query.

    Rows with a null are included because they would never be read otherwise. For SQLite, the null is bound as a value
    and isn't written in the query. If `is null` is written and the column is declared `not null`, SQLite removes this
    condition, and then scans the whole table in place of an index.
    """
    column = quoted(watermark)
    around = statement.inside("select * from (", f") as headrace_rows where {column} >= ")
    if session.dialect != "sqlite":
        asked = Statement(texts=(*around.texts, f" or {column} is null"), places=(*around.places, _FROM))
        return asked, {**values, _FROM: mark}
    asked = Statement(texts=(*around.texts, f" or {column} is ", ""), places=(*around.places, _FROM, _NONE))
    return asked, {**values, _FROM: mark, _NONE: None}


def behind(session: Session, statement: Statement, values: Mapping[str, Any], watermark: str, mark: Any) -> int:
    """Return the number of a query's rows whose watermark is below `mark`. A read that begins at `mark` doesn't see
    these rows."""
    around = statement.inside("select count(*) from (", f") as headrace_rows where {quoted(watermark)} < ")
    asked = Statement(texts=(*around.texts, ""), places=(*around.places, _FROM))
    return int(session.one(asked, {**values, _FROM: mark})[0])


def parts_of(
    session: Session, statement: Statement, values: Mapping[str, Any], *, rows: int | None, like: Any = None
) -> list[Any]:
    """Return a query's rows as a list of at least one table. If there are several tables, they are already in the
    store.

    `rows` is the number of rows of each table; None for about 64 MiB each. `like` is the schema wanted, for a database
    whose columns have no fixed types (SQLite).

    Raises:
        SourceError: the database refuses the query, loses the connection, or has a type that Arrow lacks.
    """
    try:
        parts = _parts(session, statement, values, rows, like)
        if session.fits(statement, values, parts[0].schema):
            return parts
    except SourceError as error:
        if session.dialect != "sqlite" or not _MISMATCH.search(error.message):
            raise
    # SQLite's driver takes the types from the first rows; so find types that fit all rows, and pass them
    return _parts(session, statement, values, rows, session.types(statement, values, like))


def _parts(session: Session, statement: Statement, values: Mapping[str, Any], rows: int | None, like: Any) -> list[Any]:
    with session.rows(statement, values, rows=rows, like=like) as (schema, batches):
        return kept(schema, batches, rows)
