"""Tells "things" (functions, classes and modules) from other values. The code of things is followed; other values are
encoded by their content."""

from __future__ import annotations

import types
from typing import Any, TypeGuard, TypeVar, overload

T = TypeVar("T")

OURS = "__headrace_function__"
"""The name of the attribute in which a stage or pipeline object holds its plain function."""


@overload
def is_a(value: object, kind: type[T]) -> TypeGuard[T]: ...
@overload
def is_a(value: object, kind: types.UnionType | tuple[type, ...]) -> bool: ...
def is_a(value: object, kind: Any) -> bool:
    """Return whether a value is an instance of `kind`, without running the value's own code as `isinstance` does. The
    value may be a proxy without a target."""
    return issubclass(type(value), kind)


def plain_function(value: object) -> object | None:
    """Return the plain function of a stage or pipeline object; None for anything else."""
    if is_a(value, type | types.ModuleType | types.FunctionType):
        return None
    function: object = instance_dict(value).get(OURS)
    return function


def is_thing(value: object) -> bool:
    """Return whether a value is a function, class or module (or a stage or pipeline object, which stands for its
    function)."""
    if is_a(value, types.FunctionType | type | types.ModuleType):
        return True
    if is_a(value, types.BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    plain = plain_function(value)
    return plain is not None and is_thing(plain)


def instance_dict(value: object) -> dict[str, Any]:
    """Return an object's attributes without running code of its class."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def thing_name(value: object) -> str:
    """Return the dotted name of a function, class or module."""
    plain: Any = plain_function(value) or value
    if is_a(plain, types.ModuleType):
        return plain.__name__
    return f"{module_of(plain) or 'builtins'}.{qualname_of(plain)}"


def module_of(value: object) -> str | None:
    """Return the name in an object's `__module__`, or None if there is none."""
    module = _read(value, "__module__")
    return module if isinstance(module, str) else None


def qualname_of(value: object) -> str:
    """Return the name in an object's `__qualname__` or `__name__`, or "?" if there is none."""
    name = _read(value, "__qualname__") or _read(value, "__name__")
    return name if isinstance(name, str) else "?"


def _read(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001  a proxy may raise anything
        return None
