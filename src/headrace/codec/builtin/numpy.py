"""NumPy's arrays and scalars as `.npy`, memory-mapped when they are read."""

from __future__ import annotations

import io

import numpy as np

from headrace.codec import exact_json
from headrace.codec.sink import Sink
from headrace.codec.source import Source

SMALL_BYTES = 1 << 16
"""An array with fewer bytes than this is written in memory first, since most such arrays end up in a row of the
ledger."""


class NumpyCodec:
    """An array, or a scalar that JSON can't hold. A loaded array is read-only; a copy of it can be changed.

    Equal arrays with the same memory order make equal bytes. Arrays of objects and subclasses (masked arrays, matrices)
    are pickled instead. A memory map is saved and loaded as a plain array.
    """

    name = "numpy"
    safe = True

    def takes(self, value: object) -> bool:
        if isinstance(value, np.generic):
            return not exact_json.is_plain(type(value)) and _is_raw(value.dtype)
        return type(value) in (np.ndarray, np.memmap) and isinstance(value, np.ndarray) and _is_raw(value.dtype)

    def save(self, value: object, sink: Sink) -> None:
        array = np.asarray(value)
        if isinstance(value, np.memmap):
            sink.kind = np.ndarray
        if array.nbytes > SMALL_BYTES:
            np.lib.format.write_array(sink.file, array, allow_pickle=False)
            return
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        sink.write(buffer.getbuffer())

    def load(self, source: Source) -> object:
        array = _read(source)
        array.flags.writeable = False
        return array if source.type == "numpy.ndarray" else array[()]


CODECS = (NumpyCodec(),)


def _is_raw(dtype: np.dtype[np.generic]) -> bool:
    """Return whether the bytes in memory describe an array of this type completely."""
    return not dtype.hasobject and dtype.kind != "T" and not dtype.metadata


def _read(source: Source) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if source.inline is not None:
        return np.lib.format.read_array(io.BytesIO(source.inline), allow_pickle=False)
    return np.asarray(np.load(source.path, mmap_mode="r", allow_pickle=False))
