"""Tensors of the Open Inference Protocol: turns the tensors that a client sends into columns of rows, and answers into
tensors.

A tensor is one column: its shape is [n] or [n, 1] for n rows. Its values are in the JSON of a request, or in bytes
after the JSON (the binary data extension). In these bytes, numbers are little-endian, and each text comes after its
length, which takes four bytes. Names, shapes and sizes that a client sends are checked before memory is taken for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct

from headrace.errors import listed
from headrace.serve.asking import RowsRefused
from headrace.serve.records import Fault, Records, RecordsRefused, Rows
from headrace.spec.endpoint import key_text, number_text
from headrace.spec.noun import UNREADABLE
from headrace.spec.signature import Column

BYTES = "BYTES"
IDS = "id"
"""The name of the output with the ids of the predictions."""
MOST_TENSORS = 10_000
"""The most tensors that a request may have, since each takes time."""
_LENGTH_BYTES = 4
_NESTED = 2
"""A tensor with this many dimensions may have its values in a list of lists."""
_NUMBERS = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""The datatypes of numbers and booleans, with numpy's names for their bytes."""
_OF_TYPES = {"bool": "BOOL", "halffloat": "FP16", "float": "FP32", "double": "FP64"}
_UNSUPPORTED = ("shared_memory_region", "classification", "sequence_id")
"""Parameters of other extensions, which change what a request means, and are refused. Unknown parameters are
ignored."""

Parameters = dict[str, bool | int | float | str | None]


class Tensor(NamedTuple):
    """A tensor that a client sent. `data` is JSON, or the bytes of the values if `is_binary`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    is_binary: bool


class Wanted(NamedTuple):
    """An output that a client wants. `is_binary` says whether the client wants it as bytes; None: as the request says
    for all outputs."""

    name: str
    is_binary: bool | None


class Inquiry(NamedTuple):
    """A request: its own `id` (empty if it has none), its tensors, and the outputs that it wants (None: all).
    `is_binary` says whether it wants outputs as bytes; an output's own `is_binary`, if there is one, counts instead."""

    id: str
    inputs: tuple[Tensor, ...]
    wanted: tuple[Wanted, ...] | None
    is_binary: bool


class Output(NamedTuple):
    """A tensor of an answer: a value for each row. If the datatype is a float, None in `values` means NaN."""

    name: str
    datatype: str
    values: Sequence[Any]


@lru_cache(1_000)
def datatype_of(kind: str) -> str | None:
    """Return the datatype of the tensors of a column, by the name of its type in Arrow; None if the type isn't known.

    >>> datatype_of("double"), datatype_of("int8"), datatype_of("date32[day]")
    ('FP64', 'INT8', 'BYTES')
    """
    if found := re.fullmatch(r"dictionary<values=(.+), indices=\w+, ordered=[01]>", kind):
        kind = found[1]
    if kind.upper() in _NUMBERS:
        return kind.upper()
    return _OF_TYPES.get(kind, BYTES if kind not in ("", "null") else None)


# -- requests ----------------------------------------------------------------------------------------------------------


