"""Columns of the rows that are judged."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from headrace.errors import UsageError
from headrace.models.frames import check_column


def column(table: pa.Table, name: str) -> Any:
    """Return a column as a NumPy array.

    Raises:
        UsageError: the table has no such column.
    """
    check_column(table, name)
    return table[name].to_pandas().to_numpy()


def check_values(table: pa.Table, name: str) -> None:
    """Refuse a column if rows can't be grouped by its values.

    Raises:
        UsageError: there is no such column, or it holds lists or other nested values.
    """
    check_column(table, name)
    kind = table.schema.field(name).type
    if pa.types.is_nested(kind):
        raise UsageError(
            f"column `{name}` is `{kind}`, so rows can't be grouped by it",
            hint="name a column of texts, numbers or dates",
        )
