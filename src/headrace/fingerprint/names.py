"""Finds the objects that names refer to in a loaded module: which names in code are global, and to which object a chain
of attributes leads."""

from __future__ import annotations

import dis
import functools
import opcode
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from headrace.fingerprint.module_owner import ModuleOwners, is_installed
from headrace.fingerprint.project_roots import file_of
from headrace.fingerprint.python_objects import is_a
from headrace.fingerprint.source.code_piece import Chain
from headrace.fingerprint.source.top_level import TopLevel

_EXTENDED = opcode.opmap["EXTENDED_ARG"]
_LOADS = [
    (opcode.opmap[name], shift)
    for name, shift in (("LOAD_GLOBAL", 1), ("LOAD_NAME", 0), ("LOAD_FROM_DICT_OR_GLOBALS", 0))
    if name in opcode.opmap
]
_STORES = [(opcode.opmap[name], 0) for name in ("STORE_GLOBAL", "DELETE_GLOBAL")]
_CELL_STORES = [opcode.opmap[name] for name in ("STORE_DEREF", "DELETE_DEREF")]
_BINDING = ("STORE_NAME", "STORE_GLOBAL")
_BINDS = [(opcode.opmap[name], 0) for name in _BINDING]
_CHECKING = "TYPE_CHECKING"
MISSING = object()
FACADE = "headrace"


class Globals(NamedTuple):
    """The global names that code reads, and the global names that it binds."""

    read: frozenset[str]
    bound: frozenset[str]


@functools.lru_cache(maxsize=100_000)
def global_names(code: CodeType) -> Globals:
    """Return the global names in a code object and in the code objects inside it."""
    read: set[str] = set()
    bound: set[str] = set()
    rest = [code]
    while rest:
        current = rest.pop()
        read |= _used(current, _LOADS)
        bound |= _used(current, _STORES)
        rest.extend(inner for inner in current.co_consts if is_a(inner, CodeType))
    return Globals(frozenset(read), frozenset(bound))


def _used(code: CodeType, operations: list[tuple[int, int]]) -> set[str]:
    return {
        code.co_names[argument >> shift] for operator, shift in operations for argument in _arguments(code, operator)
    }


def _arguments(code: CodeType, operator: int) -> Iterator[int]:
    """Yield the argument of each instruction with this opcode."""
    data = code.co_code
    operators, arguments = data[0::2], data[1::2]
    at = operators.find(operator)
    while at >= 0:
        argument, before, shift = arguments[at], at - 1, 8
        while before >= 0 and operators[before] == _EXTENDED:
            argument |= arguments[before] << shift
            before, shift = before - 1, shift + 8
        yield argument
        at = operators.find(operator, at + 1)


def rebound_cells(code: CodeType) -> set[str]:
    """Return the variables of outer functions that `code`, or a function inside it, rebinds (`nonlocal`)."""
    rebound: set[str] = set()
    rest = [code]
    while rest:
        current = rest.pop()
        names = _local_names(current)
        stored = {names[argument] for operator in _CELL_STORES for argument in _arguments(current, operator)}
        rebound |= stored & set(current.co_freevars)
        rest.extend(inner for inner in current.co_consts if is_a(inner, CodeType))
    return rebound & set(code.co_freevars)


def _local_names(code: CodeType) -> tuple[str, ...]:
    """Return the names of a frame's variables, in the order of the numbers by which instructions refer to them. A cell
    that is also an argument is listed only once."""
    cells = tuple(name for name in code.co_cellvars if name not in code.co_varnames)
    return code.co_varnames + cells + code.co_freevars


class Resolved(NamedTuple):
    """The object `value` that a chain of names, such as `helpers.clean`, refers to. `used` is the part of the chain
    that was followed to reach the object. The object was found under `name` in `scope`, the globals of a module."""

    used: Chain
    value: object
    scope: dict[str, Any]
    name: str


def resolve(chain: Chain, scope: dict[str, Any]) -> Resolved | None:
    """Follow a chain of names, such as `helpers.clean`, through loaded modules. Return the first object that isn't a
    module, or None if the chain's first name isn't bound.

    Attributes are read from the modules' dictionaries, so no user code runs; Headrace's own lazy attributes are loaded.
    In other lazy modules, such as NumPy, only names that the module's own code binds are followed. Whether
    `numpy.random` exists depends on what this process has imported so far, but the digest must not depend on this.
    """
    if chain[0] not in scope:
        return None
    return follow(chain, Resolved(chain[:1], scope[chain[0]], scope, chain[0]))


