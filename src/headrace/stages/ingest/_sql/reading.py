"""Reading a query's rows, with the version of the source that they were seen in."""

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
    """Return the version of what a query reads: the database's own, or what `probe` says.

    That is an expression over the query's rows (`max(updated_at)`; `count` is `count(*)`), or a query of its own.
    """
    if probe is None:
        return session.version()
    if _QUERY.match(probe):
        asked = parse(probe, session.dialect)
    else:
        expression = "count(*)" if probe.strip().lower() == "count" else probe
        asked = statement.inside(f"select {expression} from (", ") as headrace_rows")
    return f"{probe}: " + ", ".join("null" if each is None else str(each) for each in session.one(asked, values))


def since(
    session: Session, statement: Statement, values: Mapping[str, Any], watermark: str, mark: Any
) -> tuple[Statement, dict[str, Any]]:
    """Ask for the rows from a mark on, and for those without a watermark, which would be missed for ever; with what to
    bind to it.

    Of a column that is declared `not null`, SQLite knows that `is null` is false, and then looks through the whole
    table instead of an index. So there the null is a value that it doesn't see beforehand.
    """
    column = quoted(watermark)
    around = statement.inside("select * from (", f") as headrace_rows where {column} >= ")
    if session.dialect != "sqlite":
        asked = Statement(texts=(*around.texts, f" or {column} is null"), places=(*around.places, _FROM))
        return asked, {**values, _FROM: mark}
    asked = Statement(texts=(*around.texts, f" or {column} is ", ""), places=(*around.places, _FROM, _NONE))
    return asked, {**values, _FROM: mark, _NONE: None}


def behind(session: Session, statement: Statement, values: Mapping[str, Any], watermark: str, mark: Any) -> int:
    """Count a query's rows that lie behind a mark, which reading on from there doesn't see."""
    around = statement.inside("select count(*) from (", f") as headrace_rows where {quoted(watermark)} < ")
    asked = Statement(texts=(*around.texts, ""), places=(*around.places, _FROM))
    return int(session.one(asked, {**values, _FROM: mark})[0])


def parts_of(
    session: Session, statement: Statement, values: Mapping[str, Any], *, rows: int | None, like: Any = None
) -> list[Any]:
    """Return a query's rows as tables, which lie in the store if they are several; one without rows where there are
    none.

    `like` is the schema that they should have, for a database that leaves that open.

    Raises:
        SourceError: the database refuses, breaks off, or has a type that Arrow has not.
    """
    try:
        return _parts(session, statement, values, rows, like)
    except SourceError as error:
        if session.dialect != "sqlite" or not _MISMATCH.search(error.message):
            raise
    # of SQLite, the driver takes the first rows' types for those of all; so ask for them, and tell it
    return _parts(session, statement, values, rows, session.types(statement, values, like))


def _parts(session: Session, statement: Statement, values: Mapping[str, Any], rows: int | None, like: Any) -> list[Any]:
    with session.rows(statement, values, rows=rows, like=like) as (schema, batches):
        return kept(schema, batches, rows)
