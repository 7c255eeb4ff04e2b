"""A table that grows row by row. The types of its columns are given at the start, or are found from the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.stages.ingest._logs.patterns import EXACT, fitted, type_of

BATCH_ROWS = 50_000


class LogTable:
    """Collects rows, and returns them as a table.

    Args:
        schema: columns with fixed types. A row with a value that doesn't fit is refused.
        more: more columns with known types.
        before: the columns of earlier rows. A row that doesn't fit these columns is refused too. But a column of
            integers may become floats, or text if a float can't hold one of the integers exactly.
        told: columns that the table has even if no row is added.

    Any other column has the type of its values, or text if their types differ.
    """

    def __init__(
        self,
        schema: pa.Schema | None = None,
        more: Sequence[pa.Field] = (),
        before: pa.Schema | None = None,
        told: Sequence[pa.Field] = (),
    ) -> None:
        known = [*(before or []), *(schema or []), *more]
        self._strict = set(schema.names if schema is not None else ())
        self._kinds = {field.name: field.type for field in (*told, *known) if not pa.types.is_null(field.type)}
        self._columns: dict[str, list[Any]] = {field.name: [] for field in (*known, *told)}
        self._tables: list[pa.Table] = []
        self._held = 0
        self.count = 0

    def add(self, row: dict[str, Any]) -> str | None:
        """Add a row, and return None; if a value doesn't fit its column, add nothing and return the reason."""
        fit: dict[str, Any] = {}
        for name, value in row.items():
            kind = self._kinds.get(name)
            if kind is None or value is None:
                fit[name] = value
                continue
            if isinstance(value, float) and kind == pa.int64() and name not in self._strict:
                kind = self._kinds[name] = pa.float64()
            try:
                fit[name] = fitted(value, kind)
            except (ValueError, pa.ArrowException):
                return f"column `{name}` is `{kind}`, not {value!r:.80}"
        for name in fit:
            if name not in self._columns:
                self._columns[name] = [None] * self._held
        for name, values in self._columns.items():
            values.append(fit.get(name))
        self._held += 1
        self.count += 1
        if self._held == BATCH_ROWS:
            self._flush()
        return None

    def table(self) -> pa.Table:
        """Return all rows as one table."""
        if self._held or not self._tables:
            self._flush()
        schema = _widest(self._tables)
        return pa.concat_tables([_as(each, schema) for each in self._tables])

    def _flush(self) -> None:
        arrays, fields = [], []
        for name, values in self._columns.items():
            kind = self._kinds.get(name)
            if kind is None or (kind == pa.float64() and name not in self._strict):
                found = type_of(values)
                kind = found if kind is None or pa.types.is_string(found) else kind
                values = [fitted(each, kind) for each in values] if pa.types.is_string(kind) else values
            arrays.append(pa.array(values, kind))
            fields.append(pa.field(name, kind))
        self._tables.append(pa.Table.from_arrays(arrays, schema=pa.schema(fields)))
        self._columns = {name: [] for name in self._columns}
        self._held = 0


def extended(parts: Sequence[pa.Table], new: pa.Table) -> list[pa.Table]:
    """Return the parts of a table with a new part added at the end, all with one schema.

    A part that has less than twice the rows of the part after it is joined with that part. Therefore there are few
    parts, and a row is seldom written again: the number of parts, and how often a row is written again, grow only with
    the logarithm of the number of rows. Parts that aren't joined stay the same objects.
    """
    if not parts:
        return [new]
    schema = _widest([*parts, new])
    found = [_as(each, schema) for each in (*parts, new)]
    if not new.num_rows:
        return found[:-1]
    while len(found) > 1 and found[-2].num_rows < 2 * found[-1].num_rows:
        last = found.pop()
        found[-1] = pa.concat_tables([found[-1], last]).combine_chunks()
    return found


def _widest(tables: Sequence[pa.Table]) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {}
    for table in tables:
        for field in table.schema:
            kinds[field.name] = _wider(kinds.get(field.name, field.type), field.type)
    for name in [name for name, kind in kinds.items() if kind == pa.float64()]:
        if not all(_is_exact(table[name]) for table in tables if name in table.schema.names):
            kinds[name] = pa.string()
    return pa.schema(list(kinds.items()))


def _is_exact(column: pa.ChunkedArray) -> bool:
    """Return whether all numbers of a column stay the same when converted to floats."""
    if column.type != pa.int64():
        return True
    ends = pc.min_max(column).as_py()
    return ends["min"] is None or bool(ends["min"] >= -EXACT and ends["max"] < EXACT)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {one, other} == numbers else pa.string()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name].cast(field.type) if field.name in table.schema.names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
