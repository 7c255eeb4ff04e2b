"""Predictions of an endpoint as a table, as its prediction log keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from headrace.spec.endpoint import key_text

FIXED = pa.schema(
    [
        ("id", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("variant", pa.string()),
        ("version", pa.string()),
        ("latency_s", pa.float64()),
        ("name", pa.string()),
        ("trace", pa.string()),
        ("why", pa.string()),
    ]
)
"""The columns of every part: the prediction's id, when its request came, which variant and version answered, how long
that took, the client's own id, the request's trace, and why there is no answer. Each of the last three is null if there
is none. Two columns follow, `input` and `output`: structs with the fields of the row and of the answer."""


def none() -> pa.Table:
    """Return a table of no predictions. It has all columns, but `input` and `output` have no fields: their type is
    null."""
    return pa.schema([*FIXED, ("input", pa.null()), ("output", pa.null())]).empty_table()


def merged(tables: Sequence[pa.Table], columns: Sequence[str] = ("input", "output")) -> pa.Table:
    """Return the rows of several tables as one table. If a field has types that can't be one column (numbers in one
    table, texts in another), the structs in `columns` become JSON text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        return pa.concat_tables([_as_text(table, columns) for table in tables], promote_options="permissive")


def _as_text(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    for name in columns:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, _texts(table.column(name)))
    return table


def _texts(values: pa.ChunkedArray) -> pa.Array:
    return pa.array(map(_text, values), pa.string())


def _text(value: pa.Scalar) -> str | None:
    return msgspec.json.encode(_with_key_texts(plain(value)), enc_hook=str).decode() if value.is_valid else None


def _with_key_texts(value: Any) -> Any:
    """Return a value with decimals as the texts that they have as keys, so that persons are found in it."""
    match value:
        case Decimal():
            return key_text(value)
        case dict():
            return {name: _with_key_texts(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_with_key_texts(inner) for inner in value]
        case _:
            return value


def plain(value: pa.Scalar) -> Any:
    """Return a value as Python represents it. A time that Python can't represent becomes a number, a text that isn't
    UTF-8 becomes bytes, and a map a list of pairs."""
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        if isinstance(value, pa.StructScalar):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, pa.MapScalar):
            return [tuple(plain(each).values()) for each in value.values]
        if isinstance(value, pa.BinaryScalar):  # a text that isn't UTF-8
            return value.as_buffer().to_pybytes()
        return [plain(each) for each in value.values] if isinstance(value, pa.ListScalar) else value.value
