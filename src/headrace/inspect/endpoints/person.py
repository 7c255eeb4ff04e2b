"""Finds the rows of a table that are about an erased person, and takes them out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Set
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError
from headrace.inspect.endpoints.unread import Request, bare, bytes_in, requests, with_bytes
from headrace.models.predicted import plain
from headrace.models.streams import stream_of, table_in
from headrace.serve.predictions.part import UNREAD
from headrace.spec.endpoint import Erasure, key_text, number_text
from headrace.spec.noun import UNREADABLE

TEXTS = ("input", "output")
"""The columns of a log that have JSON texts instead of structs if different rows have fields of different types."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]

_decode = msgspec.json.Decoder().decode


class Sought(Protocol):
    """What to find in tables: values in some columns, such as the value of an erased person."""

    @property
    def columns(self) -> Collection[str]:
        """The columns, and fields inside of columns, that are searched."""
        ...

    def is_about(self, text: str) -> bool:
        """Return whether a value, as text, is sought."""
        ...


def rows_about(table: pa.Table, erasure: Sought) -> Mask:
    """Return a mask of the rows that are about the person: those in which one of the erasure's columns has the person's
    value.

    Such a column may also be a field of a struct, a field of structs in a list, or a field in the JSON text of a log.
    """
    found = np.zeros(len(table), np.bool_)
    for field, column in zip(table.schema, table.columns, strict=True):
        place = 0
        for chunk in column.chunks if may_name(field, erasure.columns) else ():
            found[place : place + len(chunk)] |= _about(chunk, field.name, erasure)
            place += len(chunk)
    return found


def may_name(field: pa.Field, columns: Collection[str]) -> bool:
    """Return whether a column, or a field inside of it, may have one of the names `columns`."""
    return any(name in columns or is_text for name, is_text in _names(field.name, field.type))


def _names(name: str, kind: pa.DataType) -> Iterator[tuple[str, bool]]:
    """Yield the names of a column and of all fields inside of it. Each name comes with True if there may be more fields
    that the type doesn't name: the keys of a map, fields in the JSON text of a log, or fields in the bytes of requests
    that couldn't be read."""
    yield name, (name in TEXTS and _is_text(kind)) or name == UNREAD or pa.types.is_map(kind)
    for place in range(kind.num_fields):
        inner = kind.field(place)
        yield from _names(inner.name, inner.type)


def _about(array: pa.Array, name: str, erasure: Sought) -> Mask:
    try:
        return _about_in_bulk(array, name, erasure)
    except pa.ArrowNotImplementedError:  # Arrow compares no halves of floats, say
        return _each(array, lambda value: _is_in({name: value}, erasure))


def _about_in_bulk(array: pa.Array, name: str, erasure: Sought) -> Mask:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _about(array.dictionary_decode(), name, erasure)
    if isinstance(array, pa.ExtensionArray):
        return _about(array.storage, name, erasure)
    found = np.zeros(len(array), np.bool_)
    if pa.types.is_struct(kind):
        for place, inner in enumerate(array.flatten()):
            found |= _about(inner, kind.field(place).name, erasure)
    elif pa.types.is_map(kind):
        found |= _each(array, lambda value: _is_in(value, erasure))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _about(pc.list_flatten(array), name, erasure)
        counts = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        found[np.repeat(np.arange(len(array)), counts)[inner]] = True  # a null may have values, which aren't flattened
    elif kind.num_fields:
        found |= _each(array, lambda value: _is_in({name: value}, erasure))
    elif name == UNREAD:
        found |= _each(array, lambda value: _is_in_request(value, erasure))
    elif name in erasure.columns:
        values = array.unique()
        is_one = [value.is_valid and erasure.is_about(text_of(value)) for value in values]
        found |= _bools(pc.is_in(array, value_set=values.filter(pa.array(is_one, pa.bool_()))))
    elif name in TEXTS and _is_text(kind):
        found |= _each(array, lambda value: _is_in_json(value, erasure) or _is_in_request(bytes_in(value), erasure))
    return found


