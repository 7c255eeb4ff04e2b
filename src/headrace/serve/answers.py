"""Checks the answers of a model process before they are used: the process isn't trusted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from headrace.errors import DataError, listed
from headrace.models.hosting import MOST_REPLY_BYTES, Plain
from headrace.models.streams import is_plain, table_in

MOST_BYTES = MOST_REPLY_BYTES
MOST_BYTES_OF_COLUMNS = 1 << 24
"""How many bytes a reply may have that isn't a stream of Arrow. Python's values may take 12 times as much memory."""


def check_columns(columns: Mapping[str, Sequence[Plain]], rows: int, gives: Collection[str]) -> None:
    """Check that columns have one value for each row, and are the columns that the model gives. If `gives` is
    empty, it isn't known which these are.

    Raises:
        DataError: they aren't.
    """
    _check_names(columns.keys(), gives)
    for name, values in columns.items():
        if len(values) != rows:
            raise DataError(f"there are {len(values):,} values of `{name:.40}` for {rows:,} rows")


def check_stream(data: bytes, rows: int, gives: Collection[str]) -> None:
    """Check the same of a stream of Arrow.

    Raises:
        DataError: it is no sound stream, or is larger than may be, or its table has other columns, rows or types.
    """
    table = table_in(data, MOST_BYTES)
    _check_names(table.column_names, gives)
    if table.num_rows != rows:
        raise DataError(f"there are {table.num_rows:,} answers for {rows:,} rows")
    for field in table.schema:
        if not is_plain(field.type):
            raise DataError(f"the values of `{field.name:.40}` are of the type `{field.type}`")


def _check_names(names: Collection[str], gives: Collection[str]) -> None:
    if not names or len(set(names)) < len(names) or (gives and set(names) != set(gives)):
        told = f"the columns {listed([f'{name:.40}' for name in names], 3)}" if names else "no columns"
        raise DataError(f"they have {told}, and the model gives {listed([*gives], 3) or 'each column once'}")