class _Input(Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: Raw = Raw()


class _Output(Struct, frozen=True):
    name: str
    parameters: Parameters = {}


class _Head(Struct, frozen=True):
    inputs: Annotated[list[_Input], Meta(max_length=MOST_TENSORS)]
    id: Annotated[str, Meta(max_length=200)] = ""
    parameters: Parameters = {}
    outputs: list[_Output] | None = None


_decode = msgspec.json.Decoder(_Head).decode


def inquiry_in(body: bytes, head_bytes: int | None) -> Inquiry:
    """Return the request in a body. The first `head_bytes` bytes are JSON, and the bytes of tensors follow. If
    `head_bytes` is None, the whole body is JSON. The values of the tensors aren't read yet.

    Raises:
        RecordsRefused: the request isn't valid.
    """
    if head_bytes is not None and head_bytes > len(body):
        _refuse(f"`Inference-Header-Content-Length` is {head_bytes:,}, and the body has {len(body):,} bytes")
    try:
        head = _decode(body if head_bytes is None else memoryview(body)[:head_bytes])
    except UNREADABLE as error:
        _refuse(f"the request can't be read: {error}")
    _check_parameters("the request", head.parameters)
    inputs, place = [], len(body) if head_bytes is None else head_bytes
    names: set[str] = set()
    for each in head.inputs:
        if each.name in names:
            _refuse("it is given twice", each.name)
        names.add(each.name)
        size = _binary_size(each)
        if size is not None and place + size > len(body):
            _refuse(
                f"its `binary_data_size` is {size:,}, and there are {len(body) - place:,} bytes of data left", each.name
            )
        data = memoryview(each.data) if size is None else memoryview(body)[place : place + size]
        place += size or 0
        inputs.append(Tensor(each.name, each.datatype, tuple(each.shape), data, size is not None))
    if place < len(body):
        _refuse(f"there are {len(body) - place:,} bytes behind the data of the last tensor")
    wanted = None if not head.outputs else tuple(map(_wanted, head.outputs))
    if wanted and len({each.name for each in wanted}) < len(wanted):
        _refuse("an output is asked for twice")
    return Inquiry(head.id, tuple(inputs), wanted, _is_true(head.parameters, "binary_data_output") or False)


class Tensors:
    """The rows of a request that has tensors. There is one tensor for each column. Or there is only one tensor, of the
    shape [n, k], for all k columns in the model's order: it must not have the name of a column, and its datatype must
    suit all of them. A float that is NaN becomes null. Errors name the tensor."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = inputs
        self._count = 0
        self._values: dict[str, Sequence[Any]] = {}

    def keys(self, records: Records) -> list[str]:
        """Return the key of each row as text. If a row has no key, return an empty list.

        Raises:
            RecordsRefused: the tensors aren't valid.
        """
        self._read(records.most)
        values = self._values.get(records.key or "", ())
        is_decimal = any(each.name == records.key and each.type.startswith("decimal") for each in records.takes)
        texts = [] if None in values else map(key_text, values)
        return [number_text(text) if is_decimal else text for text in texts]

    def rows(self, records: Records, places: Sequence[int] | None) -> Rows:
        """Return the rows at the positions `places` (None: all rows), checked for the model of `records`.

        Raises:
            RecordsRefused: rows don't fit the model. In the faults, rows are numbered among those at `places`.
        """
        self._read(records.most)
        takes = {column.name: column for column in records.takes}
        columns = self._values
        (name, values), *others = columns.items()
        width, only = len(values) // self._count, self._inputs[0]
        if not others and name not in takes and only.shape[1:] == (len(takes),):
            columns = {column: values[place::width] for place, column in enumerate(takes)}
            for column in takes.values():
                _check_datatype(only, column)
        elif width != 1:
            _refuse(f"its shape is {_shown(only.shape)}, and must be [n] or [n, 1]", name)
        for tensor in self._inputs:
            if tensor.name in takes:
                _check_datatype(tensor, takes[tensor.name])
        if places is None:
            return records.of_columns(columns, self._count)
        divided = {name: [values[place] for place in places] for name, values in columns.items()}
        return records.of_columns(divided, len(places))

    def _read(self, most: int) -> None:
        """Read the values, unless they have been read already."""
        if self._values:
            return
        if not self._inputs:
            _refuse("there are no tensors")
        first = self._inputs[0]
        self._count = count = _rows_in(first, most)
        for tensor in self._inputs:
            width = tensor.shape[1] if len(self._inputs) == 1 and len(tensor.shape) == 2 else 1
            if tensor.shape not in ((count,), (count, width)) or width < 1:
                _refuse(
                    f"its shape is {_shown(tensor.shape)}, and must be [n] or [n, 1], with one n for all tensors"
                    f" (`{first.name:.40}` has {count:,})",
                    tensor.name,
                )
            if tensor.datatype not in _NUMBERS and tensor.datatype != BYTES:
                known = ", ".join((*_NUMBERS, BYTES))
                _refuse(f"the datatype `{tensor.datatype:.20}` isn't known here; known are {known}", tensor.name)
            self._values[tensor.name] = _values(tensor, count * width)


def _binary_size(tensor: _Input) -> int | None:
    _check_parameters("it", tensor.parameters, tensor.name)
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (not memoryview(tensor.data).nbytes):
        _refuse("it needs either `data`, or `binary_data_size` and bytes behind the JSON", tensor.name)
    if size is not None and (type(size) is not int or size < 0):
        _refuse("its `binary_data_size` must be a number of bytes", tensor.name)
    return size if type(size) is int else None


def _wanted(output: _Output) -> Wanted:
    _check_parameters(f"the output `{output.name:.40}`", output.parameters)
    return Wanted(output.name, _is_true(output.parameters, "binary_data"))


def _check_parameters(what: str, parameters: Parameters, name: str | None = None) -> None:
    for each in _UNSUPPORTED:
        if each in parameters:
            _refuse(f"{what} has the parameter `{each}`, which isn't supported here", name)


def _is_true(parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name)
    if not isinstance(value, bool | None):
        _refuse(f"the parameter `{name}` must be true or false")
    return value


def _rows_in(tensor: Tensor, most: int) -> int:
    count = tensor.shape[0] if tensor.shape else 0
    if not 0 < count <= most:
        _refuse(
            f"its shape is {_shown(tensor.shape)}: the first number counts the rows, and a request has 1 to {most:,}",
            tensor.name,
        )
    return count


def _check_datatype(tensor: Tensor, column: Column) -> None:
    given, takes = tensor.datatype, datatype_of(column.type) or BYTES
    is_integer = given.removeprefix("U").startswith("INT")
    if takes in ("BOOL", BYTES):
        fits = given == takes
    elif takes.startswith("FP"):
        fits = is_integer or given.startswith("FP")
    else:
        fits = is_integer
    if not fits:
        _refuse(f"it is {given}, and `{column.name}` takes `{column.type}`: send {takes}", tensor.name)


# -- values ------------------------------------------------------------------------------------------------------------


def _values(tensor: Tensor, count: int) -> Sequence[Any]:
    """Return a tensor's values, row by row. There must be `count` of them."""
    if not tensor.is_binary:
        return _in_json(tensor, count)
    return _texts(tensor, count) if tensor.datatype == BYTES else _numbers(tensor, count)


def _numbers(tensor: Tensor, count: int) -> list[Any]:
    kind = np.dtype(_NUMBERS[tensor.datatype])
    if len(tensor.data) != count * kind.itemsize:
        _refuse(
            f"{_shown(tensor.shape)} values of {tensor.datatype} take {count * kind.itemsize:,} bytes, and there are"
            f" {len(tensor.data):,}",
            tensor.name,
        )
    if kind.kind == "b" and max(tensor.data) > 1:
        _refuse("a byte of a BOOL is neither 0 nor 1", tensor.name)
    found = np.frombuffer(tensor.data, kind)
    values: list[Any] = found.tolist()
    if kind.kind == "f" and not np.isfinite(found).all():
        return _finite(values, tensor)
    return values


def _finite(values: Sequence[float | None], tensor: Tensor) -> list[float | None]:
    """Return floats with None in place of NaN: neither JSON nor the log can have NaN."""
    most = float(np.finfo(_NUMBERS[tensor.datatype]).max)
    for place, value in enumerate(values):
        if value is not None and abs(value) > most:
            _refuse(f"`{value}` isn't in the range of {tensor.datatype}", tensor.name, place, tensor.shape)
    return [None if value is None or value != value else value for value in values]


def _texts(tensor: Tensor, count: int) -> list[str]:
    found: list[str] = []
    data, place = bytes(tensor.data), 0
    while place < len(data) and len(found) < count:
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(data[place:start], "little")
        if max(start, place) > len(data):
            _refuse("it ends within a value", tensor.name, len(found), tensor.shape)
        try:
            found.append(data[start:place].decode())
        except UnicodeDecodeError:
            _refuse("it is not text in UTF-8", tensor.name, len(found), tensor.shape)
    if place < len(data) or len(found) < count:
        told = f"more than {count:,}" if place < len(data) else f"{len(found):,}"
        _refuse(f"its shape is {_shown(tensor.shape)}, and its data has {told} values", tensor.name)
    return found


def _decoders(kind: Any) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    return msgspec.json.Decoder(list[kind | None]), msgspec.json.Decoder(list[list[kind | None]])


_JSON = {"b": _decoders(bool), "i": _decoders(int), "u": _decoders(int), "f": _decoders(float), "s": _decoders(str)}
"""Decoders of flat and of nested values, by numpy's letters for kinds."""


def _in_json(tensor: Tensor, count: int) -> Sequence[Any]:
    """Return the values of a tensor from JSON, which is one list, or a list of rows if the shape has two numbers. Null
    means a missing value."""
    kind = "s" if tensor.datatype == BYTES else np.dtype(_NUMBERS[tensor.datatype]).kind
    data = bytes(tensor.data)
    if kind != "s" and data.count(b",") >= count:  # it would take memory to count them otherwise
        _refuse(f"its shape is {_shown(tensor.shape)}, and its data has more than {count:,} values", tensor.name)
    is_nested = re.match(rb"\s*\[\s*\[", data) is not None
    if is_nested and len(tensor.shape) != _NESTED:
        _refuse(f"its shape is {_shown(tensor.shape)}, and its data has lists in a list", tensor.name)
    try:
        values = _JSON[kind][is_nested].decode(data)
    except UNREADABLE as error:
        _refuse(f"its data isn't {tensor.datatype}: {error}", tensor.name)
    if is_nested:
        if any(len(row) != tensor.shape[1] for row in values):
            _refuse(f"its shape is {_shown(tensor.shape)}, and a list in its data has another length", tensor.name)
        values = list(chain.from_iterable(values))
    if len(values) != count:
        _refuse(f"its shape is {_shown(tensor.shape)}, and its data has {len(values):,} values", tensor.name)
    if kind in "iu":
        bounds = np.iinfo(_NUMBERS[tensor.datatype])
        for place, value in enumerate(values):
            if value is not None and not bounds.min <= value <= bounds.max:
                _refuse(f"`{value}` isn't in the range of {tensor.datatype}", tensor.name, place, tensor.shape)
    return _finite(values, tensor) if kind == "f" else values


# -- answers -----------------------------------------------------------------------------------------------------------


def outputs_of(
    columns: Mapping[str, Sequence[Any]], gives: Sequence[Column], wanted: Sequence[Wanted] | None
) -> list[Output]:
    """Return the columns of a model's answers as tensors: those in `wanted` (None: all).

    Raises:
        RecordsRefused: there is no such output.
        RowsRefused: a value can't be in a tensor.
    """
    known = {column.name: datatype_of(column.type) for column in gives}
    names = list(columns) if wanted is None else [each.name for each in wanted if each.name != IDS]
    for name in names:
        if name not in columns:
            _refuse(f"there is no output `{name:.40}`; the outputs are {listed([*columns, IDS], 20)}")
    return [Output(name, _datatype(name, columns[name], known.get(name)), columns[name]) for name in names]


def _datatype(name: str, values: Sequence[Any], known: str | None) -> str:
    """Return the datatype for values of answers. This is `known`, if it is given and the values fit it."""
    kinds = {type(value) for value in values if value is not None}
    for datatype in (known, None if kinds == {int} else "FP64", "INT64", "UINT64", "BOOL", BYTES):
        if datatype is None or not _suits(datatype, kinds, values):
            continue
        if not datatype.startswith("FP") and None in values:
            raise RowsRefused(
                f"row {values.index(None)} has no answer `{name:.40}`, but a tensor of {datatype} needs one per row",
                hint="leave out this row, or send records in JSON instead of tensors",
            )
        return datatype
    raise RowsRefused(f"the answers `{name:.40}` have several types", hint="send records in JSON instead of tensors")


def _suits(datatype: str, kinds: set[type], values: Sequence[Any]) -> bool:
    """Return whether a tensor of this datatype can hold values of these types."""
    if datatype.startswith("FP"):
        return kinds <= {float, int}
    if datatype in ("BOOL", BYTES):
        return kinds <= {bool if datatype == "BOOL" else str}
    bounds = np.iinfo(_NUMBERS[datatype])
    return kinds <= {int} and all(value is None or bounds.min <= value <= bounds.max for value in values)


def written(outputs: Sequence[Output], inquiry: Inquiry) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each output in the form of the protocol: its JSON, and its bytes (empty unless the client wants bytes)."""
    asked = {each.name: each.is_binary for each in inquiry.wanted or ()}
    for name, datatype, values in outputs:
        head = {"name": name, "datatype": datatype, "shape": [len(values)]}
        is_binary = asked.get(name)
        if inquiry.is_binary if is_binary is None else is_binary:
            data = _bytes_of(datatype, values)
            yield {**head, "parameters": {"binary_data_size": len(data)}}, data
        else:
            yield {**head, "data": values}, b""


def _bytes_of(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype != BYTES:
        with np.errstate(over="ignore"):  # what is too large for the datatype is infinite
            return np.array(values, _NUMBERS[datatype]).tobytes()
    texts = [value.encode() for value in values]
    return b"".join(part for text in texts for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text))


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape[:4]))}{', ...' * (len(shape) > 4)}]"


def _refuse(what: str, name: str | None = None, place: int | None = None, shape: Sequence[int] = ()) -> NoReturn:
    """Refuse a request. `what` says what is wrong with the tensor `name`, or with its value at `place`."""
    record = None if place is None else place // (shape[1] if len(shape) > 1 else 1)
    raise RecordsRefused([Fault(what=what, record=record, field=None if name is None else name[:80])])
