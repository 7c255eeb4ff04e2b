"""Predictions of an endpoint as a table, as its prediction log keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

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


_AFTER_SEGMENT = "-[^-]*-[^-]*$"
"""The part of a prediction's id that follows the writer and the segment (`spec.endpoint.PREDICTION_ID`)."""


def counts(table: pa.Table) -> Counter[tuple[str, int]]:
    """Return how many predictions of a table are from each segment, by the segment's writer and number. Rows whose ids
    aren't ids of predictions are left out."""
    found = Counter[tuple[str, int]]()
    for each in pc.value_counts(_segments(table)).to_pylist():
        if (segment := _segment(each["values"])) is not None:
            found[segment] += each["counts"]
    return found


def of_segments(table: pa.Table, segments: Container[tuple[str, int]]) -> pa.Table:
    """Return the predictions that are from these segments (`writer`, `number`), in their order. If all are, return the
    same table."""
    mask = mask_of(table, segments)
    return table if pc.all(mask).as_py() is not False else table.filter(mask)


def mask_of(table: pa.Table, segments: Container[tuple[str, int]]) -> pa.ChunkedArray:
    """Return for each prediction of a table whether it is from one of these segments."""
    names = _segments(table)
    own = [each for each in pc.unique(names).to_pylist() if (found := _segment(each)) is not None and found in segments]
    return pc.is_in(names, value_set=pa.array(own, pa.string()))


def _segments(table: pa.Table) -> pa.ChunkedArray:
    return pc.replace_substring_regex(table.column("id").cast(pa.string()), _AFTER_SEGMENT, "")


def _segment(name: str | None) -> tuple[str, int] | None:
    writer, _, number = (name or "").rpartition("-")
    return (writer, int(number)) if writer and number.isascii() and number.isdigit() else None


def _as_text(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    for name in columns:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, _texts(table.column(name)))
    return table


def _texts(values: pa.ChunkedArray) -> pa.Array:
    return pa.array(map(_text, values), pa.string())


def _text(value: pa.Scalar) -> str | None:
    return msgspec.json.encode(plain(value), enc_hook=str).decode() if value.is_valid else None


def plain(value: pa.Scalar) -> Any:
    """Return a value as Python represents it. A time that Python can't represent becomes a number, and a map a list of
    pairs."""
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        if isinstance(value, pa.StructScalar):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, pa.MapScalar):
            return [tuple(plain(each).values()) for each in value.values]
        return [plain(each) for each in value.values] if isinstance(value, pa.ListScalar) else value.value
