"""Arrays and tables by their content, where the library that made them is loaded already."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple


class Read(NamedTuple):
    """What an array or table holds: small values that describe it, and blocks of bytes."""

    values: list[object]
    blocks: list[bytes]


def read_array(value: Any, kind: type) -> Read | None:
    """Give the content of a value of NumPy, pandas or Arrow; None for another, or one that can't be read."""
    for library, read in (("numpy", _numpy), ("pandas", _pandas), ("pyarrow", _arrow)):
        if library in sys.modules and any(each.__module__.partition(".")[0] == library for each in kind.__mro__):
            return read(value, sys.modules[library])
    return None


def _numpy(value: Any, numpy: Any) -> Read | None:
    if isinstance(value, numpy.dtype):
        return Read([str(value.descr if value.names else value.str)], [])
    if isinstance(value, numpy.ufunc):
        name = str(value.__name__)
        return Read([name], []) if getattr(numpy, name, None) is value else None
    if isinstance(value, numpy.generic):
        if value.dtype.hasobject:
            return None
        return Read([str(value.dtype.descr if value.dtype.names else value.dtype.str)], [value.tobytes()])
    if type(value) is not numpy.ndarray:
        return None
    described: list[object] = [str(value.dtype.descr if value.dtype.names else value.dtype.str), value.shape]
    if value.dtype.hasobject:
        return Read([*described, value.tolist()], [])
    return Read(described, [value.tobytes()])


def _pandas(value: Any, pandas: Any) -> Read | None:
    if isinstance(value, pandas.DataFrame) and type(value) is pandas.DataFrame:
        columns = [_column(value.iloc[:, position]) for position in range(value.shape[1])]
        return Read(
            [list(value.columns), list(value.columns.names), _column(value.index), columns, dict(value.attrs)], []
        )
    if type(value) is pandas.Series:
        return Read([value.name, _column(value.index), _column(value), dict(value.attrs)], [])
    if isinstance(value, pandas.Index):
        return Read([list(value.names), *_column(value)], [])
    if isinstance(value, pandas.Timestamp | pandas.Timedelta | pandas.Period | pandas.Interval):
        return Read([repr(value), str(getattr(value, "value", ""))], [])
    if value is pandas.NaT or value is pandas.NA:
        return Read([], [])
    return Read([str(value)], []) if isinstance(value, pandas.api.extensions.ExtensionDtype) else None


def _column(column: Any) -> list[object]:
    """Give a column or index as its type and an array; an extension type, element by element."""
    import numpy as np  # noqa: PLC0415  pandas is loaded, and so is NumPy

    if isinstance(column.dtype, np.dtype):
        return [str(column.dtype), column.to_numpy()]
    return [str(column.dtype), list(column.astype(object))]


def _arrow(value: Any, arrow: Any) -> Read | None:
    if isinstance(value, arrow.DataType | arrow.Field | arrow.Schema):
        return Read([str(value), repr(getattr(value, "metadata", None))], [])
    if isinstance(value, arrow.Scalar):
        return Read([str(value.type), value.as_py()], [])
    if isinstance(value, arrow.Array | arrow.ChunkedArray):
        return Read([str(value.type), value.to_pylist()], [])
    if isinstance(value, arrow.Table | arrow.RecordBatch):
        columns = [column.to_pylist() for column in value.columns]
        return Read([str(value.schema), repr(value.schema.metadata), columns], [])
    return None
