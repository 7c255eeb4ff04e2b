"""Columns of an Arrow table as NumPy arrays that share its memory, and rows gathered from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError, listed

_HINT = "make it a number first, in a `prepare` stage"


class Layout:
    """The start rows of a column's chunks. Columns with the same chunks share one layout."""

    def __init__(self, starts: tuple[int, ...]) -> None:
        self.starts = np.asarray(starts, dtype=np.int64)
        self.one = len(starts) <= 1

    def split(self, rows: Any) -> list[tuple[int, Any, Any]]:
        """Return the rows grouped by chunk. A group is a tuple: the chunk's number, the positions of its rows in
        `rows`, and the row numbers counted from the start of the chunk."""
        if self.one:
            return [(0, slice(None), rows)]
        chunk = np.searchsorted(self.starts, rows, "right") - 1
        # a stable sort of 16-bit numbers is a radix sort, which is several times faster than a sort of 64-bit numbers
        narrow = chunk.astype(np.uint16) if len(self.starts) < 1 << 16 else chunk
        order = np.argsort(narrow, kind="stable")
        bounds = np.searchsorted(chunk[order], np.arange(len(self.starts) + 1))
        return [
            (number, places, rows[places] - self.starts[number])
            for number in range(len(self.starts))
            if (places := order[bounds[number] : bounds[number + 1]]).size
        ]


class Column:
    """A column of numbers. Each row holds one number, a fixed count of numbers, or a list of any length.

    `shape` is the shape of one row: `()` or `(width,)`. If `is_ragged`, rows are lists, and the lists of a batch are
    padded to the longest one.
    """

    def __init__(self, name: str, column: Any) -> None:
        self.name = name
        if pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()  # each chunk may have other codes for its categories
        self.is_ragged = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        chunks = [chunk for chunk in column.chunks if len(chunk)] or [pa.array([], column.type)]
        lengths = [0, *np.cumsum([len(chunk) for chunk in chunks])]
        self.starts = tuple(int(each) for each in lengths[:-1])
        self._chunks: list[Any] = [_ragged(name, each) if self.is_ragged else _array(name, each) for each in chunks]
        kinds = {each[1].dtype if self.is_ragged else each.dtype for each in self._chunks}
        self.dtype = np.result_type(*kinds)  # integers with nulls in one chunk become floats in all
        self.shape: tuple[int, ...] = () if self.is_ragged else tuple(self._chunks[0].shape[1:])

    def take(self, split: list[tuple[int, Any, Any]], out: Any) -> None:
        """Copy rows of the column into `out`, an array with one entry for each row. `split` is what `Layout.split`
        returned for the rows to copy."""
        for number, places, rows in split:
            out[places] = self._chunks[number].take(rows, axis=0)

    def take_lists(self, split: list[tuple[int, Any, Any]], count: int) -> list[Any]:
        """Return the lists of `count` rows, each as an array. `split` is what `Layout.split` returned for the rows to
        take."""
        found: list[Any] = [None] * count
        for number, places, rows in split:
            offsets, values = self._chunks[number]
            where = range(count) if isinstance(places, slice) else places
            for place, row in zip(where, rows, strict=True):
                found[place] = values[offsets[row] : offsets[row + 1]]
        return found


def numbers(table: Any, names: Sequence[str]) -> dict[str, Column]:
    """Return these columns of a table, by name.

    Raises:
        UsageError: a column is missing, or holds no numbers.
    """
    for name in names:
        if name not in table.schema.names:
            known = listed(table.schema.names, 20)
            raise UsageError(f"the table has no column `{name}`", hint=f"its columns are {known}")
        if table.schema.names.count(name) > 1:
            raise UsageError(f"the table has two columns `{name}`", hint="rename one of them first")
    return {name: Column(name, table.column(name)) for name in names}


def _array(name: str, chunk: Any) -> Any:
    """Return a chunk as an array, in which nulls become NaN. A chunk of numbers without nulls isn't copied."""
    kind = chunk.type
    if pa.types.is_fixed_size_list(kind):
        if chunk.null_count:
            raise UsageError(f"column `{name}` has rows without a list", hint="drop or fill those rows first")
        return _array(name, chunk.flatten()).reshape(len(chunk), kind.list_size)
    if pa.types.is_dictionary(kind):
        chunk = chunk.indices  # the code of each category
        kind = chunk.type
    if pa.types.is_decimal(kind):
        chunk = chunk.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise UsageError(f"column `{name}` is `{kind}`, which a network can't take", hint=_HINT)
    if chunk.null_count and not pa.types.is_floating(chunk.type):
        chunk = chunk.cast(pa.float32(), safe=False)  # float32, to which chunks without nulls are rounded too
    return chunk.to_numpy(zero_copy_only=False)


def _ragged(name: str, chunk: Any) -> tuple[Any, Any]:
    """Return the offsets and the values of a chunk of lists."""
    if chunk.null_count:
        raise UsageError(f"column `{name}` has rows without a list", hint="drop or fill those rows first")
    offsets = chunk.offsets.to_numpy()
    return offsets, _array(name, chunk.values)
