"""What a loaded function reaches: functions and classes by their source, constants by value, followed name by name."""

from __future__ import annotations

import ast
import builtins
import reprlib
import types
from collections.abc import Iterable
from typing import Any, cast

from headrace.define.code.graph import Node, digest
from headrace.define.code.names import Globals, LiveNames, Resolved, follow, global_names, resolve
from headrace.define.code.normal import Chain, Piece
from headrace.define.code.reach import Reach
from headrace.define.code.roots import file_of
from headrace.define.code.source import Found, Source, code_path
from headrace.define.code.static import Static, package_of
from headrace.define.code.value import Encoded, Owner, Values

Scope = dict[str, Any]
OURS = "__headrace_function__"
_UNREAD_DUNDERS = frozenset({"__name__", "__file__"})
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 200
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxset = _SHOWN.maxfrozenset = _SHOWN.maxdict = 8


class Live:
    """Follows loaded objects."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.homes = reach.homes
        self.static = Static(reach)
        self.values = Values(reach.project.roots, owner=self._owner, thing=is_thing, name=self._thing_name)

    # Things: functions, classes and modules

    def thing(self, value: object, *, signature: bool = False) -> Node | None:
        """Give the node of a function, class or module; None for one that is as Python itself made it."""
        plain = plain_function(value)
        if plain is not None:
            return self.thing(plain, signature=signature)
        if isinstance(value, types.ModuleType):
            return self.module(value)
        if isinstance(value, type):
            return self.class_(value)
        if isinstance(value, types.FunctionType):
            return self.function(value, signature=signature)
        name = getattr(value, "__qualname__", "?")
        module = getattr(value, "__module__", None) or "builtins"
        return self.reach.symbol(f"{module}.{name}", module)

    def root_edge(self, root: Node, value: object) -> None:
        """Add an edge to a stage's function: its own signature counts, and that of what it wraps."""
        plain = plain_function(value) or value
        if is_thing(plain):
            found = self.thing(plain, signature=True)
            if found is not None:
                root.edges["root"] = found
        else:
            self.value_edge(root, "root", plain, "stage")

    def function(self, function: types.FunctionType, *, signature: bool = False) -> Node:
        """Give the node of a Python function."""
        home = self.homes.of_code(function.__code__, function.__globals__)
        if home == "ours":
            return self._ours(function)
        if home != "project":
            return self._foreign(function)
        source = self.reach.sources.of_code(function.__code__, function.__globals__)
        title = self.reach.title(source, function.__globals__, function.__code__.co_qualname)
        key = ("function", id(function), signature)
        return self.reach.graph.node(
            key, title, "function", lambda node: self._fill_function(node, function, source, signature), function
        )

    def _ours(self, function: types.FunctionType) -> Node:
        """A function of Headrace's counts by its name; a ready-made stage's by the version that it carries too."""
        name = f"{function.__module__}.{function.__qualname__}"
        version = function.__dict__.get("__headrace_version__")
        if version is None:
            return self.reach.symbol(name, "headrace")
        return self.reach.graph.leaf(("ours", name), name, "function", f"ours {name} {version}", str(version))

    def _foreign(self, function: types.FunctionType) -> Node:
        """A function of a distribution counts by its name, and what of the project's it wraps."""
        name = f"{function.__module__}.{function.__qualname__}"

        def fill(node: Node) -> None:
            node.own = f"name {name}"
            node.edges["home"] = self.reach.symbol(name, function.__globals__.get("__name__", ""))
            for label, each in _inside(function):
                if is_thing(each) and self._is_project_thing(each):
                    found = self.thing(each)
                    if found is not None:
                        node.edges[label] = found

        return self.reach.graph.node(("foreign", id(function)), name, None, fill, function)

    def _is_project_thing(self, value: object) -> bool:
        plain = plain_function(value) or value
        if isinstance(plain, types.FunctionType):
            return self.homes.of_code(plain.__code__, plain.__globals__) == "project" or plain.__closure__ is not None
        return isinstance(plain, type) and self._owner(plain) == "project"

    def _fill_function(self, node: Node, function: types.FunctionType, source: Source | None, signature: bool) -> None:
        found = source.find(function.__code__) if source is not None else None
        if source is None or found is None:
            self._fill_without_source(node, function, source)
            return
        names = LiveNames(function.__globals__, self.homes)
        piece = source.piece([found.node], names)
        node.own = digest("function", self.reach.text(piece, signature=signature))
        node.where = source.where(found.node)
        cells = self._cells(function)
        self.edges(node, piece, function.__globals__, global_names(function.__code__), cells)
        self._outer_edges(node, piece, function.__globals__, found.around)
        if signature or piece.decorated or "annotation" in self.reach.acting:
            self._chain_edges(node, piece.signature, function.__globals__)
        self.bound_values(node, function)

    def _fill_without_source(self, node: Node, function: types.FunctionType, source: Source | None) -> None:
        if source is not None:
            self.reach.never(f"the source of `{node.name}` changed since it was imported")
        self.reach.note(f"`{node.name}` has no source that fits: it counts as compiled")
        node.own = digest("code", code_text(function.__code__))
        for name in sorted(global_names(function.__code__).read):
            self._chain_edges(node, {(name,): None}, function.__globals__)
        for name, cell in sorted(self._cells(function).items()):
            self.value_edge(node, f"cell {name}", cell, node.name)
        self.bound_values(node, function)

    def _cells(self, function: types.FunctionType) -> Scope:
        cells = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                cells[name] = cell.cell_contents
            except ValueError:  # not bound yet
                continue
        return cells

    def bound_values(self, node: Node, function: types.FunctionType, prefix: str = "") -> None:
        """Add what a function object carries beside its code: default arguments and attributes, by value."""
        for index, value in enumerate(function.__defaults__ or ()):
            self.value_edge(node, f"{prefix}default {index}", value, node.name)
        for name, value in (function.__kwdefaults__ or {}).items():
            self.value_edge(node, f"{prefix}default {name}", value, node.name)
        for name, value in function.__dict__.items():
            if not name.startswith("__headrace_"):
                self.value_edge(node, f"{prefix}attribute {name}", value, node.name)

    # Names

    def edges(self, node: Node, piece: Piece, scope: Scope, names: Globals, cells: Scope) -> None:
        """Add an edge for each name that a piece uses."""
        place = self.reach.sources.of_globals(scope)
        local = self.static.targets(piece.imports, package_of(place) if place is not None else "")
        self.static.imports(node, piece, local)
        for name in sorted(names.bound):
            self.reach.never(f"`{node.name}` changes the global `{name}` while it runs")
        for chain in piece.names | piece.annotations if "annotation" in self.reach.acting else piece.names:
            if chain[0] in cells:
                self._found_edge(node, follow(chain, Resolved(chain[:1], cells[chain[0]], {}, chain[0])), "cell ")
            elif chain[0] in names.read:
                self._chain_edge(node, chain, scope)

    def _outer_edges(self, node: Node, piece: Piece, scope: Scope, around: types.CodeType | None) -> None:
        """Add an edge for each global name of decorators and bases, which the code around evaluates."""
        inside = around is not None and around.co_name != "<module>"
        names = global_names(around).read if inside and around is not None else None
        for chain in piece.outer:
            if names is None or chain[0] in names:
                self._chain_edge(node, chain, scope)

    def _chain_edges(self, node: Node, chains: Iterable[Chain], scope: Scope) -> None:
        for chain in chains:
            self._chain_edge(node, chain, scope)

    def _chain_edge(self, node: Node, chain: Chain, scope: Scope) -> None:
        found = resolve(chain, scope, self.homes)
        if found is not None:
            self._found_edge(node, found)
        elif hasattr(builtins, chain[0]):
            self._widen(node, getattr(builtins, chain[0]), chain[0], scope)
        else:
            node.edges[chain[0]] = self.reach.missing(chain[0])

    def _found_edge(self, node: Node, found: Resolved, prefix: str = "") -> None:
        label = prefix + ".".join(found.used)
        if isinstance(found.value, types.ModuleType) and self.homes.of_module(found.value.__name__) == "project":
            self.reach.note(f"`{found.value.__name__}` is used as a value in `{node.name}`: all of it counts")
        if self._widen(node, found.value, label, found.scope):
            return
        target = self.named(found.scope, found.name, found.value) if found.scope else None
        if target is not None:
            node.edges[label] = target
        else:
            self.value_edge(node, label, found.value, node.name)

    def _widen(self, node: Node, value: object, label: str, scope: Scope) -> bool:
        widened = self.reach.widens(value) if callable(value) or isinstance(value, dict) else None
        if widened == "bundle":
            self.reach.note(f"`{label}` in `{node.name}`: all Python of the project counts")
            node.edges[label] = self.reach.bundle()
        elif widened == "module":
            self.reach.note(f"`{label}` in `{node.name}`: all of its module counts")
            node.edges[label] = self.scope_module(scope)
        return widened is not None

    def named(self, scope: Scope, name: str, value: object) -> Node | None:
        """Give the node of what a global name stands for."""
        if is_thing(value):
            return self.thing(value)
        key = ("constant", id(scope), name)
        title = self.reach.title(self.reach.sources.of_globals(scope), scope, name)
        return self.reach.graph.node(key, title, "constant", lambda node: self._fill_constant(node, value), value)

    def _fill_constant(self, node: Node, value: object) -> None:
        encoded = self.encode(node, value)
        node.own = encoded.digest
        node.text = shown(value)

    def encode(self, node: Node, value: object, label: str = "") -> Encoded:
        """Read a value, and add an edge for each function, class and module in it."""
        encoded = self.values.encode(value)
        for index, each in enumerate(encoded.things):
            target = self.thing(each)
            if target is not None:
                node.edges[f"{label} {index}"] = target
        if encoded.changing is not None:
            self.reach.never(f"`{node.name}` is {encoded.changing}, which changes while it is used")
        if encoded.unread:
            kinds = ", ".join(sorted(set(encoded.unread)))
            self.reach.note(f"`{node.name}` has no readable value ({kinds}): it counts as written")
        return encoded

    def value_edge(self, node: Node, label: str, value: object, title: str) -> None:
        """Add an edge to a value that has no global name."""
        if is_thing(value):
            target = self.thing(value)
            if target is not None:
                node.edges[label] = target
            return
        inner = Node(f"{title}: {label}", "constant")
        inner.own = self.encode(inner, value, label).digest
        inner.text = shown(value)
        node.edges[label] = inner

    # Classes and modules

    def class_(self, cls: type) -> Node:
        """Give the node of a class."""
        owner = self._owner(cls)
        if owner != "project":
            return self.reach.symbol(f"{cls.__module__}.{cls.__qualname__}", cls.__module__)
        scope = self._class_scope(cls)
        source = self.reach.sources.of_globals(scope)
        title = self.reach.title(source, scope, cls.__qualname__)
        return self.reach.graph.node(
            ("class", id(cls)), title, "class", lambda node: self._fill_class(node, cls, source, scope), cls
        )

    def _fill_class(self, node: Node, cls: type, source: Source | None, scope: Scope) -> None:
        found = source.classes(cls.__qualname__) if source is not None else []
        texts = []
        for each in found:
            assert source is not None
            piece = source.piece([each.node], LiveNames(scope, self.homes))
            texts.append(self.reach.text(piece))
            self.edges(node, piece, scope, global_names(each.code), {})
            self._outer_edges(node, piece, scope, each.around)
            node.where = source.where(each.node)
        node.own = digest("class", *texts)
        for index, base in enumerate(cls.__bases__):
            self.value_edge(node, f"base {index}", base, node.name)
        if type(cls) is not type:
            self.value_edge(node, "metaclass", type(cls), node.name)
        for name, value in vars(cls).items():
            self._class_entry(node, name, value)

    def _class_entry(self, node: Node, name: str, value: object) -> None:
        pass

    def _class_scope(self, cls: type) -> Scope:
        import sys

        module = sys.modules.get(cls.__module__)
        return vars(module) if module is not None else {}

    def module(self, module: types.ModuleType) -> Node:
        """Give the node of a module that is used as a value."""
        if self.homes.of_module(module.__name__) != "project":
            return self.reach.symbol(module.__name__, module.__name__)
        return self.scope_module(vars(module))

    def scope_module(self, scope: Scope) -> Node:
        """Give the node of a whole module, by its globals."""
        source = self.reach.sources.of_globals(scope)
        title = source.place.module if source is not None and source.place else str(scope.get("__name__"))
        return self.reach.graph.node(
            ("module", id(scope)), title, "module", lambda node: self._fill_module(node, source, scope), scope
        )

    def _fill_module(self, node: Node, source: Source | None, scope: Scope) -> None:
        if source is not None:
            piece = source.piece(source.tree.body, LiveNames(scope, self.homes))
            node.own = digest("module", self.reach.text(piece))
            names = global_names(source.code)
            self.edges(node, piece, scope, Globals(names.read, frozenset()), {})
        for name, value in scope.items():
            if not (name.startswith("__") and name.endswith("__")) and not isinstance(value, types.ModuleType):
                self._chain_edge(node, (name,), scope)

    # Whose and what

    def _owner(self, cls: type) -> Owner:
        home = self.homes.of_module(cls.__module__)
        return "other" if home == "ours" else cast(Owner, home)

    def _thing_name(self, value: object) -> str:
        plain = plain_function(value) or value
        module = getattr(plain, "__module__", None) or ""
        return f"{self.homes.module_name(module)}.{getattr(plain, '__qualname__', getattr(plain, '__name__', '?'))}"


