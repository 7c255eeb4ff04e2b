"""A part of an endpoint's prediction log: the predictions of one segment as a table, as the store keeps them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from headrace.models.fitting import column_of
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.segment import Contents, Logged, ids

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
that took, the client's own id, the request's trace, and why there is no answer. Two columns follow, `input` and
`output`: structs with the fields of the row and of the answer."""


def parts(contents: Contents, takes: Mapping[str, pa.Schema]) -> dict[str, pa.Table]:
    """Return the predictions of a segment as one table for each endpoint, in the order in which they were logged.

    `takes` has the columns that each version of a model takes. Values of rows in JSON get the types of these columns.
    """
    logged: dict[str, list[Logged]] = defaultdict(list)
    for each in contents.logged:
        logged[each.answered.endpoint].append(each)
    return {endpoint: _table(contents, its, takes) for endpoint, its in logged.items()}


def _table(contents: Contents, logged: Sequence[Logged], takes: Mapping[str, pa.Schema]) -> pa.Table:
    fixed: dict[str, list[Any]] = {name: [] for name in FIXED.names}
    given, answers = [], []
    for offset, each in logged:
        fixed["id"] += map(str, ids(contents.writer, contents.number, offset, each))
        fixed["at"] += [round(each.at * 1e6)] * each.count
        for name in ("variant", "version", "latency_s", "trace", "why"):
            fixed[name] += [getattr(each, name)] * each.count
        fixed["name"] += each.names or [None] * each.count
        given.append(_rows(each, each.given, takes.get(each.version)))
        answers.append(pa.nulls(each.count) if each.answers is None else _rows(each, each.answers, None))
    table = pa.table(fixed, schema=FIXED)
    return table.append_column("input", _joined(given)).append_column("output", _joined(answers))


def _rows(answered: Answered, data: bytes, types: pa.Schema | None) -> pa.Array:
    """Return logged rows or answers as an array of structs."""
    if answered.form == "arrow":
        with pa.ipc.open_stream(data) as stream:
            return _structs(stream.read_all())
    rows: list[dict[str, Any]] = msgspec.json.decode(data)
    kinds = {} if types is None else {field.name: field.type for field in types}
    names = dict.fromkeys([*kinds, *(name for row in rows for name in row)])
    if not names:
        return pa.array([{}] * len(rows), pa.struct([]))
    return _structs(pa.table({name: _column([row.get(name) for row in rows], kinds.get(name)) for name in names}))


def _column(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    """Return values as a column of a type. If one doesn't fit (rows that were refused are logged too), the column has
    all of them as JSON text: nothing may keep a prediction from being sealed."""
    try:
        return column_of(values, kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array(
            [None if value is None else msgspec.json.encode(value).decode() for value in values], pa.string()
        )


def _structs(table: pa.Table) -> pa.Array:
    return table.combine_chunks().to_struct_array().combine_chunks() if table.num_rows else pa.array([], pa.struct([]))


def _joined(arrays: Sequence[pa.Array]) -> pa.ChunkedArray:
    """Return arrays of structs as one column that has the fields of all of them."""
    return merged([pa.table({"rows": each}) for each in arrays], ["rows"]).column("rows")


def merged(tables: Sequence[pa.Table], columns: Sequence[str] = ("input", "output")) -> pa.Table:
    """Return tables as one. If a field has types that can't be one column (numbers in one table, texts in another), the
    structs in `columns` become JSON text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        return pa.concat_tables([_as_text(table, columns) for table in tables], promote_options="permissive")


def _as_text(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    for name in columns:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, _texts(table.column(name).to_pylist()))
    return table


def _texts(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else msgspec.json.encode(value).decode() for value in values], pa.string())
