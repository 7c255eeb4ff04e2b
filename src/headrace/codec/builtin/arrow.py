"""Arrow data as Arrow IPC: written batch by batch, memory-mapped by the reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from headrace.codec.classes import describe
from headrace.codec.misfit import CallerFailed, Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source

BATCH_BYTES = 1 << 26
"""About how much one record batch of a table holds. Chunked data is copied to write it, so this bounds the copy."""

SMALL_BYTES = 1 << 16
"""Below this, data is written in memory first: most of it ends up in the artifact's row."""


class ArrowCodec:
    """A table, record batch, array, chunked array or schema, as an Arrow IPC file; metadata is kept.

    How a table was chunked is not part of its value: it is cut anew, by its schema and length alone, so equal tables
    make equal bytes. What stands under nulls, the order of a dictionary, and the buffers of view types still show.
    """

    name = "arrow"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, pa.Table | pa.RecordBatch | pa.ChunkedArray | pa.Array | pa.Schema)

    def save(self, value: object, sink: Sink) -> None:
        if isinstance(value, pa.Schema):
            sink.write(value.serialize())
            return
        if isinstance(value, pa.RecordBatch):
            _write(sink, value.schema, [value], value.nbytes)
            return
        if isinstance(value, pa.ChunkedArray | pa.Array):
            value = pa.Table.from_arrays([value], names=[""])
        assert isinstance(value, pa.Table)
        write_table(value, sink)

    def load(self, source: Source) -> object:
        kind = source.type.removeprefix("pyarrow.lib.")
        if kind == "Schema":
            return pa.ipc.read_schema(pa.py_buffer(source.read()))
        reader = pa.ipc.open_file(_open(source))
        if kind == "RecordBatch":
            return reader.get_batch(0)
        table = reader.read_all()
        if kind == "Table":
            return table
        column = table.column(0)
        return column if kind == "ChunkedArray" else column.combine_chunks()


class ArrowStreamCodec:
    """Record batches one by one, from a reader or a generator, as an Arrow IPC stream; loading gives a reader.

    The batches are those that were given: their borders are part of the value.
    """

    name = "arrow-stream"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, pa.RecordBatchReader)

    def save(self, value: object, sink: Sink) -> None:
        sink.kind = pa.RecordBatchReader
        batches = iter(_batches(value))
        first = next(batches, None)
        schema = value.schema if isinstance(value, pa.RecordBatchReader) else first.schema if first else pa.schema([])
        with pa.OSFile(str(sink.path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            if first is not None:
                writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)

    def load(self, source: Source) -> object:
        return pa.ipc.open_stream(_open(source))


CODECS = (ArrowCodec(), ArrowStreamCodec())


def write_table(table: Any, sink: Sink) -> None:
    """Write a table so that equal tables make equal bytes, without a second copy of more than a batch."""
    if any(pa.types.is_dictionary(each.type) for each in table.schema):
        table = table.unify_dictionaries()
    _write(sink, table.schema, _cut(table), table.nbytes)


def read_table(source: Source) -> Any:
    """Give a table that lies in the store's file, memory-mapped."""
    return pa.ipc.open_file(_open(source)).read_all()


def _open(source: Source) -> Any:
    return pa.BufferReader(source.inline) if source.inline is not None else pa.memory_map(str(source.path))


def _write(sink: Sink, schema: Any, batches: Iterable[Any], size: int) -> None:
    if size < SMALL_BYTES:
        target = pa.BufferOutputStream()
    else:
        target = pa.OSFile(str(sink.path), "wb")
    with target, pa.ipc.new_file(target, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            del batch  # so that it is gone before the next one is made
    if size < SMALL_BYTES:
        sink.write(memoryview(target.getvalue()))


def _cut(table: Any) -> Iterator[Any]:
    """Cut a table into batches of a length that its schema alone decides.

    Where Arrow would fill the gap behind a column with what follows in memory, the column is copied: values of varying
    length, and the end of the table.
    """
    rows = _rows(table.schema)
    for start in range(0, table.num_rows, rows):
        piece = table.slice(start, rows)
        ends = start + rows >= table.num_rows
        columns = [
            each.combine_chunks() if ends or each.num_chunks > 1 or not _is_fixed(each.type) else each
            for each in piece.columns
        ]
        yield from pa.Table.from_arrays(columns, schema=table.schema).to_batches()
        del piece, columns


def _rows(schema: Any) -> int:
    width = sum(_width(each.type) for each in schema)
    return max(1024, 1 << (BATCH_BYTES // max(width, 1)).bit_length() - 1)


def _width(kind: Any) -> int:
    """Give about how many bytes a value of this type takes; a guess where lengths vary."""
    return max(1, int(kind.bit_width) // 8) if _is_fixed(kind) else 64


def _is_fixed(kind: Any) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind))


def _batches(value: Any) -> Iterator[Any]:
    """Go over what the user's code gives; what it raises is its own error, not ours."""
    values = iter(value)
    while True:
        try:
            batch = next(values)
        except StopIteration:
            return
        except Exception as error:
            raise CallerFailed(error) from error
        if not isinstance(batch, pa.RecordBatch):
            raise Misfit(
                describe(type(value)),
                f"it gives a `{describe(type(batch))}`",
                "give out a list; a generator may give only `pyarrow.RecordBatch`",
            )
        yield batch