def plain_function(value: object) -> object | None:
    """Give the plain function of a stage or pipeline object, or None for anything else."""
    if isinstance(value, type | types.FunctionType | types.ModuleType):
        return vars(value).get(OURS) if isinstance(value, types.FunctionType) else None
    if any(OURS in vars(each) for each in type(value).__mro__) or OURS in getattr(value, "__dict__", {}):
        function: object = getattr(value, OURS)
        return function
    return None


def is_thing(value: object) -> bool:
    """Say whether a value is code: a function, class or module, which is followed and not read."""
    if isinstance(value, types.FunctionType | type | types.ModuleType):
        return True
    if isinstance(value, types.BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    return plain_function(value) is not None


def shown(value: object) -> str:
    """Give a constant in short, for people."""
    try:
        return _SHOWN.repr(value)[:200]
    except Exception:  # whatever a class of the user's does to be shown
        return f"<{type(value).__name__}>"


def code_text(code: types.CodeType) -> str:
    """Give a text of compiled code, for a function whose source is not to be had."""
    return repr(code_parts(code))


def code_parts(code: types.CodeType) -> tuple[object, ...]:
    """Give what stands for compiled code, without the places where it was compiled."""
    constants = [code_parts(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return (code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, constants)


def _inside(function: types.FunctionType) -> Iterable[tuple[str, object]]:
    """Give what a function of a distribution may wrap."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"cell {name}", cell.cell_contents
        except ValueError:
            continue
    yield from ((f"attribute {name}", value) for name, value in function.__dict__.items())


