"""Converts between NumPy and Arrow through their buffers. Arrow's own conversion would import pandas, and that import
takes longer than most reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def mask(values: Any) -> Any:
    """Return a NumPy boolean array as an Arrow array."""
    packed = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, packed])


def places(values: Any) -> Any:
    """Return a NumPy array of whole numbers as an Arrow array of `int64`."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])


def numbers(column: Any) -> Any:
    """Return an Arrow column of whole numbers without nulls as a NumPy array of `int64`."""
    column = whole(column)
    if not len(column):
        return np.empty(0, np.int64)
    kind = np.dtype(str(column.type))
    found = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)
    return found.astype(np.int64, copy=False)


def floats(column: Any) -> Any:
    """Return an Arrow column of numbers without nulls as a NumPy array of `float64`."""
    column = whole(column.cast(pa.float64(), safe=False))
    return np.frombuffer(column.buffers()[1], np.float64, len(column), 8 * column.offset) if len(column) else _NONE


_NONE = np.empty(0)


def truths(column: Any) -> Any:
    """Return an Arrow column of booleans without nulls as a NumPy boolean array."""
    column = whole(column)
    if not len(column):
        return np.empty(0, bool)
    bits = np.unpackbits(np.frombuffer(column.buffers()[1], np.uint8), bitorder="little")
    return bits[column.offset : column.offset + len(column)].astype(bool)


def whole(column: Any) -> Any:
    """Return a chunked column as one array, copied only if there are several chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
