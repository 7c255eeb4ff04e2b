"""Reads the content of arrays and tables, if the library that made them is already loaded."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple


class Read(NamedTuple):
    """The content of an array or table: small values that describe it, and blocks of bytes."""

    values: list[object]
    blocks: list[bytes]


def read_array(value: Any, kind: type) -> Read | None:
    """Return the content of a value of NumPy, pandas or Arrow. Return None for any other value, and for a value that
    can't be read."""
    for library, read in (("numpy", _numpy), ("pandas", _pandas), ("pyarrow", _arrow)):
        if library in sys.modules and any(base.__module__.partition(".")[0] == library for base in kind.__mro__):
            return read(value, sys.modules[library])
    return None


def read_tensor(value: Any) -> Read | None:
    """Return the content of a dense tensor of PyTorch. Return None for any other value."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        return None
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    described: list[object] = [str(value.dtype), tuple(value.shape), str(value.device), value.requires_grad]
    return Read(described, [plain.reshape(-1).view(torch.uint8).numpy().tobytes()])


def _numpy(value: Any, numpy: Any) -> Read | None:
    if isinstance(value, numpy.dtype):
        return Read([_dtype(value)], [])
    if isinstance(value, numpy.ufunc):
        name = str(value.__name__)
        return Read([name], []) if getattr(numpy, name, None) is value else None
    if isinstance(value, numpy.generic):
        return None if value.dtype.hasobject else Read([_dtype(value.dtype)], [value.tobytes()])
    if type(value) is not numpy.ndarray:
        return None
    described: list[object] = [_dtype(value.dtype), value.shape]
    if value.dtype.hasobject:
        return Read([*described, value.tolist()], [])
    return Read(described, [value.tobytes()])


def _dtype(dtype: Any) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"{_dtype(base)} {shape}"
    return str(dtype.descr if dtype.names else dtype.str)


def _pandas(value: Any, pandas: Any) -> Read | None:
    if isinstance(value, pandas.DataFrame) and type(value) is pandas.DataFrame:
        columns = [_column(value.iloc[:, position]) for position in range(value.shape[1])]
        described = [list(value.columns), list(value.columns.names), _column(value.index), columns, dict(value.attrs)]
        return Read([*described, *_beside(value.index), *_beside(value.columns, named=False), *_flags(value)], [])
    if type(value) is pandas.Series:
        described = [value.name, _column(value.index), _column(value), dict(value.attrs)]
        return Read([*described, *_beside(value.index), *_flags(value)], [])
    if isinstance(value, pandas.Index):
        return Read([list(value.names), *_column(value), *_beside(value, named=False)], [])
    if isinstance(value, pandas.Categorical):
        return Read(_column(value), [])
    if isinstance(value, pandas.Timestamp | pandas.Timedelta | pandas.Period | pandas.Interval):
        fold = getattr(value, "fold", 0)
        return Read([repr(value), str(getattr(value, "value", "")), *([fold] if fold else [])], [])
    if value is pandas.NaT or value is pandas.NA:
        return Read([], [])
    if isinstance(value, pandas.api.extensions.ExtensionDtype):
        return Read([str(value), *_categories(value)], [])
    return None


def _column(column: Any) -> list[object]:
    """Return the type of a column or index, and its elements: as an array, or as a list if the type is an extension
    type."""
    import numpy as np  # noqa: PLC0415  pandas is loaded, so NumPy is too

    if isinstance(column.dtype, np.dtype):
        return [str(column.dtype), column.to_numpy()]
    return [str(column.dtype), list(column.astype(object)), *_categories(column.dtype)]


def _categories(dtype: Any) -> list[object]:
    """Return the categories of a categorical type, also unused ones, and whether they are ordered. The type's name
    doesn't show these. For other types, the list is empty."""
    categories = getattr(dtype, "categories", None)
    if str(dtype) != "category":
        return []
    return [
        "categories",
        bool(dtype.ordered),
        None if categories is None else [list(categories.names), *_column(categories)],
    ]


def _beside(index: Any, *, named: bool = True) -> list[object]:
    """Return what an index holds besides its elements: its names, its frequency, and the categories of its levels."""
    facts: list[object] = []
    if named and any(each is not None for each in index.names):
        facts += ["names", list(index.names)]
    if getattr(index, "freq", None) is not None:
        facts += ["freq", str(index.freq)]
    if index.nlevels > 1:
        facts += [each for level in index.levels for each in _categories(level.dtype)]
    elif not named:
        facts += _categories(index.dtype)
    return facts


def _flags(table: Any) -> list[object]:
    return [] if table.flags.allows_duplicate_labels else ["no duplicate labels"]


def _arrow(value: Any, arrow: Any) -> Read | None:
    if isinstance(value, arrow.DataType | arrow.Field | arrow.Schema):
        return Read([str(value), repr(getattr(value, "metadata", None))], [])
    if isinstance(value, arrow.Scalar):
        return Read([str(value.type), value.as_py()], [])
    if isinstance(value, arrow.Array | arrow.ChunkedArray):
        return Read([str(value.type), value.to_pylist(), *_dictionaries(value, arrow)], [])
    if isinstance(value, arrow.Table | arrow.RecordBatch):
        columns = [column.to_pylist() for column in value.columns]
        beside = [each for column in value.columns for each in _dictionaries(column, arrow)]
        return Read([str(value.schema), repr(value.schema.metadata), columns, *beside], [])
    return None


def _dictionaries(column: Any, arrow: Any) -> list[object]:
    """Return the dictionaries of a dictionary-encoded column. The order of the entries matters, and so do entries that
    no row uses."""
    if not arrow.types.is_dictionary(column.type):
        return []
    chunks = column.chunks if isinstance(column, arrow.ChunkedArray) else [column]
    return ["dictionaries", *(chunk.dictionary.to_pylist() for chunk in chunks)]
