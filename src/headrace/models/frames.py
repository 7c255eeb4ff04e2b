"""Prepares the rows that a model gets: checks the names of their columns, and casts them to types that the model's
library can read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError, listed, meant

TWICE = "give each its own name: by `table.rename_columns([...])` in an earlier stage, or by `as` in SQL"
"""The hint for two columns of the same name: no ready-made step can choose between them."""
_SIGN = re.compile(r'[",:\[\]{}\0\r\n]')


def check_column(table: pa.Table, name: str) -> None:
    """Refuse `name` unless the table has exactly one column of this name.

    Raises:
        UsageError: the table has no such column, or has two of this name. The error says which columns the table has.
    """
    there = len(table.schema.get_all_field_indices(name))
    if there == 1:
        return
    if there > 1:
        raise UsageError(f"the table has two columns `{name}`", hint=TWICE)
    hint = meant(name, table.column_names, f"it has {listed(table.column_names, 20)}")
    raise UsageError(f"the table has no column `{name}`", hint=hint)


def check_columns(table: pa.Table, names: Sequence[str]) -> None:
    """Refuse `names` unless the table has exactly one column of each name.

    Raises:
        UsageError: for the same reasons as in `check_column`.
    """
    there = table.column_names
    if len(names) == len(there) == len({*there}) and [*names] == there:
        return
    for name in names:
        check_column(table, name)


def without_decimals(table: pa.Table) -> pa.Table:
    """Return the table with its decimal columns cast to 64-bit floats. Databases return decimals, but learners require
    floats."""
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


def with_missing_truths(table: pa.Table) -> pa.Table:
    """Return the table after casting each boolean column that has nulls to 64-bit floats. Without the cast, pandas
    would turn such a column into Python objects, and LightGBM would treat the objects as categories."""
    for place, field in enumerate(table.schema):
        if pa.types.is_boolean(field.type) and table.column(place).null_count:
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


def array_of(table: pa.Table, names: Sequence[str]) -> Any | None:
    """Return columns of numbers as an array of rows by columns. Its numbers, and their order in memory, are those of
    the array in a pandas frame with these columns, but no frame is made, which would take time. Nulls become NaN.
    Return None if a column holds anything but numbers, or if two columns have the same name."""
    found = []
    schema = table.schema
    for name in names:
        if len(places := schema.get_all_field_indices(name)) != 1:
            return None
        column = table.column(places[0])
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            return None
        if column.null_count and pa.types.is_integer(column.type):
            column = column.cast(pa.float64(), safe=False)
        found.append(column.to_numpy())
    return np.array(found).T if found else None


def lightgbm_name(name: str) -> str:
    """Return a column's name as a LightGBM model stores it: without spaces, line breaks, or characters that are special
    in JSON.

    >>> lightgbm_name("price [€]"), lightgbm_name("a, b")
    ('price_%5B€%5D', 'a%2C_b')
    """
    return _SIGN.sub(lambda found: f"%{ord(found[0]):02X}", name).replace(" ", "_") or "%"