def follow(chain: Chain, at: Resolved) -> Resolved:
    """Follow the rest of a chain of names, starting at the object `at`, which the chain's first names refer to."""
    while is_a(at.value, ModuleType) and len(at.used) < len(chain):
        name = chain[len(at.used)]
        inner = vars(at.value)
        if _is_lazy(at.value) and name not in _bound_by(at.value):
            return at
        value = inner.get(name, MISSING)
        if value is MISSING:
            value = sys.modules.get(f"{at.value.__name__}.{name}", MISSING)
        if value is MISSING and at.value.__name__ == FACADE and name in inner["__all__"]:
            value = getattr(at.value, name)  # it is lazy: the digest must not depend on whether it was loaded before
        if value is MISSING:
            return at
        at = Resolved(chain[: len(at.used) + 1], value, inner, name)
    return at


def _is_lazy(module: ModuleType) -> bool:
    """Return whether an installed module may get more attributes when they are first used.

    Return False for modules of a project, because their attributes must be followed to the project's code. Also return
    False for modules of Headrace, whose lazy attributes are loaded.
    """
    if "__getattr__" not in vars(module) and type(module) is ModuleType:
        return False
    path = file_of(module)
    return path is not None and is_installed(path) and module.__name__.partition(".")[0] != FACADE


@functools.lru_cache(maxsize=1_000)
def _bound_by(module: ModuleType) -> frozenset[str]:
    """Return the names that a module's code binds when it is imported, except for those that only type checkers see. If
    the module's code can't be read, return no names."""
    try:
        code = module.__spec__.loader.get_code(module.__name__)  # type: ignore[union-attr]  # not all loaders have it
    except (AttributeError, ImportError, OSError):
        return frozenset()
    if code is None or _CHECKING not in code.co_names:
        return frozenset() if code is None else frozenset(_used(code, _BINDS))
    bound: set[str] = set()
    checks, end = False, 0  # whether the last instruction loaded `TYPE_CHECKING`, and where its block ends
    for each in dis.get_instructions(code):
        if each.offset < end:
            continue
        if each.opname in _BINDING:
            bound.add(str(each.argval))
        elif checks and each.opname.startswith("POP_JUMP") and each.opname.endswith("IF_FALSE"):
            end = each.argval
        checks = each.argval == _CHECKING or (checks and each.opname in ("CACHE", "TO_BOOL", "EXTENDED_ARG"))
    return frozenset(bound)


class LiveNames:
    """Tells whether names in the code of a loaded module refer to Headrace or to `TYPE_CHECKING`: the normal form of
    the code depends on this."""

    def __init__(self, scope: dict[str, Any], homes: ModuleOwners) -> None:
        self._scope = scope
        self._homes = homes

    def ours(self, chain: Chain) -> bool:
        """Return whether a chain of names (`hr.log`) refers to a part of Headrace itself."""
        resolved = resolve(chain, self._scope)
        if resolved is None:
            return False
        value = resolved.value
        while is_a(value, functools.partial):
            value = value.func
        if is_a(value, ModuleType):
            return self._homes.of_module(value.__name__) == "ours"
        if is_a(value, MethodType):
            value = value.__func__
        if is_a(value, FunctionType):
            # not its `__module__`, which `functools.wraps` copies from the wrapped function
            return self._homes.of_code(value.__code__, value.__globals__) == "ours"
        kind = value if is_a(value, type) else type(value)
        return self._homes.of_module(kind.__module__) == "ours"

    def type_checking(self, chain: Chain) -> bool:
        """Return whether a chain refers to `typing.TYPE_CHECKING`, which is always false when code runs."""
        resolved = resolve(chain, self._scope)
        return resolved is not None and (resolved.value is False or is_a(resolved.value, ModuleType))


class StaticNames:
    """Tells whether names in the code of a module that isn't loaded refer to Headrace or to `TYPE_CHECKING`: the normal
    form of the code depends on this."""

    def __init__(self, top: TopLevel) -> None:
        self._top = top

    def ours(self, chain: Chain) -> bool:
        """Return whether a name was imported from Headrace."""
        imported = self._top.imported(chain[0])
        return bool(imported) and all(origin.module.partition(".")[0] == "headrace" for origin in imported or ())

    def type_checking(self, chain: Chain) -> bool:
        """Return whether a name was imported from `typing`."""
        imported = self._top.imported(chain[0])
        return bool(imported) and all(origin.module in ("typing", "typing_extensions") for origin in imported or ())
