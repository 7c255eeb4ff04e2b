"""pandas' frames and series as Arrow IPC, where Arrow keeps them exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype

from headrace.codec import exact_json
from headrace.codec.builtin.arrow import read_columns, read_table, refuse_broken, write_table
from headrace.codec.misfit import Declined
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

KEY = b"headrace"


class Recipe(msgspec.Struct, frozen=True, array_like=True):
    """What Arrow's own metadata leaves out: the positions of the columns that hold Python objects, the index's
    frequency, and a series' name."""

    objects: list[int]
    freq: str | None
    name: bytes | None = None


class PandasCodec:
    """A frame or series as an Arrow IPC file. Its values, index, columns, types and `attrs` are kept exactly.

    The codec checks that Arrow keeps the frame exactly: it checks the types with an empty copy of the frame. Single
    values are checked only in columns of Python objects. What Arrow doesn't keep (mixed objects, lists, sparse or
    complex numbers, two columns of one name) is pickled instead. Equal frames make equal bytes.
    """

    name = "pandas"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) in (pd.DataFrame, pd.Series)

    def save(self, value: object, sink: Sink) -> None:
        write_table(_to_arrow(value), sink)

    def load(self, source: Source) -> object:
        return _to_pandas(read_table(source))

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        if source.type.endswith(".Series"):
            raise CodecError("a series has no columns to choose from", hint="load it whole")
        return _to_pandas(_chosen(read_columns(source, names, _index_fields), names))


CODECS = (PandasCodec(),)


def _to_arrow(value: Any) -> Any:
    name = None
    frame = value
    if isinstance(value, pd.Series):
        name = exact_json.encode(value.name)
        frame = value.to_frame("value")
    refuse_broken(value, _arrow_columns(frame))
    _check_labels(frame)
    objects = [place for place, kind in enumerate(frame.dtypes) if is_object_dtype(kind)]
    recipe = Recipe(objects, _freq(frame.index), name)
    try:
        table = _table(frame, recipe)
        _check_types(frame, _frame(_table(frame.head(0), recipe)))
        for place in objects:
            one = frame.iloc[:, [place]].reset_index(drop=True)
            _check_values(one.iloc[:, 0], _frame(_table(one, Recipe([0], None))).iloc[:, 0])
        if _has_objects(frame.index):
            bare = pd.DataFrame(index=frame.index)
            index = _frame(_table(bare, Recipe([], None))).index
            _check_types(bare, pd.DataFrame(columns=bare.columns, index=index))
            _check_values(bare.index, index)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise Declined(str(error)) from error
    return table


def _arrow_columns(frame: Any) -> Iterable[tuple[str, Any]]:
    """Yield the label and the data of each column that pandas itself holds as Arrow data, such as text."""
    for label, column in frame.items():
        if isinstance(column.array, pd.arrays.ArrowExtensionArray):
            yield str(label), column.array.__arrow_array__()


def _table(frame: Any, recipe: Recipe) -> Any:
    table = pa.Table.from_pandas(frame)
    return table.replace_schema_metadata({**table.schema.metadata, KEY: msgspec.json.encode(recipe)})


def _to_pandas(table: Any) -> Any:
    frame = _frame(table)
    recipe = _recipe(table)
    if recipe.freq is not None:
        frame.index.freq = recipe.freq
    if recipe.name is None:
        return frame
    return frame.iloc[:, 0].rename(exact_json.decode(recipe.name))


def _index_fields(schema: Any) -> list[str]:
    """Return the names of the fields that hold the index. If the index is a range, no field holds it, and the list is
    empty."""
    return [column for column in json.loads(schema.metadata[b"pandas"])["index_columns"] if isinstance(column, str)]


def _chosen(table: Any, names: Sequence[str]) -> Any:
    """Return `table` with its stored `Recipe` changed, so that the `Recipe` describes only the columns `names`."""
    recipe = _recipe(table)
    index = _index_fields(table.schema)
    labels = [column["field_name"] for column in json.loads(table.schema.metadata[b"pandas"])["columns"]]
    columns = [column for column in labels if column not in index]
    objects = [place for place, name in enumerate(names) if columns.index(name) in recipe.objects]
    encoded = msgspec.json.encode(Recipe(objects, recipe.freq))
    return table.replace_schema_metadata({**table.schema.metadata, KEY: encoded})


def _frame(table: Any) -> Any:
    frame = table.to_pandas()
    for place in _recipe(table).objects:
        column = frame.iloc[:, place]
        if not is_object_dtype(column.dtype):
            objects = column.to_numpy(dtype=object, copy=True)
            objects[column.isna()] = None
            frame.isetitem(place, pd.Series(objects, index=frame.index, dtype=object))
    return frame


def _recipe(table: Any) -> Recipe:
    return msgspec.json.decode(table.schema.metadata[KEY], type=Recipe)


def _freq(index: Any) -> str | None:
    freq = getattr(index, "freq", None) if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    if freq is None:
        return None
    if pd.tseries.frequencies.to_offset(freq.freqstr) != freq:
        raise Declined(f"the frequency {freq!r} has no text")
    return str(freq.freqstr)


def _check_labels(frame: Any) -> None:
    """Raise `Declined` if there are labels or values that pyarrow would change without an error."""
    mixed = frame.columns.inferred_type.startswith("mixed") and frame.columns.nlevels == 1
    if mixed or not frame.columns.is_unique or getattr(frame.columns, "freq", None) is not None:
        raise Declined("columns that Arrow would rename")
    exact_json.encode(frame.attrs)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place].array
        if isinstance(column, pd.arrays.FloatingArray) and np.isnan(column.to_numpy(dtype=float, na_value=0)).any():
            raise Declined("a column that holds both NaN and NA")


def _check_types(given: Any, found: Any) -> None:
    """Raise `Declined` unless the frame `found`, which was read back, has the same types, labels and attributes as
    `given`."""
    kept = (
        given.dtypes.tolist() == found.dtypes.tolist()
        and type(given.columns) is type(found.columns)
        and given.columns.identical(found.columns)
        and _levels(given.columns) == _levels(found.columns)
        and (type(given.index) is type(found.index) or isinstance(found.index, pd.RangeIndex))
        and _levels(given.index) == _levels(found.index)
        and given.index.names == found.index.names
        and exact_json.encode(given.attrs) == exact_json.encode(found.attrs)
    )
    if not kept:
        raise Declined("types, labels or attributes that Arrow would change")


def _levels(index: Any) -> list[Any]:
    return [level.dtype for level in index.levels] if isinstance(index, pd.MultiIndex) else [index.dtype]


def _has_objects(index: Any) -> bool:
    return any(is_object_dtype(dtype) for dtype in _levels(index))


def _check_values(given: Iterable[Any], found: Iterable[Any]) -> None:
    if not all(map(_is_same, given, found)):
        raise Declined("objects that Arrow would change")


def _is_same(given: Any, found: Any) -> bool:
    if type(given) is not type(found):
        return False
    if isinstance(given, tuple):
        return all(map(_is_same, given, found))
    return bool(given is found or given == found)
