"""Finds state that changes while a stage runs: values that several calls of a function share, and that some code
changes.

The output of such a function depends on what ran before in the same process, so the output may not be reused. A global
dictionary that is only filled by plain stores (`CACHE[key] = value`) is treated as a cache: only the value that it has
after import counts.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator
from typing import Any

from headrace.fingerprint.graph import Node
from headrace.fingerprint.names import LiveNames, Resolved, global_names, rebound_cells, resolve
from headrace.fingerprint.python_objects import instance_dict, is_a, module_of, plain_function
from headrace.fingerprint.reached_code import ReachedCode
from headrace.fingerprint.source.code_piece import Chain, Change, Piece
from headrace.fingerprint.source.files import Found, Source

FIXED = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    tuple,
    frozenset,
    types.FunctionType,
    types.BuiltinFunctionType,
)
MEMO = frozenset({"setdefault", "update", "__setitem__", "setitem", "subtract"})
"""Names of functions and methods that, like a plain store, only fill a dictionary."""
AT_IMPORT = frozenset({"__init_subclass__", "__set_name__"})
"""Methods that run while a class is being made."""
Scope = dict[str, Any]


class Changing:
    """Finds state that changes, in one function or class at a time."""

    def __init__(self, reach: ReachedCode) -> None:
        self.reach = reach

    def check(self, node: Node, function: types.FunctionType, source: Source, found: Found, piece: Piece) -> None:
        """Record a reason against reuse if a function changes its globals, its default arguments or the values that it
        closes over. Also check other functions that share these values."""
        code, scope = function.__code__, function.__globals__
        self.check_globals(node, piece, code, scope)
        self._check_defaults(node, piece, function)
        cells = {name: _content(cell) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False)}
        if not cells:
            return
        for sibling in _sharing(source, found):
            self._check_cells(node, source, sibling, cells, scope)

    def check_globals(self, node: Node, piece: Piece, code: types.CodeType, scope: Scope) -> None:
        """Record a reason against reuse if a piece of code changes its module's globals."""
        names = global_names(code)
        imported = {entry.name for entry in piece.imports}
        if any(change.base == ("globals",) for change in piece.changes):
            self._say(node, "globals()", "")
        for name in sorted(names.bound - imported):
            self.reach.never(node, f"`{node.name}` changes the global `{name}` while it runs")
        for change in piece.changes:
            if change.base[0] in names.read and change.function not in AT_IMPORT:
                resolved = resolve(change.base, scope)
                if resolved is not None and self._steps(resolved, change):
                    self._say(node, ".".join(change.base), "")
        for chain in piece.names:
            if chain[0] in names.read and len(chain) > 1:
                resolved = resolve(chain, scope)
                if resolved is not None and self._method_steps(resolved.value, chain[len(resolved.used) :]):
                    self._say(node, ".".join(resolved.used), "")
        self._check_given(node, piece, scope, {name: scope[name] for name in names.read if name in scope}, "")

    def _check_defaults(self, node: Node, piece: Piece, function: types.FunctionType) -> None:
        """Record a reason against reuse if a function changes its default arguments, which all calls share."""
        code, positional = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(positional) : code.co_argcount]
        defaults = {**dict(zip(names, positional, strict=False)), **(function.__kwdefaults__ or {})}
        for change in piece.changes:
            name = change.base[0]
            value = defaults.get(name)
            grows = change.how == "bind" and is_a(value, list | set | deque | bytearray)
            if grows or self._steps(Resolved((name,), value, function.__globals__, name), change):
                self._say(node, name, ", a default argument,")

    def check_class(self, node: Node, piece: Piece, cls: type) -> None:
        """Record a reason against reuse if a class's methods change attributes of the class, which all instances
        share."""
        own = {change.attribute for change in piece.changes if change.base == ("self",) and change.how != "call"}
        for change in piece.changes:
            if change.function in AT_IMPORT or (issubclass(cls, type) and change.function in ("__new__", "__init__")):
                continue
            if change.base == ("cls",) and change.attribute in vars(cls) and change.how in ("put", "step"):
                self._say(node, f"cls.{change.attribute}", "")
            elif change.base[0] in ("self", "cls") and len(change.base) > 1 and change.base[1] not in own:
                value = vars(cls).get(change.base[1])
                resolved = Resolved(change.base[:2], value, {"__name__": cls.__module__}, change.base[1])
                if is_a(value, list | set | dict | deque | bytearray) and self._steps(resolved, change):
                    self._say(node, ".".join(change.base), "")

    def _say(self, node: Node, name: str, how: str) -> None:
        self.reach.never(node, f"`{node.name}` changes `{name}`{how} while it runs")

    def _check_cells(self, node: Node, source: Source, code: types.CodeType, cells: Scope, scope: Scope) -> None:
        shared = set(code.co_freevars) & set(cells)
        closes_over = ", which it closes over,"
        for name in sorted(rebound_cells(code) & shared):
            self._say(node, name, closes_over)
        definition = source.node(code)
        if definition is None:
            return
        piece = source.piece([definition], LiveNames(scope, self.reach.homes))
        for change in piece.changes:
            name = change.base[0]
            if name in shared and change.how != "bind" and not is_a(cells[name], FIXED):
                self._say(node, name, closes_over)
        for chain in piece.names:
            if chain[0] in shared and self._method_steps(cells[chain[0]], chain[1:]):
                self._say(node, chain[0], closes_over)
        self._check_given(node, piece, scope, {name: cells[name] for name in shared}, closes_over)

    def _steps(self, found: Resolved, change: Change) -> bool:
        """Return whether a change to a global value can make the output of a later call depend on earlier calls."""
        if change.how == "bind" or not self._is_project(found.scope.get("__name__")):
            return False
        value = _inner(found.value, change.base[len(found.used) :])
        if is_a(value, types.ModuleType):
            return change.attribute is not None and change.how != "call" and self._is_project(value.__name__)
        if is_a(value, type | types.FunctionType):
            module = module_of(value)
            return change.attribute is not None and change.how != "call" and self._is_project(module)
        if is_a(value, dict):
            return change.how == "step" or (change.how == "call" and change.attribute not in MEMO)
        if is_a(value, list | set | bytearray | deque):
            return True
        if is_a(value, FIXED):
            return False
        if change.how == "call":
            return self._is_project(type(value).__module__) and self._method_steps(value, (change.attribute or "",))
        return True

    def _is_project(self, module: str | None) -> bool:
        return self.reach.homes.of_module(module) == "project"

    def _method_steps(self, value: object, rest: Chain) -> bool:
        """Return whether `rest` names a method that changes `value`, an object of a class of the project, in place."""
        if not rest or is_a(value, (*FIXED, type, types.ModuleType)):
            return False
        if not self._is_project(type(value).__module__) or plain_function(value) is not None:
            return False
        method = next((vars(base)[rest[0]] for base in type(value).__mro__ if rest[0] in vars(base)), None)
        if is_a(method, property):
            method = method.fget
        return is_a(method, types.FunctionType) and self._changes_parameter(method, 0)

    def _check_given(self, node: Node, piece: Piece, scope: Scope, values: Scope, how: str) -> None:
        """Record a reason against reuse if one of `values` is passed to a function of the project that changes the
        value."""
        for argument in piece.given:
            value = values.get(argument.name)
            if is_a(value, (*FIXED, type, types.ModuleType)):
                continue
            resolved = resolve(argument.function, scope)
            function = plain_function(resolved.value) or resolved.value if resolved is not None else None
            if is_a(function, types.FunctionType) and self._changes_parameter(function, argument.slot):
                self._say(node, argument.name, how)

    def _changes_parameter(self, function: types.FunctionType, slot: int | str) -> bool:
        """Return whether a function changes a parameter in place, either by its own code or through functions to which
        it passes the parameter."""
        rest = [(function, slot)]
        seen = set()
        while rest:
            current, slot = rest.pop()
            name = _parameter(current, slot)
            if name is None or (current, name) in seen:
                continue
            seen.add((current, name))
            piece = self._piece(current)
            if piece is None:
                continue
            if any(change.base[0] == name and _is_real(change) for change in piece.changes):
                return True
            for argument in piece.given:
                resolved = resolve(argument.function, current.__globals__) if argument.name == name else None
                inner = plain_function(resolved.value) or resolved.value if resolved is not None else None
                if is_a(inner, types.FunctionType):
                    rest.append((inner, argument.slot))
        return False

    def _piece(self, function: types.FunctionType) -> Piece | None:
        scope = function.__globals__
        if self.reach.homes.of_code(function.__code__, scope) != "project":
            return None
        source = self.reach.sources.of_code(function.__code__, scope)
        definition = source.find(function.__code__) if source is not None else None
        if source is None or definition is None:
            return None
        return source.piece([definition.node], LiveNames(scope, self.reach.homes))


