"""Arrow data as Arrow IPC: written batch by batch, and memory-mapped when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from headrace.codec.builtin.arrow_metadata import claims_of
from headrace.codec.classes import describe
from headrace.codec.joined import Streamed
from headrace.codec.misfit import CallerFailed, Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

BATCH_BYTES = 1 << 24
"""The approximate size of one record batch of a table.

Chunked data is copied before it is written, one batch at a time, so a copy is at most this big. The allocator reuses
the memory of copies of this size. Copies of 64 MiB would take twice the CPU time, since their memory is requested from
the system each time.
"""

SMALL_BYTES = 1 << 16
"""Data with fewer bytes than this is written in memory first, since most such data ends up in a row of the ledger."""


class ArrowCodec:
    """A table, record batch, array, chunked array or schema, as an Arrow IPC file. Metadata is kept.

    A table's chunks are not part of its value: only its schema and length decide where the table is cut into batches.
    So equal tables make equal bytes, unless they differ in the values under nulls, in the order of a dictionary, or in
    the buffers of view types.
    """

    name = "arrow"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, pa.Table | pa.RecordBatch | pa.ChunkedArray | pa.Array | pa.Schema | Streamed)

    def save(self, value: object, sink: Sink) -> None:
        if isinstance(value, pa.Schema):
            sink.write(value.serialize())
            return
        if isinstance(value, Streamed):
            sink.kind = pa.Table
            _write(sink, value.schema, _all_cut(value.pieces), SMALL_BYTES)
            return
        refuse_broken(value, _columns(value))
        if isinstance(value, pa.RecordBatch):
            _write(sink, value.schema, [value], value.nbytes)
            return
        if isinstance(value, pa.ChunkedArray | pa.Array):
            value = pa.Table.from_arrays([value], names=[""])
        assert isinstance(value, pa.Table)
        write_table(value, sink)

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        if source.type != "pyarrow.lib.Table":
            raise CodecError(f"a `{source.type}` has no columns to choose from", hint="load it whole")
        return read_columns(source, names)

    def check(self, source: Source) -> None:
        if source.type != "pyarrow.lib.Schema":
            check_table(source)

    def load(self, source: Source) -> object:
        kind = source.type.removeprefix("pyarrow.lib.")
        if kind == "Schema":
            return pa.ipc.read_schema(pa.py_buffer(source.read()))
        reader = pa.ipc.open_file(_open(source))
        if kind == "RecordBatch":
            return checked(reader.get_batch(0), source)
        table = checked(reader.read_all(), source)
        if kind == "Table":
            return table
        column = table.column(0)
        return column if kind == "ChunkedArray" else column.combine_chunks()


class ArrowStreamCodec:
    """Record batches from a reader or a generator, one by one, as an Arrow IPC stream. Loading returns a reader.

    The batches are saved as they are: the places where batches end are part of the value.
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
        with pa.ipc.new_stream(pa.PythonFile(sink.file, "w"), schema) as writer:
            if first is not None:
                writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)

    def check(self, source: Source) -> None:
        for batch in pa.ipc.open_stream(_open(source, is_stream=True)):
            checked(batch, source)

    def load(self, source: Source) -> object:
        reader = pa.ipc.open_stream(_open(source, is_stream=True))
        if not source.is_foreign:
            return reader
        return pa.RecordBatchReader.from_batches(reader.schema, _all_checked(reader, source))


CODECS = (ArrowCodec(), ArrowStreamCodec())


def write_table(table: Any, sink: Sink) -> None:
    """Write a table so that equal tables make equal bytes, copying at most one batch at a time."""
    if any(pa.types.is_dictionary(field.type) for field in table.schema):
        table = table.unify_dictionaries()
    _write(sink, table.schema, _cut(table), table.nbytes)


def read_table(source: Source) -> Any:
    """Return the table in a source, memory-mapped from the store's file."""
    return checked(pa.ipc.open_file(_open(source)).read_all(), source)


def check_table(source: Source) -> None:
    """Check a table that may come from outside this project. If a column has a type that only polars can read, only the
    sizes in the file are checked, since polars copies the table's data instead of using it in place."""
    with suppress(pa.ArrowNotImplementedError):
        read_table(source)


def _all_checked(reader: Any, source: Source) -> Iterator[Any]:
    batches = iter(reader)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _broken(error) from error
        if batch is None:
            return
        yield checked(batch, source)


def checked(data: Any, source: Source) -> Any:
    """Return the table or batch `data`. If it may come from outside this project, check all of it first.

    Raises:
        CodecError: an offset or length in the data points outside of its own bytes.
    """
    if source.is_foreign:
        try:
            look_into(data)
        except pa.ArrowInvalid as error:
            raise _broken(error) from error
    return data


def look_into(data: Any) -> None:
    """Check all of a table or batch that may come from outside this project, since Arrow trusts the offsets in it.

    Raises:
        pyarrow.ArrowInvalid: an offset or length points outside of the data's own bytes, or a name or text isn't valid
            UTF-8.
    """
    rest = list(data.schema)
    while rest:
        field = rest.pop()
        try:
            field.name  # noqa: B018  decodes the name
        except UnicodeDecodeError as error:
            raise pa.ArrowInvalid(f"the name of a column is not text: {error}") from error
        rest.extend(field.type.field(place) for place in range(field.type.num_fields))
    data.validate(full=True)  # last, since it reads the names too


def _broken(error: Exception) -> CodecError:
    return CodecError(
        f"the table's bytes contradict each other: {error}",
        hint="they are damaged, or forged: fetch or make the table again",
    )


