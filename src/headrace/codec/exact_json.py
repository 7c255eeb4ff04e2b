"""Exact JSON: plain values are written as plain JSON. Values that JSON would change (tuples, NaN, dates, dictionaries
with keys that aren't text) are written with a tag.

A tagged value is an object with the single key `$`: `(1, 2)` is `{"$": ["tuple", [1, 2]]}`. Any JSON parser reads
values without a tag. A value is taken only if its own class is a builtin or standard class, or a scalar of NumPy: if
instances of subclasses were taken, their class would be lost.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

import msgspec

from headrace.codec.classes import describe, is_exactly, library_named
from headrace.codec.misfit import Declined

MARK = "$"
MARK_BYTES = b'{"$":'
_FRACTION = "fractions.Fraction"
BYTES_LIMIT = 1024
"""A `bytes` object with more bytes than this, inside a value, becomes an artifact of its own. In JSON, base64 would
make it a third longer."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def is_plain(kind: type) -> bool:
    """Return whether values of exactly this class can be plain. A container is plain only if all values in it are
    plain."""
    return kind in _TAGGERS or describe(kind) == _FRACTION or (kind.__module__ == "numpy" and kind.__name__ in _NUMPY)


def encode(value: object) -> bytes:
    """Return a value as exact JSON. Raise `Declined` if the value or a value inside it isn't plain."""
    try:
        return _encode(_tag(value))
    except (UnicodeEncodeError, RecursionError) as error:  # a lone surrogate, not valid in UTF-8; a value inside itself
        raise Declined from error


def decode(data: bytes) -> object:
    """Return the value that `encode` turned into these bytes."""
    value: object = _decode(data)
    return _untag(value) if MARK_BYTES in data else value


def _tag(value: Any) -> Any:
    tagger = _TAGGERS.get(type(value))
    return _tag_other(value) if tagger is None else tagger(value)


def _same(value: object) -> object:
    return value


def _mark(name: str, *body: object) -> dict[str, list[object]]:
    return {MARK: [name, *body]}


def _int(value: int) -> object:
    return value if -(2**63) <= value < 2**64 else _mark("int", hex(value))


def _float(value: float) -> object:
    return value if math.isfinite(value) else _mark("float", struct.pack(">d", value).hex())


def _list(value: list[Any]) -> list[Any]:
    return [_tag(item) for item in value]


def _dict(value: dict[Any, Any]) -> dict[str, Any]:
    if MARK not in value and all(type(key) is str for key in value):
        return {key: _tag(item) for key, item in value.items()}
    return _mark("dict", [[_tag(key), _tag(item)] for key, item in value.items()])


def _set(value: set[Any] | frozenset[Any]) -> object:
    """Return a set's tagged form. The encoded elements are sorted, because the order of a set differs between
    processes."""
    return _mark(type(value).__name__, sorted(map(_tag, value), key=_encode))


def _bytes(value: bytes | bytearray) -> object:
    if len(value) > BYTES_LIMIT:
        raise Declined
    return _mark(type(value).__name__, base64.b64encode(value).decode())


def _zone(value: tzinfo | None) -> object:
    if type(value) is timezone:
        offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
        return ["offset", offset.days, offset.seconds, offset.microseconds, *name]
    if is_exactly(value, "zoneinfo.ZoneInfo") and (key := getattr(value, "key", None)):
        return ["zone", key]
    if value is not None:
        raise Declined
    return None


def _unzone(body: Any) -> tzinfo | None:
    match body:
        case ["offset", days, seconds, microseconds, *name]:
            return timezone(timedelta(days, seconds, microseconds), *name)
        case ["zone", key]:
            from zoneinfo import ZoneInfo  # noqa: PLC0415  2 ms in the parent of all workers, and few values need it

            return ZoneInfo(key)
        case _:
            return None


def _datetime(value: datetime) -> object:
    return _mark("datetime", value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo))


def _undatetime(text: str, fold: int, zone: object) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=_unzone(zone), fold=fold)


def _time(value: time) -> object:
    return _mark("time", value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo))


def _untime(text: str, fold: int, zone: object) -> time:
    return time.fromisoformat(text).replace(tzinfo=_unzone(zone), fold=fold)


def _timedelta(value: timedelta) -> object:
    return _mark("timedelta", value.days, value.seconds, value.microseconds)


def _path(value: PurePath) -> object:
    return _mark(type(value).__name__, str(value))


def _complex(value: complex) -> object:
    return _mark("complex", struct.pack(">dd", value.real, value.imag).hex())


def _range(value: range) -> object:
    return _mark("range", *map(_int, (value.start, value.stop, value.step)))


def _slice(value: slice) -> object:
    return _mark("slice", *map(_tag, (value.start, value.stop, value.step)))


_NUMPY = {
    "bool": bool,
    "bool_": bool,
    **dict.fromkeys((f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), int),
    **dict.fromkeys(("float16", "float32", "float64"), float),
}


def _tag_other(value: Any) -> object:
    """Return the tagged form of a fraction or a NumPy scalar; metrics hold many of the latter. Neither `fractions`
    (1 ms) nor NumPy is imported, since most workers don't use them."""
    kind = type(value)
    if describe(kind) == _FRACTION:
        return _mark("Fraction", str(value))
    plain = _NUMPY.get(kind.__name__) if kind.__module__ == "numpy" else None
    if plain is None:
        raise Declined
    return _mark(f"numpy.{kind.__name__}", _tag(plain(value)))


_TAGGERS: dict[type, Callable[[Any], object]] = {
    type(None): _same,
    bool: _same,
    str: _same,
    int: _int,
    float: _float,
    list: _list,
    dict: _dict,
    tuple: lambda value: _mark("tuple", _list(value)),
    set: _set,
    frozenset: _set,
    bytes: _bytes,
    bytearray: _bytes,
    complex: _complex,
    datetime: _datetime,
    date: lambda value: _mark("date", value.isoformat()),
    time: _time,
    timedelta: _timedelta,
    Decimal: lambda value: _mark("Decimal", str(value)),
    UUID: lambda value: _mark("UUID", value.hex),
    PosixPath: _path,
    PurePosixPath: _path,
    PureWindowsPath: _path,
    range: _range,
    slice: _slice,
}


def _untag(value: Any) -> Any:
    if type(value) is list:
        return [_untag(item) for item in value]
    if type(value) is not dict:
        return value
    if MARK not in value:
        return {key: _untag(item) for key, item in value.items()}
    name, *body = map(_untag, value[MARK])
    library, _, inner = name.partition(".")
    if library == "numpy" and inner in _NUMPY:
        return getattr(library_named("numpy"), inner)(*body)
    return _UNTAGGERS[name](*body)


_UNTAGGERS: dict[str, Callable[..., object]] = {
    "int": lambda text: int(text, 16),
    "float": lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
    "complex": lambda text: complex(*struct.unpack(">dd", bytes.fromhex(text))),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "datetime": _undatetime,
    "date": date.fromisoformat,
    "time": _untime,
    "timedelta": timedelta,
    "Decimal": Decimal,
    "Fraction": lambda text: library_named("fractions").Fraction(text),
    "UUID": UUID,
    "PosixPath": Path,
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    "range": range,
    "slice": slice,
}
