"""Rows and answers as streams of Arrow. A stream of a client or of a model process is untrusted: it is checked before
any of it is used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.builtin.arrow import look_into
from headrace.codec.builtin.arrow_metadata import claims_of
from headrace.errors import DataError, sentence
from headrace.models.types import is_text

MOST_BYTES = 1 << 28
"""The most bytes that a stream's data may have after unpacking."""
MOST_BATCHES = 10_000
MOST_COLUMNS = 10_000
"""A stream with more batches or columns than this is refused, since each takes time."""
_BARE = 1 << 22
"""The most values that a stream may have without any bytes for them, such as nulls."""
_BITS = 8
"""The most values that one byte may hold."""
_WIDEST = 32
"""How many bytes the widest value of a fixed width has."""
_VIEWED = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""For each type of views, the type of the same values without views."""


def table_in(data: bytes, most_bytes: int = MOST_BYTES) -> pa.Table:
    """Return the table in a stream that isn't trusted, after checking it. Views become texts and bytes, because Arrow
    can't take or filter views.

    Raises:
        DataError: the bytes are no stream of Arrow, contradict each other, unpack to more than `most_bytes`, or have
            columns of a type whose values can take far more memory than the stream.
    """
    try:
        claims = claims_of(pa.BufferReader(data), is_stream=True, most_messages=MOST_BATCHES)
        if claims.data > most_bytes or claims.values > _BARE + _BITS * claims.data:
            raise DataError(
                f"the stream claims to unpack to {claims.data:,} bytes for {claims.values:,} values",
                hint=f"send at most {most_bytes:,} bytes at once",
            )
        with pa.ipc.open_stream(data) as stream:
            if len(stream.schema) > MOST_COLUMNS:
                raise DataError(f"the stream has more than {MOST_COLUMNS:,} columns", hint="send fewer columns")
            for field in stream.schema:
                _check_type(field)
            table = stream.read_all()
        look_into(table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the bytes aren't an Arrow stream: {sentence(error)}", hint="write them with Arrow's stream writer"
        ) from error
    for name, column in zip(table.column_names, table.columns, strict=True):
        if (size := sum(map(_size, column.chunks))) > most_bytes:
            raise DataError(
                f"column `{name}` takes {size:,} bytes once each row has its own copy of a value that rows share",
                hint=f"send at most {most_bytes:,} bytes at once",
            )
    for place, field in enumerate(table.schema):
        if (kind := _VIEWED.get(field.type)) is not None:
            chunks = [_without_null_views(chunk).cast(kind) for chunk in table.column(place).chunks]
            table = table.set_column(place, field.with_type(kind), pa.chunked_array(chunks, kind))
    return table


def stream_of(table: pa.Table, packed: str | None = None) -> bytes:
    """Return a table as a stream of Arrow. `packed` is Arrow's name of a compression, such as `zstd`; None means no
    compression."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=packed)) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def is_plain(kind: pa.DataType) -> bool:
    """Return whether values of a type are numbers, texts, bytes, booleans, times or nulls, and no two values share
    bytes."""
    return bool(
        pa.types.is_primitive(kind)
        or pa.types.is_null(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_fixed_size_binary(kind)
        or any(kind.equals(each) for each in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()))
    )


def _check_type(field: pa.Field) -> None:
    """Refuse a column of a type in which many values can share a few bytes. Types whose shared bytes `_size` counts are
    accepted."""
    kind = field.type
    if is_text(kind) or pa.types.is_binary_view(kind):
        return
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        known = is_plain(kind)
    else:
        known = all(map(is_plain, _leaves(kind)))
    if not known:
        raise DataError(
            f"column `{field.name}` has the type `{field.type}`, which can't be sent",
            hint="send numbers, texts, times, booleans, or lists and structs of them",
        )


def _leaves(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yield the types of the values inside lists and structs."""
    rest = [kind]
    while rest:
        kind = rest.pop()
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if is_list or pa.types.is_struct(kind) or pa.types.is_map(kind):
            rest.extend(kind.field(place).type for place in range(kind.num_fields))
        else:
            yield kind


def _without_null_views(chunk: pa.Array) -> pa.Array:
    """Return an array of views in which the views of nulls are empty. Arrow's validation skips the views of nulls, but
    a cast follows them, and an impossible one would crash this process."""
    if not chunk.null_count:
        return chunk
    validity, views, *data = chunk.buffers()
    end = chunk.offset + len(chunk)
    each = np.frombuffer(views, np.int32, 4 * end).reshape(end, 4).copy()
    each[chunk.offset :][chunk.is_null().to_numpy(zero_copy_only=False)] = 0
    buffers = [validity, pa.py_buffer(each), *data]
    return pa.Array.from_buffers(chunk.type, len(chunk), buffers, chunk.null_count, chunk.offset)


def _size(chunk: pa.Array) -> int:
    """Return how many bytes the values of a dictionary or a view would take if no two values shared bytes. For arrays
    of other types, whose values can't share bytes, return 0."""
    if pa.types.is_dictionary(chunk.type):
        kind = chunk.type.value_type
        if pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind):
            return _WIDEST * len(chunk)
        return pc.sum(pc.binary_length(chunk.dictionary).cast(pa.int64()).take(chunk.indices)).as_py() or 0
    if chunk.type.equals(pa.string_view()) or chunk.type.equals(pa.binary_view()):
        data = np.frombuffer(chunk.buffers()[1] or b"", np.int32)  # each view has four numbers; the first is its length
        lengths = data[4 * chunk.offset : 4 * (chunk.offset + len(chunk)) : 4]
        return int(lengths[pc.is_valid(chunk).to_numpy(zero_copy_only=False)].sum(dtype=np.int64))
    return 0