def read_columns(source: Source, names: Sequence[str], also: Callable[[Any], Sequence[str]] = lambda _: ()) -> Any:
    """Return a table of the columns `names` and of the columns that `also` returns for the schema. Other columns aren't
    read.

    The columns of a local file are memory-mapped. From an object store, only these columns and the file's end are
    fetched; at the file's end, Arrow records the position of each column.

    Raises:
        CodecError: the table has no column with one of these names, or two of them.
    """
    file = _seekable(source)
    schema = pa.ipc.open_file(file).schema
    chosen = [*names, *(each for each in also(schema) if each not in names)]
    for name in chosen:
        if len(schema.get_all_field_indices(name)) != 1:
            raise CodecError(
                f"the table has {'no column' if name not in schema.names else 'several columns'} `{name}`",
                hint=f"its columns are {', '.join(f'`{each}`' for each in schema.names[:20])}"
                + (", ..." if len(schema.names) > 20 else ""),
            )
    options = pa.ipc.IpcReadOptions(included_fields=sorted(schema.get_field_index(each) for each in chosen))
    # with no field to include, Arrow includes all fields
    table = pa.ipc.open_file(file, options=options).read_all() if chosen else pa.table({})
    return checked(table, source).select(chosen)


def _seekable(source: Source) -> Any:
    if source.inline is not None:
        return _weighed(pa.BufferReader(source.inline), source)
    file = source.reader()
    name = getattr(file, "name", None)
    if isinstance(name, str):
        file.close()
        return _weighed(pa.memory_map(name), source)
    return _weighed(pa.PythonFile(file), source)


def _open(source: Source, *, is_stream: bool = False) -> Any:
    file = pa.BufferReader(source.inline) if source.inline is not None else pa.memory_map(str(source.path))
    return _weighed(file, source, is_stream=is_stream)


def _weighed(file: Any, source: Source, *, is_stream: bool = False) -> Any:
    """Return the file. If it may come from outside this project, check first that it doesn't unpack to more bytes than
    it has, since Headrace compresses no table.

    Raises:
        CodecError: the file is compressed, or has far more values than bytes.
    """
    if source.is_foreign:
        try:
            claims = claims_of(file, is_stream=is_stream)
        except (pa.ArrowInvalid, OSError) as error:
            raise _broken(error) from error
        if claims.is_packed or claims.data > claims.size or claims.is_bare:
            raise CodecError(
                "the table is compressed, or claims more than it holds: its"
                f" {claims.size:,} bytes unpack to {claims.data:,}, for {claims.values:,} values",
                hint="Headrace compresses no table: this one is damaged, or forged; fetch or make it again",
            )
    return file


def _write(sink: Sink, schema: Any, batches: Iterable[Any], size: int) -> None:
    if size < SMALL_BYTES:
        target = pa.BufferOutputStream()
    else:
        target = pa.PythonFile(sink.file, "w")
    with pa.ipc.new_file(target, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            del batch  # free it before the next batch is made
    if size < SMALL_BYTES:
        sink.write(memoryview(target.getvalue()))


def _cut(table: Any) -> Iterator[Any]:
    """Yield the batches of a table. The number of rows in a batch depends only on the table's schema.

    Arrow pads the data of each column, and fills the padding of some columns with whatever follows in memory. Equal
    tables would then make different bytes. So these columns are copied: those whose values vary in length, and, in the
    table's last batch, all columns.
    """
    rows = batch_rows(table.schema)
    for start in range(0, table.num_rows, rows):
        piece = table.slice(start, rows)
        ends = start + rows >= table.num_rows
        columns = [
            column.combine_chunks() if ends or column.num_chunks > 1 or not _is_fixed(column.type) else column
            for column in piece.columns
        ]
        yield from pa.Table.from_arrays(columns, schema=table.schema).to_batches()
        del piece, columns


def _all_cut(pieces: Iterable[Any]) -> Iterator[Any]:
    for piece in pieces:
        refuse_broken(piece, _columns(piece))
        yield from _cut(piece)
        del piece


def batch_rows(schema: Any) -> int:
    """Return how many rows of this schema make a record batch of about `BATCH_BYTES`."""
    width = sum(_width(field.type) for field in schema)
    return max(1024, 1 << (BATCH_BYTES // max(width, 1)).bit_length() - 1)


def _width(kind: Any) -> int:
    """Return about how many bytes a value of this type takes. For types whose lengths vary, this is a guess."""
    return max(1, int(kind.bit_width) // 8) if _is_fixed(kind) else 64


def refuse_broken(value: object, columns: Iterable[tuple[str, Any]]) -> None:
    """Raise `Misfit` if a column has impossible lengths or offsets: writing it could crash the process.

    Only the beginning and the end of each column are checked (4 us for 20 chunks), so an error in the middle isn't
    found.
    """
    for name, column in columns:
        try:
            column.validate()
        except pa.ArrowException as error:
            where = f"its column `{name}`" if name else "it"
            hint = "the code that made it gave Arrow wrong offsets or lengths; `.validate(full=True)` shows the first"
            raise Misfit(describe(type(value)), f"{where} is broken: {error}", hint) from error


def _columns(data: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(data, pa.Table | pa.RecordBatch):
        return zip(data.schema.names, data.columns, strict=True)
    return [("", data)]


def _is_fixed(kind: Any) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind))


def _batches(value: Any) -> Iterator[Any]:
    """Yield the record batches of the user's iterator. If the iterator raises an exception, raise `CallerFailed` with
    it."""
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
                f"it yields a `{describe(type(batch))}`",
                "return a list; a generator may yield only `pyarrow.RecordBatch`",
            )
        refuse_broken(batch, _columns(batch))
        yield batch
