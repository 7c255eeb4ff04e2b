"""polars' frames and series as Arrow IPC."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from headrace.codec.builtin.arrow import check_table, read_columns
from headrace.codec.classes import describe
from headrace.codec.misfit import Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

SMALL_BYTES = 1 << 16
"""A frame with fewer bytes than this is written in memory first, since most such frames end up in a row of the
ledger."""

ROWS = 1 << 20
"""The number of rows in a record batch. It doesn't depend on the frame's chunks."""


class PolarsCodec:
    """A frame or series as an Arrow IPC file in polars' own types, memory-mapped when it is read.

    A lazy frame is refused: collect it first. Columns of Python objects are refused too, since not even pickle takes
    them. Equal frames make equal bytes.
    """

    name = "polars"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) in (pl.DataFrame, pl.Series)

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, pl.DataFrame | pl.Series)
        frame = value.to_frame() if isinstance(value, pl.Series) else value
        if any(_holds_objects(dtype) for dtype in frame.dtypes):
            raise Misfit(describe(type(value)), "a column holds Python objects", "cast it to a type of polars")
        if frame.estimated_size() > SMALL_BYTES:
            frame.write_ipc(sink.path, record_batch_size=ROWS)
            return
        buffer = io.BytesIO()
        frame.write_ipc(buffer, record_batch_size=ROWS)
        sink.write(buffer.getbuffer())

    def load(self, source: Source) -> object:
        if source.is_foreign:
            check_table(source)
        try:
            frame = pl.read_ipc(io.BytesIO(source.inline)) if source.inline is not None else _map(source.path)
        except pl.exceptions.PanicException as error:  # not a subclass of `Exception`
            raise CodecError(
                f"polars can't read the frame: {str(error).partition(chr(10))[0]}",
                hint="its bytes are damaged, or forged: make it again",
            ) from error
        return frame.to_series() if source.type.endswith(".Series") else frame

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        if source.type.endswith(".Series"):
            raise CodecError("a series has no columns to choose from", hint="load it whole")
        try:
            frame = pl.from_arrow(read_columns(source, names))
            if isinstance(frame, pl.DataFrame) and not any(_is_coded(dtype) for dtype in frame.dtypes):
                return frame
        except pa.ArrowNotImplementedError:
            pass  # a type that only polars reads
        whole = self.load(source)
        assert isinstance(whole, pl.DataFrame)
        return whole.select(names)


CODECS = (PolarsCodec(),)


def _is_coded(dtype: pl.DataType) -> bool:
    """Return whether polars itself must read a column of this type, because Arrow loses a part of the type."""
    return isinstance(dtype, pl.Categorical | pl.Enum | pl.Struct | pl.List | pl.Array)


def _holds_objects(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds_objects(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_objects(dtype.inner)  # type: ignore[arg-type]
    return dtype == pl.Object


def _map(path: Path) -> pl.DataFrame:
    """Return the frame in a file. The file is memory-mapped with pyarrow, since polars would copy it. If it has types
    that only polars can read, polars reads it."""
    try:
        frame = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
    except pa.ArrowNotImplementedError:
        return pl.read_ipc(path)
    if not isinstance(frame, pl.DataFrame) or frame.schema != pl.read_ipc_schema(path):
        return pl.read_ipc(path)
    return frame
