"""Checks the answers of a model process before they are used: the process isn't trusted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from headrace.errors import DataError, listed
from headrace.models.hosting import MOST_REPLY_BYTES, Plain
from headrace.models.streams import is_plain, table_in

MOST_BYTES = MOST_REPLY_BYTES
MOST_BYTES_OF_COLUMNS = 1 << 24
"""The most bytes of a reply that isn't a stream of Arrow. As Python values, they may take 12 times as much memory."""


def check_columns(columns: Mapping[str, Sequence[Plain]], rows: int, gives: Collection[str]) -> None:
    """Check that each column has one value for each row, and that the columns are those that the model gives. If
    `gives` is empty, it isn't known which columns the model gives; any columns then pass.

    Raises:
        DataError: a check fails.
    """
    _check_names(columns.keys(), gives)
    for name, values in columns.items():
        if len(values) != rows:
            raise DataError(f"there are {len(values):,} values of `{name:.40}` for {rows:,} rows")


def check_stream(data: bytes, rows: int, gives: Collection[str]) -> None:
    """Check the answers in a stream of Arrow, as `check_columns` does for columns.

    Raises:
        DataError: the bytes aren't a valid stream or are too many, or the table has wrong columns, rows or types.
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
        raise DataError(f"the answers have {told} instead of {listed([*gives], 3) or 'columns with different names'}")
