"""Refuses texts of a database that aren't UTF-8. SQLite and some PostgreSQL databases don't check their texts.
Arrow assumes UTF-8 without a check, so later stages would fail on such texts."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pyarrow as pa

from headrace.errors import SourceError

_PLACE = re.compile(r"UTF8 sequence at string index (\d+)")
_SHOWN = 40


def check_names(schema: Any) -> None:
    """Check that the names of all columns are UTF-8.

    Raises:
        SourceError: a name isn't UTF-8.
    """
    try:
        _ = schema.names
    except UnicodeDecodeError as error:
        raise SourceError(
            f"the name of a column isn't UTF-8: {error.object[:_SHOWN]!r}",
            hint="rename it in the database, or create a view in which it has another name",
        ) from error


def check_texts(batch: Any) -> None:
    """Check that all texts of a batch are UTF-8.

    Raises:
        SourceError: a text isn't UTF-8. The error names the column, and the row's value in the first column.
    """
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_primitive(field.type):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            found = _PLACE.search(str(error))
            what = f"a value that is no `{field.type}`: {error}" if found is None else "a text that isn't UTF-8"
            if found is not None and pa.types.is_string(field.type):  # in a list, the index is not the row
                what += _shown(batch, column, int(found[1]))
            raise SourceError(
                f"column `{field.name}` holds {what}",
                hint=f"correct it in the database, or make the query give bytes (SQLite: `CAST({field.name} AS BLOB)`)",
            ) from error


def _shown(batch: Any, column: Any, row: int) -> str:
    told = f": {column.cast(pa.binary())[row].as_py()[:_SHOWN]!r}"
    with suppress(UnicodeDecodeError):
        return f"{told}, where `{batch.schema.names[0]}` is {batch.column(0)[row].as_py()!r:.80}"
    return told
