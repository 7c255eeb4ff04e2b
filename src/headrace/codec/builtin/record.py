"""Codecs for values with named parts (dataclasses, msgspec structs, named tuples), for dictionaries whose keys aren't
all text, and for enums."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import msgspec

from headrace.codec import exact_json
from headrace.codec.classes import is_importable
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError


class RecordCodec:
    """A dataclass, msgspec struct or named tuple: each field is an artifact of its own.

    Loading imports the class, so it isn't safe. Fields are set to the saved values without calling `__init__`; only a
    struct's `__post_init__` is called. An object is pickled instead if its class can't be imported, if its class has
    its own way of pickling, or if it holds more than its fields.
    """

    name = "record"
    safe = False

    def takes(self, value: object) -> bool:
        kind = type(value)
        if not is_importable(kind):
            return False
        if issubclass(kind, tuple):
            return hasattr(kind, "_fields") and not getattr(value, "__dict__", None)
        if issubclass(kind, msgspec.Struct):
            return not getattr(value, "__dict__", None)
        return dataclasses.is_dataclass(kind) and _is_only_fields(value)

    def save(self, value: object, sink: Sink) -> None:
        sink.compose()
        for name in _fields(type(value)):
            sink.part(getattr(value, name), name)

    def load(self, source: Source) -> object:
        kind: Any = source.kind
        names = source.names or ()
        if not is_record(kind) or not _takes_fields(kind, names):
            raise CodecError(
                f"the fields of `{source.type}` are no longer those that were saved ({', '.join(names) or 'none'})",
                hint="run again the task that made the artifact",
            )
        values = dict(zip(names, source.parts(), strict=True))
        if issubclass(kind, tuple):
            return tuple.__new__(kind, (values.get(name) for name in _fields(kind)))
        if issubclass(kind, msgspec.Struct):
            return kind(**values)
        record = object.__new__(kind)
        for field in dataclasses.fields(kind):
            object.__setattr__(record, field.name, values[field.name] if field.name in values else _default(field))
        return record


class ItemsCodec:
    """A dictionary whose keys aren't all text. It is saved as two parts: the list of its keys, and the list of its
    values."""

    name = "items"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) is dict

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, dict)
        sink.part(list(value), "keys")
        sink.part(list(value.values()), "values")

    def load(self, source: Source) -> object:
        keys, values = source.parts()
        assert isinstance(keys, list)
        assert isinstance(values, list)
        return dict(zip(keys, values, strict=True))


class EnumCodec:
    """A member of an enumeration, saved by its name; a combination of flags, saved by its value. Loading imports the
    class."""

    name = "enum"
    safe = False

    def takes(self, value: object) -> bool:
        return isinstance(value, enum.Enum) and is_importable(type(value))

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, enum.Enum)
        members = type(value).__members__
        sink.write(exact_json.encode([value.name, None] if value.name in members else [None, value.value]))

    def load(self, source: Source) -> object:
        kind: Any = source.kind
        if not issubclass(kind, enum.Enum):
            raise CodecError(
                f"`{source.type}` is not an enumeration any more", hint="run again the task that made the artifact"
            )
        name, value = msgspec.convert(exact_json.decode(source.read()), list[Any])
        return kind(value) if name is None else kind[name]


def is_record(kind: type) -> bool:
    """Return whether a class has named fields."""
    return dataclasses.is_dataclass(kind) or issubclass(kind, tuple | msgspec.Struct)


def _fields(kind: Any) -> tuple[str, ...]:
    if issubclass(kind, tuple):
        return tuple(getattr(kind, "_fields", ()))
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


def _takes_fields(kind: Any, names: tuple[str, ...]) -> bool:
    """Return whether a class has the fields that were saved.

    Headrace's own classes, such as reports, may have got new fields since the value was saved. New fields come last and
    have a default; in a named tuple, this default is None.
    """
    fields = _fields(kind)
    is_ours = kind.__module__.startswith("headrace.")
    return fields == names or (is_ours and bool(names) and fields[: len(names)] == names)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


_OWN_STATE = (getattr(object, "__getstate__", None), getattr(dataclasses, "_dataclass_getstate", None), None)


def _is_only_fields(value: object) -> bool:
    """Return whether a dataclass instance has a value for each of its fields, and no other attributes."""
    kind = type(value)
    fields = _fields(kind)
    return (
        kind.__reduce__ is object.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and getattr(kind, "__getstate__", None) in _OWN_STATE
        and kind.__new__ is object.__new__
        and not (vars(value).keys() - set(fields) if hasattr(value, "__dict__") else ())
        and all(hasattr(value, name) for name in fields)
    )
