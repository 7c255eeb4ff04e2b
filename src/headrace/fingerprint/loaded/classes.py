"""A loaded class of the project: its whole definition, its bases, and the values of its attributes."""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections.abc import Iterable
from typing import Any

from headrace.fingerprint.graph import Node
from headrace.fingerprint.loaded.function import carried, outer_edges
from headrace.fingerprint.loaded.mutable_state import Changing
from headrace.fingerprint.loaded.record_fields import computes_defaults, defaults, fields, lists_fields
from headrace.fingerprint.names import LiveNames, global_names
from headrace.fingerprint.ports import Follow, Scope
from headrace.fingerprint.project_roots import file_of
from headrace.fingerprint.python_objects import is_a
from headrace.fingerprint.source.files import Found, Source, code_path
from headrace.fingerprint.values.value import DESCRIPTORS
from headrace.spec.code import digest


def fill_class(follow: Follow, node: Node, cls: type) -> None:
    """Fill the node of a class of the project."""
    scope = scope_of(cls)
    definitions = _definitions(follow, cls, scope)
    docs = any(follow.reach.reads_docs(each) for each in [*cls.__mro__, *type.mro(type(cls))])
    texts = []
    for source, each in definitions:
        piece = source.piece([each.node], LiveNames(scope, follow.reach.homes))
        texts.append(follow.reach.text(piece, docs=docs))
        follow.uses(node, piece, scope, global_names(each.code), {})
        outer_edges(follow, node, piece, scope, source.evaluated_in(each))
        Changing(follow.reach).check_globals(node, piece, each.code, scope)
        Changing(follow.reach).check_class(node, piece, cls)
        node.where = source.where(each.node)
    if not definitions:
        texts.append(_unwritten(follow, node, cls, scope))
    for index, base in enumerate(cls.__bases__):
        follow.value(node, f"base {index}", base, node.name)
    if type(cls) is not type:
        follow.value(node, "metaclass", type(cls), node.name)
    texts += [_entry(follow, node, name, value, definitions) for name, value in _entries(cls)]
    if lists_fields(cls) and any(computes_defaults(each.node) for _, each in definitions):
        texts.append(follow.values_of(node, defaults(cls), "defaults", node.name).digest)
    node.own = digest("class", *texts)


def _definitions(follow: Follow, cls: type, scope: Scope) -> list[tuple[Source, Found]]:
    """Return where a class is defined. If two classes with its name are defined, the line numbers of its methods show
    which of the two it is."""
    sources = dict.fromkeys(
        source
        for function in _own_functions(cls)
        if (source := follow.reach.sources.of_code(function.__code__, function.__globals__)) is not None
    )
    home = follow.reach.sources.of_globals(scope)
    if home is not None:
        sources = {home: None}
    elif not sources:
        sources = dict.fromkeys(follow.reach.sources.cells_that_bind(cls.__qualname__.partition(".")[0])[-1:])
    definitions = [(source, definition) for source in sources for definition in source.classes(cls.__qualname__)]
    if len(definitions) > 1:
        lines = {function.__code__.co_firstlineno for function in _own_functions(cls)}
        fitting = [(source, definition) for source, definition in definitions if _holds_lines(definition, lines)]
        return fitting or definitions
    return definitions


def _holds_lines(found: Found, lines: set[int]) -> bool:
    return any(
        isinstance(constant, types.CodeType) and constant.co_firstlineno in lines for constant in found.code.co_consts
    )


def _own_functions(cls: type) -> Iterable[types.FunctionType]:
    """Yield the functions that the body of a class defines."""
    for value in list(vars(cls).values()):
        for function in functions_in(value):
            if function.__code__.co_qualname.startswith(f"{cls.__qualname__}."):
                yield function


def scope_of(cls: type) -> Scope:
    """Return the globals of the module that defines a class."""
    for function in _own_functions(cls):
        return function.__globals__
    module = sys.modules.get(cls.__module__)
    if module is None or is_a(module, types.ModuleType):
        return vars(module) if module is not None else {}
    return {"__name__": cls.__module__, "__file__": file_of(module)}  # the module replaced itself with another object


