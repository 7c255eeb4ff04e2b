"""Things: functions, classes and modules, which are followed, and not read as values are."""

from __future__ import annotations

import types
from typing import Any

OURS = "__headrace_function__"
"""The attribute by which a stage or pipeline object names its plain function."""


def plain_function(value: object) -> object | None:
    """Give the plain function of a stage or pipeline object; None for anything else."""
    if isinstance(value, type | types.ModuleType | types.FunctionType):
        return None
    found: object = instance_dict(value).get(OURS)
    return found


def is_thing(value: object) -> bool:
    """Say whether a value is a thing."""
    if isinstance(value, types.FunctionType | type | types.ModuleType):
        return True
    if isinstance(value, types.BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    plain = plain_function(value)
    return plain is not None and is_thing(plain)


def instance_dict(value: object) -> dict[str, Any]:
    """Give an object's attributes, without running code of its class."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def thing_name(value: object) -> str:
    """Give the dotted name of a thing."""
    plain = plain_function(value) or value
    if isinstance(plain, types.ModuleType):
        return plain.__name__
    name = getattr(plain, "__qualname__", None) or getattr(plain, "__name__", "?")
    return f"{getattr(plain, '__module__', None) or 'builtins'}.{name}"
