"""A small summary of a table's rows. It is stored with a model, so that an evaluation can find out whether the rows
that it uses were used to make the model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEPT = 256
"""How many digests are kept: the smallest ones, so that tables with the same rows keep the same sample."""
_HEAD = "headrace.rows"


class Sketch(NamedTuple):
    """A sample of a table's rows: the number of rows, the number of different rows, and the smallest digests of
    rows.

    `total` is a checksum of all rows, in any order. Sketches that were made before Headrace had it have 0.
    """

    rows: int
    different: int
    digests: Any
    total: int = 0

    def text(self) -> str:
        """Return the sketch as text of letters, digits, dots, hyphens and underscores."""
        kept = base64.urlsafe_b64encode(self.digests.astype("<u8").tobytes()).decode().rstrip("=")
        return f"{_HEAD}.{self.rows}.{self.different}.{kept}{f'.{self.total:x}' if self.total else ''}"

    def matches(self, other: Sketch) -> bool:
        """Return whether both sketches may be of the same rows, in any order.

        If one of them has no checksum, only the other three parts are compared. Then tables with the same different
        rows match, even if these rows don't occur equally often.
        """
        has_totals = self.total and other.total
        is_alike = self[:2] == other[:2] and np.array_equal(self.digests, other.digests)
        return is_alike and (not has_totals or self.total == other.total)


def sketch(table: pa.Table, names: Sequence[str]) -> Sketch | None:
    """Return the sketch of a table by these columns, in this order. Return None if there are no rows or no usable
    columns.

    Columns of nested types, such as lists, are left out.
    """
    plain = [name for name in names if not pa.types.is_nested(table.schema.field(name).type)]
    if not plain or not table.num_rows:
        return None
    every = digests(table, plain)
    found = np.unique(every)
    return Sketch(table.num_rows, len(found), found[:KEPT], _total(every))


def _total(found: Any) -> int:
    """Return a checksum of digests that doesn't depend on their order. The digests are mixed first: a plain sum would
    only depend on the values of each column by itself."""
    mixed = (found ^ (found >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.sum(mixed ^ (mixed >> np.uint64(32)), dtype=np.uint64))


def read(text: object) -> Sketch | None:
    """Return the sketch in a text, or None if the text isn't a sketch."""
    if not isinstance(text, str) or not text.startswith(f"{_HEAD}."):
        return None
    try:
        rows, different, kept, *total = text.removeprefix(f"{_HEAD}.").split(".")
        found = np.frombuffer(base64.urlsafe_b64decode(f"{kept}{'=' * (-len(kept) % 4)}"), "<u8")
        told = Sketch(int(rows), int(different), found, *(int(each, 16) for each in total))
    except (TypeError, ValueError, binascii.Error):
        return None
    return told if 0 < len(told.digests) <= told.different <= told.rows else None


def digests(table: pa.Table, names: Sequence[str]) -> Any:
    """Return a 64-bit digest for each row. Equal rows have equal digests, even if the types of their columns differ."""
    from pandas.util import hash_array  # noqa: PLC0415  0.3 s, which the tracer saves

    found = np.zeros(table.num_rows, np.uint64)
    for name in names:
        values = table[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())  # with nulls, pandas would make them objects
        column = values.to_pandas()
        if column.dtype.kind == "O" and isinstance(next((each for each in column if each is not None), None), bytes):
            column = column.map(repr)  # bytes needn't be valid text
        if column.dtype.kind in "iufb":
            own = hash_array(column.to_numpy(np.float64, na_value=np.nan)) + _beyond(values)
        else:
            own = hash_array(column.astype(str).to_numpy(dtype=object), categorize=True)
        found = found * np.uint64(1099511628211) + own
    return found


def _beyond(values: pa.ChunkedArray) -> Any:
    """Return the number to add to each value's digest, since the digest is computed from the value as a float. The
    number is 0, except for whole numbers beyond 2^53 that a float can't hold exactly: several of them become the same
    float."""
    if not pa.types.is_integer(values.type):
        return np.uint64(0)
    whole = pc.fill_null(values, 0).to_numpy()
    with np.errstate(invalid="ignore"):  # 2^64 and 2^63 overflow, but equal numbers do so in the same way
        rounded = whole.astype(np.float64).astype(whole.dtype)
    return (whole.astype(np.uint64) - rounded.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