def _unwritten(follow: Follow, node: Node, cls: type, scope: Scope) -> str:
    """Return the text of the statements that make a class without a `class` statement, such as a `namedtuple` or an
    `Enum` made by a call."""
    names = sorted(name for name, value in scope.items() if value is cls)
    if not names:
        follow.reach.note(f"`{node.name}` is made while its module is loaded: its attributes count")
        return follow.values_of(node, fields(cls), "fields", node.name).digest
    return " ".join(follow.written(node, name, scope) for name in names)


def _entries(cls: type) -> list[tuple[str, Any]]:
    if issubclass(cls, enum.Enum):
        members = {name: member._value_ for name, member in cls.__members__.items()}
        inner = {name: value for name, value in vars(cls).items() if functions_in(value)}
        return [("members", members), *inner.items()]
    return [(name, value) for name, value in list(vars(cls).items()) if not _is_made(name, value)]


def _is_made(name: str, value: object) -> bool:
    """Return whether an attribute was made by Python or by a base class, and not by the class's own code."""
    if is_a(value, DESCRIPTORS) or type(value).__name__ == "_tuplegetter":
        return True
    if name in ("_abc_impl", "_fields", "_field_defaults"):
        return True
    return name.startswith("__") and name.endswith("__") and not functions_in(value)


def functions_in(value: Any) -> list[types.FunctionType]:
    """Return the plain functions inside a method, a property (also a cached property), a static method or a class
    method."""
    inner: list[Any] = [value]
    if is_a(value, staticmethod | classmethod):
        inner = [value.__func__]
    elif is_a(value, property):
        inner = [value.fget, value.fset, value.fdel]
    elif is_a(value, functools.cached_property):
        inner = [value.func]
    return [part for part in inner if is_a(part, types.FunctionType)]


def _entry(follow: Follow, node: Node, name: str, value: object, found: list[tuple[Source, Found]]) -> str:
    """Return a text that identifies an attribute's value, and add an edge for each function and class in it."""
    functions = functions_in(value)
    for index, function in enumerate(functions):
        label = f"{name} {index} " if index else f"{name} "
        if _is_inside(follow, function, found, node):
            carried(follow, node, function, label)
        elif not _is_generated(follow, function):
            follow.value(node, f"entry {label}", function, node.name)
    if functions:
        return name
    encoded = follow.values_of(node, value, f"entry {name}", f"{node.name}.{name}")
    if encoded.unread and _is_written(name, found):
        follow.reach.note(f"`{node.name}.{name}` has no readable value: its source text counts")
    return f"{name} {encoded.digest}"


def _is_written(name: str, found: list[tuple[Source, Found]]) -> bool:
    return any(name in definition.code.co_names for _, definition in found)


def _is_inside(follow: Follow, function: types.FunctionType, found: list[tuple[Source, Found]], node: Node) -> bool:
    """Return whether a function is defined inside a class, so that the class's text contains it. `found` are the
    class's definitions."""
    for source, each in found:
        if code_path(function.__code__, function.__globals__) != source.path:
            continue
        definition = source.find(function.__code__)
        if definition is None:
            follow.reach.never(node, f"the source of `{node.name}` changed since it was imported")
            return True
        first, last = each.node.lineno, each.node.end_lineno or 0
        if first <= definition.node.lineno <= last:
            if set(function.__code__.co_freevars) - {"__class__"}:
                piece = source.piece([definition.node], LiveNames(function.__globals__, follow.reach.homes))
                Changing(follow.reach).check(node, function, source, definition, piece)
            return True
    return False


def _is_generated(follow: Follow, function: types.FunctionType) -> bool:
    """Return whether a method was made by a decorator such as `dataclass`. Such a method needs no text of its own,
    since it follows from the text of the class."""
    if not function.__name__.startswith("__"):
        return False
    while is_a(inner := function.__dict__.get("__wrapped__"), types.FunctionType):
        function = inner  # `dataclass` wraps the `__repr__` that it makes
    path = code_path(function.__code__, function.__globals__)
    return path.startswith("<") and not follow.reach.sources.is_cell(path)
