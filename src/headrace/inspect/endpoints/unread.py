"""Reads those requests in a part of a log that couldn't be read when they were sealed. Their rows or answers are stored
as bytes, in a field with the name `serve.predictions.part.UNREAD`.

The first row of a request has the bytes for all its rows. One request is read at a time, so no more memory is needed
than a server needs for a request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import takewhile
from operator import eq
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError
from headrace.models.streams import table_in
from headrace.serve.predictions.part import UNREAD
from headrace.spec.noun import UNREADABLE

COLUMNS = ("input", "output")
"""The columns of a part that have the rows and the answers of requests."""

Records = list[msgspec.Raw]
"""The JSON texts of records, as clients sent them."""

_decode_records = msgspec.json.Decoder(Records).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode
_MARK = f'"{UNREAD}":"'
"""A row whose column has JSON text contains this if the row has bytes. A column has JSON texts instead of structs if
different rows have fields of different types."""


class Request(NamedTuple):
    """A request of a part, with its bytes. `column` is the column that has these bytes. The request has the rows from
    `first` to `end` (exclusive) of the part."""

    column: str
    first: int
    end: int
    data: bytes

    def content(self) -> Records | pa.Table | None:
        """Return the rows or answers that are in the bytes. Return None if the bytes can't be read, or if they don't
        have one row or answer for each row of the request."""
        found: Records | pa.Table
        try:
            found = _decode_records(self.data)
        except UNREADABLE:
            try:
                found = table_in(self.data)
            except DataError:
                return None
        return found if len(found) == self.end - self.first else None


def requests(table: pa.Table) -> list[Request]:
    """Return the requests of a part that couldn't be read when they were sealed."""
    found: list[Request] = []
    for column in COLUMNS if "id" in table.column_names else ():
        if column not in table.column_names:
            continue
        starts = list(_bytes(table.column(column)))
        ids = table.column("id").to_pylist() if starts else []
        for (first, data), end in zip(starts, [*(place for place, _ in starts[1:]), len(table)], strict=False):
            own = takewhile(partial(eq, _request(ids[first])), map(_request, ids[first:end]))
            found.append(Request(column, first, first + sum(1 for _ in own), data))
    return found


def _request(identity: str | None) -> tuple[str, str]:
    """Return what the ids of all rows of one request have in common: the id without its offset."""
    rest, _, salt = (identity or "").rpartition("-")
    return rest.rpartition("-")[0], salt


def _bytes(column: pa.ChunkedArray) -> Iterator[tuple[int, bytes]]:
    """Yield the number of each row that has bytes in this column, and the bytes."""
    before = 0
    for chunk in column.chunks:
        if _has_field(chunk.type):
            values = pc.struct_field(chunk, [chunk.type.get_field_index(UNREAD)])
            yield from ((before + place, values[place].as_py()) for place in np.flatnonzero(_valid(values)).tolist())
        elif _is_text(chunk.type):
            is_one = pc.match_substring(chunk, _MARK).fill_null(False)
            for place in np.flatnonzero(is_one.to_numpy(zero_copy_only=False)).tolist():
                if (data := bytes_in(chunk[place].as_py())) is not None:
                    yield before + place, data
        before += len(chunk)


def bytes_in(text: str) -> bytes | None:
    """Return the bytes in the JSON text of a row, or None if it has none. A client may have sent a field of the same
    name, whose value isn't bytes."""
    try:
        return base64.b64decode(_decode_fields(text).get(UNREAD) or "", validate=True) or None
    except (TypeError, ValueError, binascii.Error, *UNREADABLE):
        return None


def bare(table: pa.Table) -> pa.Table:
    """Return a part without the bytes of requests."""
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(place).type
        if name in COLUMNS and _has_field(kind):
            left = [field for field in kind if field.name != UNREAD]
            chunks = [_rebuilt(chunk, {}, left) for chunk in table.column(place).chunks]
            table = table.set_column(place, name, pa.chunked_array(chunks, pa.struct(left)))
        elif name in COLUMNS and _is_text(kind) and (rows := [row for row, _ in _bytes(table.column(place))]):
            texts = _replaced(table.column(place).combine_chunks(), rows, [None] * len(rows))
            table = table.set_column(place, name, pa.chunked_array([texts], kind))
    return table


def with_bytes(table: pa.Table, data: Mapping[tuple[str, int], bytes]) -> pa.Table:
    """Return a part in which some rows have other bytes. `data` has the new bytes by column and row number."""
    for column in {name for name, _ in data}:
        chunks, before = [], 0
        found = table.column(column)
        for chunk in found.chunks:
            own = {row - before: each for (name, row), each in data.items() if name == column}
            own = {row: each for row, each in own.items() if 0 <= row < len(chunk)}
            chunks.append(_with(chunk, own) if own else chunk)
            before += len(chunk)
        place = table.column_names.index(column)
        table = table.set_column(place, table.schema.field(place), pa.chunked_array(chunks, found.type))
    return table


def _with(chunk: pa.Array, data: Mapping[int, bytes]) -> pa.Array:
    if _has_field(chunk.type):
        return _rebuilt(chunk, data, list(chunk.type))
    texts = [_fields(chunk[row].as_py()) | {UNREAD: data[row]} for row in sorted(data)]
    return _replaced(chunk, sorted(data), [msgspec.json.encode(each).decode() for each in texts])


def _fields(text: str | None) -> dict[str, Any]:
    return {} if text is None else _decode_fields(text)


def _rebuilt(chunk: pa.Array, data: Mapping[int, bytes], fields: list[pa.Field]) -> pa.Array:
    inner = {field.name: array for field, array in zip(chunk.type, chunk.flatten(), strict=True)}
    if data:
        inner[UNREAD] = _replaced(inner[UNREAD], sorted(data), [data[row] for row in sorted(data)])
    if not fields:
        return pa.array([None if is_null else {} for is_null in chunk.is_null().to_pylist()], pa.struct([]))
    return pa.StructArray.from_arrays([inner[field.name] for field in fields], fields=fields, mask=chunk.is_null())


def _replaced(values: pa.Array, rows: list[int], by: list[Any]) -> pa.Array:
    is_one = np.zeros(len(values), np.bool_)
    is_one[rows] = True
    return pc.replace_with_mask(values, pa.array(is_one), pa.array(by, values.type))


def _has_field(kind: pa.DataType) -> bool:
    place = kind.get_field_index(UNREAD) if pa.types.is_struct(kind) else -1
    return place >= 0 and (
        pa.types.is_binary(kind.field(place).type) or pa.types.is_large_binary(kind.field(place).type)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _valid(values: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)