def _each(array: pa.Array, is_about: Callable[[Any], bool]) -> Mask:
    return np.array([value.is_valid and is_about(plain(value)) for value in array], np.bool_)


def text_of(value: pa.Scalar) -> str:
    """Return a value as the text that is compared with the person's value."""
    found = plain(value)
    return found.decode("utf-8", "surrogateescape") if isinstance(found, bytes) else key_text(found)


def _is_in_request(data: bytes | None, erasure: Sought) -> bool:
    """Return whether the bytes of a request that couldn't be read when it was sealed name the person. Return False if
    they still can't be read."""
    if data is None:
        return False
    if _is_in_json(data, erasure):
        return True
    try:
        return bool(rows_about(table_in(data), erasure).any())
    except DataError:
        return False


def _is_in_json(data: str | bytes | msgspec.Raw, erasure: Sought) -> bool:
    try:
        return _is_in(_decode(data), erasure, is_json=True)
    except UNREADABLE:
        return False


def _is_in(value: object, erasure: Sought, *, is_json: bool = False) -> bool:
    """Return whether a value of a table, or a JSON value if `is_json` is True, is or contains an object about the
    person. A pair of a map counts as an object with one field."""
    rest = [value]
    while rest:
        match rest.pop():
            case dict() as fields:
                named = (inner for name, inner in fields.items() if name in erasure.columns)
                if any(_has_one(inner, erasure, is_json=is_json) for inner in named):
                    return True
                rest += fields.values()
            case list() as values:
                rest += values
            case tuple() as pair:
                key, inner = pair
                rest += [{key: inner}] if isinstance(key, str) else [key, inner]
            case _:
                pass
    return False


def _has_one(value: object, erasure: Sought, *, is_json: bool) -> bool:
    """Return whether a value, or one of the values in a list, is the person's."""
    values = value if isinstance(value, list) else [value]
    plain = (each for each in values if each is not None and not isinstance(each, dict | list))
    return any(_is_one(each, erasure, is_json=is_json) for each in plain)


def _is_one(value: object, erasure: Sought, *, is_json: bool) -> bool:
    """Return whether a value is the person's. In JSON, decimals may be texts, such as `"17.00"`."""
    text = key_text(value)
    return erasure.is_about(text) or (is_json and number_text(text) != text and erasure.is_about(number_text(text)))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _bools(values: pa.Array) -> Mask:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


class About(NamedTuple):
    """Masks of the rows of a part of a log. `mask` has the rows that are or may be about a person. `doubtful` has those
    of them that only may be, because nobody can read their requests."""

    mask: Mask
    doubtful: Mask


def requests_about(table: pa.Table, erasure: Erasure) -> Mask:
    """Return a mask of the rows of a part of a log that are or may be about the person and that count as older than the
    erasure (`Erasure.until`)."""
    return about(table, erasure).mask


def about(table: pa.Table, erasure: Erasure) -> About:
    """Return which rows of a part of a log are about the person and count as older than the erasure (`Erasure.until`).

    All rows of a request that can't be read are included, since they may be about the person. If a request is about the
    person and its answers can't be read, all its rows are included too, because single answers can't be taken out.

    Requests that came after the erasure aren't searched, because each minute of the log is checked against all
    erasures.
    """
    old = table.column("at").cast(pa.int64()).to_numpy() <= round(erasure.until * 1e6)
    if not old.any():
        return About(old, old)
    unread = [each for each in requests(table) if old[each.first]]
    mask = rows_about(bare(table) if unread else table, erasure)
    unreadable = list[Request]()
    for each in unread:
        if (found := rows_in(each, erasure)) is None:
            unreadable.append(each)
        else:
            mask[each.first : each.end] |= found
    sure = mask.copy()
    for each in unreadable:  # those of the column `input` are the first
        mask[each.first : each.end] |= each.column == "input" or mask[each.first : each.end].any()
    mask &= old
    return About(mask, mask & ~sure)