def _inner(value: object, rest: Chain) -> object:
    """Follow the attributes `rest` of a class or object, without running any code, and return the value that they lead
    to."""
    for name in rest:
        kinds = value.__mro__ if is_a(value, type) else type(value).__mro__
        inside: list[Any] = [] if is_a(value, type) else [instance_dict(value)]
        holding = next((attributes for attributes in [*inside, *map(vars, kinds)] if name in attributes), None)
        if holding is None:
            break
        value = holding[name]
    return value


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_real(change: Change) -> bool:
    """Return whether a change of a parameter counts. A plain store into an attribute, as in `self._x[key] = x`, doesn't
    count, since it is treated as a cache."""
    return not (change.how == "put" and (change.attribute is not None or len(change.base) > 1))


def _parameter(function: types.FunctionType, slot: int | str) -> str | None:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if isinstance(slot, int):
        return names[slot] if slot < code.co_argcount else None
    return slot if slot in names else None


def _sharing(source: Source, found: Found) -> Iterator[types.CodeType]:
    """Yield a function's code, and the code of each other function inside the same outer function: these may close over
    the same variables."""
    yield found.code
    around = found.around
    while around is not None and source.is_class(around):
        around = source.around(around)
    for constant in around.co_consts if around is not None and around.co_name != "<module>" else ():
        if isinstance(constant, types.CodeType) and constant is not found.code:
            yield constant
