"""Reads the fields and defaults of classes that list their fields: named tuples, dataclasses, msgspec structs, attrs
and pydantic classes."""

from __future__ import annotations

import ast
import sys
from typing import Any

FIELD_MAKERS = frozenset({"field", "Field", "ib", "attrib"})


LISTED = ("_field_defaults", "__struct_fields__", "__dataclass_fields__", "__pydantic_fields__", "__attrs_attrs__")


def lists_fields(cls: Any) -> bool:
    """Return whether a class lists its fields."""
    return any(hasattr(cls, name) for name in LISTED)


def fields(cls: Any) -> list[object]:
    """Return everything that a class lists about its fields. This is for classes that no `class` statement made."""
    facts: list[object] = [getattr(cls, name, None) for name in ("_fields", "__struct_fields__")]
    inside = vars(cls)
    annotations = inside.get("__annotations__") if sys.version_info < (3, 14) else getattr(cls, "__annotations__", None)
    facts += [annotations, *(inside.get(name) for name in ("__total__", "__required_keys__", "__readonly_keys__"))]
    for field in getattr(cls, "__dataclass_fields__", {}).values():
        options = [field.init, field.repr, field.hash, field.compare, bool(field.kw_only), dict(field.metadata)]
        facts.append([field.name, field.type, *options])
    if hasattr(cls, "__dataclass_params__"):
        facts.append(repr(cls.__dataclass_params__))
    return [*facts, defaults(cls)]


def defaults(cls: Any) -> dict[str, object]:
    """Return the defaults of a class's fields by name. For a default factory, the factory itself is returned."""
    values: dict[str, object] = dict(getattr(cls, "_field_defaults", {}))
    names = getattr(cls, "__struct_fields__", ())
    values.update(zip(names[::-1], getattr(cls, "__struct_defaults__", ())[::-1], strict=False))
    for attribute in ("__dataclass_fields__", "__pydantic_fields__"):
        for name, field in getattr(cls, attribute, {}).items():
            values[name] = (_known(field.default), _known(field.default_factory))
    for field in getattr(cls, "__attrs_attrs__", ()):
        values[field.name] = field.default
    return values


def _known(value: object) -> object:
    """Return a default. If the value is a library's marker for "no default", return None."""
    return None if type(value).__name__ in ("_MISSING_TYPE", "PydanticUndefinedType") else value


def computes_defaults(definition: ast.AST) -> bool:
    """Return whether the body of a class computes a default, so that the text of the class doesn't show the default's
    value."""
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    values = [each.value for each in body if isinstance(each, ast.AnnAssign | ast.Assign)]
    return any(_is_computed(each) for value in values if value is not None for each in ast.walk(value))


def _is_computed(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return called not in FIELD_MAKERS
    return isinstance(node, ast.Subscript)