def rows_in(request: Request, erasure: Sought) -> Mask | None:
    """Return a mask of the rows of `request` that are about the person. The request couldn't be read when it was
    sealed; if it still can't be read, return None."""
    content = request.content()
    if isinstance(content, list):
        return np.array([_is_in_json(each, erasure) for each in content], np.bool_)
    return None if content is None else rows_about(content, erasure)


def ids_about(table: pa.Table, mask: Mask, erasure: Erasure) -> set[str]:
    """Return the digests (`Erasure.known`) of the ids of those predictions of a part of a log that `mask` selects."""
    return set(map(erasure.known, table.column("id").filter(pa.array(mask)).drop_null().to_pylist()))


def labels_about(table: pa.Table, digests: Set[str], erasure: Erasure) -> Mask:
    """Return a mask of the rows of a part with labels that must be erased. These are the labels of erased predictions,
    whose ids have the `digests`, and the labels that have the person's key and count as older than the erasure."""
    ids = table.column("id").unique().drop_null() if digests else pa.array([], pa.string())
    is_one = [erasure.known(each) in digests for each in ids.to_pylist()]
    mask = _bools(pc.is_in(table.column("id"), value_set=ids.filter(pa.array(is_one, pa.bool_()))))
    if "key" in table.column_names:  # parts of older releases have no such column
        by_key = msgspec.structs.replace(erasure, columns=("key",))
        keys = table.select(["key", "at"])
        mask |= requests_about(keys, by_key) | requests_about(_with_numbers(keys), by_key)
    return mask


def _with_numbers(keys: pa.Table) -> pa.Table:
    """Return keys of labels in which texts such as `17.00` are the keys of numbers."""
    texts = [None if each is None else number_text(each) for each in keys.column("key").to_pylist()]
    return keys.set_column(0, "key", pa.array(texts, pa.string()))


def without(table: pa.Table, mask: Mask) -> pa.Table:
    """Return a table without the rows that `mask` selects. No byte of these rows stays, not even in the dictionaries of
    columns."""
    unread = [each for each in requests(table) if mask[each.first : each.end].any()]
    kept = {each: np.flatnonzero(~mask[each.first : each.end]) for each in unread}
    data = {(each.column, each.first + int(rows[0])): _bytes_of(each, rows) for each, rows in kept.items() if len(rows)}
    return _filtered(with_bytes(table, data), mask)


def _filtered(table: pa.Table, mask: Mask) -> pa.Table:
    left = table.filter(pa.array(~mask))
    columns = [pa.chunked_array(map(_compact, column.chunks), column.type) for column in left.columns]
    return pa.Table.from_arrays(columns, schema=left.schema)


def _bytes_of(request: Request, rows: np.ndarray[Any, np.dtype[np.intp]]) -> bytes:
    """Return the bytes of some rows of a request.

    Raises:
        DataError: the request can't be read.
    """
    content = request.content()
    if content is None:
        raise DataError("a request in the log can't be read, so a person's rows can't be removed from it")
    if isinstance(content, list):
        return b"[" + b",".join(bytes(content[row]) for row in rows) + b"]"
    mask = np.ones(len(content), np.bool_)
    mask[rows] = False
    return stream_of(_filtered(content, mask), "zstd")  # a client made it, so bytes in it are no requests


def _compact(array: pa.Array) -> pa.Array:
    kind = array.type
    if not any(pa.types.is_dictionary(each) for each in _types(kind)):
        return array
    if pa.types.is_dictionary(kind):
        made = array.dictionary_decode().dictionary_encode()
        return pa.DictionaryArray.from_arrays(made.indices.cast(kind.index_type), made.dictionary, ordered=kind.ordered)
    if pa.types.is_struct(kind):
        inner = [_compact(each) for each in array.flatten()]
        return pa.StructArray.from_arrays(inner, fields=list(kind), mask=array.is_null())
    return pa.array(array.to_pylist(), kind)


def _types(kind: pa.DataType) -> Iterator[pa.DataType]:
    yield kind
    for place in range(kind.num_fields):
        yield from _types(kind.field(place).type)
