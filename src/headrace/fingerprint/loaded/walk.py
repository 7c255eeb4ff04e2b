"""Follows loaded objects: from a name to its object, and from this object to all others that it reaches."""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
import types
from collections.abc import Iterable
from typing import Any

from headrace.codec.classes import public_name
from headrace.fingerprint.graph import Node
from headrace.fingerprint.loaded.classes import fill_class, scope_of
from headrace.fingerprint.loaded.function import cells_of, fill_function
from headrace.fingerprint.loaded.object_owner import PLAIN, Owners, is_at_home
from headrace.fingerprint.loaded.record_fields import lists_fields
from headrace.fingerprint.loaded.statements import Statements
from headrace.fingerprint.names import Globals, LiveNames, Resolved, follow, global_names, resolve
from headrace.fingerprint.ports import Scope
from headrace.fingerprint.python_objects import instance_dict, is_a, is_thing, module_of, plain_function, thing_name
from headrace.fingerprint.reached_code import ReachedCode
from headrace.fingerprint.source.code_piece import Chain, Piece
from headrace.fingerprint.source.files import Source, code_path
from headrace.fingerprint.source.names_in_strings import named
from headrace.fingerprint.unloaded.code import Static, imports_by_name
from headrace.fingerprint.unloaded.origin import Origin, origin
from headrace.fingerprint.unloaded.target import Target
from headrace.fingerprint.values.text import shown
from headrace.fingerprint.values.value import Encoded, Values
from headrace.spec.code import digest

OWN_NAMES = frozenset(
    {"__spec__", "__loader__", "__builtins__", "__cached__", "__annotations__", "__conditional_annotations__"}
)
"""Names that the import system sets in each module. They say nothing about the module's code."""


class Walk:
    """Follows references between objects that are already imported, to find the code that a function reaches. It
    implements `Follow`."""

    def __init__(self, reach: ReachedCode) -> None:
        self.reach = reach
        self.homes = reach.homes
        self.static = Static(reach)
        self.owners = owners = Owners(reach.homes)
        self.statements = Statements(self, owners, self.static)
        self.read = Values(
            reach.project.roots,
            owner=owners.of_class,
            name=owners.stable_name,
            module=self.homes.module_name,
            symbol=owners.is_symbol,
        )

    def root(self, root: Node, value: object) -> None:
        """Add edges from `root` to `value`, a stage's function, and to each function that it wraps. The fingerprint has
        the signatures of all these functions. For a ready-made stage it has the stage's version instead, so the
        function that the stage wraps isn't followed."""
        plain: Any = plain_function(value) or value
        if is_a(plain, types.FunctionType):
            self.statements.root_file = code_path(plain.__code__, plain.__globals__)
        if not is_thing(plain):
            self.value(root, "root", plain, "stage")
        for index in range(100):
            if is_thing(plain):
                target = self.thing(plain, signature=True)
                if target is not None:
                    root.edges[f"root {index}"] = target
            inside = instance_dict(plain)
            plain = inside.get("__wrapped__")
            if plain is None or "__headrace_version__" in inside:
                return

    # Functions, classes and modules

    def thing(self, value: object, *, signature: bool = False) -> Node | None:
        """Return the node of a function, class or module. For a compiled function, return the node of its name; but if
        an extension module of the project defines the function, return the node of that module."""
        plain = plain_function(value)
        if plain is not None and is_thing(plain):
            return self.thing(plain, signature=signature)
        if is_a(value, types.ModuleType):
            return self._module(value)
        if is_a(value, type):
            return self._class(value)
        if is_a(value, types.FunctionType):
            return self._function(value, signature=signature)
        module = module_of(value) or "builtins"
        if self.homes.of_module(module) == "project" and module in sys.modules:
            return self._module(sys.modules[module])
        return self.reach.symbol(thing_name(value), module)

    def _function(self, function: types.FunctionType, *, signature: bool) -> Node:
        home = self.homes.of_code(function.__code__, function.__globals__)
        if home == "ours":
            return self._ours(function)
        if home != "project":
            return self._foreign(function)
        source = self.reach.sources.of_code(function.__code__, function.__globals__)
        title = self.reach.title(source, function.__globals__, function.__code__.co_qualname)

        def fill(node: Node) -> None:
            node.in_notebook = self.reach.is_notebook(function.__globals__)
            fill_function(self, node, function, source, signature=signature)

        return self.reach.graph.node(("function", id(function), signature), title, "function", fill, function)

    def _ours(self, function: types.FunctionType) -> Node:
        """Return the node of a function of Headrace. Only the function's public name counts, not the place of its code.
        For a ready-made stage, its version and the libraries that it uses count too."""
        version = function.__dict__.get("__headrace_version__")
        if version is None:
            return self.reach.symbol(public_name(function.__module__, function.__qualname__), "headrace")
        name = function.__dict__["__headrace_name__"]

        def fill(node: Node) -> None:
            node.own, node.text = f"ours {name} {version}", str(version)
            for module in function.__dict__.get("__headrace_stands_on__", ()):
                node.edges[module] = self.reach.symbol(module, module, _file_of_module(module))

        return self.reach.graph.node(("ours", name), name, "function", fill, function)

    def _foreign(self, function: types.FunctionType) -> Node:
        """Return the node of a distribution's function. Only the function's name counts, and the functions of the
        project that it wraps."""
        name = f"{function.__module__}.{function.__qualname__}"
        module = str(function.__globals__.get("__name__", ""))

        def fill(node: Node) -> None:
            node.own = f"name {function.__code__.co_qualname}"
            node.edges["home"] = self.reach.symbol(f"{module}.{function.__code__.co_qualname}", module)
            for label, inner in self.owners.wrapped(function):
                target = self.thing(inner, signature=True)
                if target is not None:
                    node.edges[label] = target

        return self.reach.graph.node(("foreign", id(function)), name, None, fill, function)

    def _class(self, cls: type) -> Node:
        if self.owners.of_class(cls) != "project" and (is_at_home(cls) or not lists_fields(cls)):
            return self.reach.symbol(f"{cls.__module__}.{cls.__qualname__}", cls.__module__)
        scope = scope_of(cls)
        title = self.reach.title(self.reach.sources.of_globals(scope), scope, cls.__qualname__)

        def fill(node: Node) -> None:
            node.in_notebook = self.reach.is_notebook(scope)
            fill_class(self, node, cls)

        return self.reach.graph.node(("class", id(cls)), title, "class", fill, cls)

    # Modules

    def _module(self, module: types.ModuleType) -> Node:
        if self.homes.of_module(module.__name__) != "project":
            return self.reach.symbol(module.__name__, module.__name__)
        return self.scope_module(vars(module))

    def scope_module(self, scope: Scope) -> Node:
        """Return the node of a whole module of the project. `scope` are the module's globals."""
        source = self.reach.sources.of_globals(scope)
        title = source.place.module if source is not None and source.place else str(scope.get("__name__"))
        key = ("module", id(scope))
        return self.reach.graph.node(key, title, "module", lambda node: self._fill_module(node, source, scope), scope)

    def _fill_module(self, node: Node, source: Source | None, scope: Scope) -> None:
        if source is None:
            node.own = digest("module", self.reach.file_digest(scope.get("__file__")))
        else:
            piece = source.piece(source.tree.body, LiveNames(scope, self.homes))
            node.own = digest("module", self.reach.text(piece))
            node.where = source.where_all(source.tree.body)
            self.uses(node, piece, scope, Globals(global_names(source.code).read, frozenset()), {})
        prefix = f"{scope.get('__name__')}."
        for name, value in list(scope.items()):
            dunder = name.startswith("__") and name.endswith("__")
            other = is_a(value, types.ModuleType) and not value.__name__.startswith(prefix)
            if not dunder and not other:
                self._found(node, Resolved((name,), value, scope, name), "")

    # Names

    def uses(self, node: Node, piece: Piece, scope: Scope, names: Globals, cells: Scope) -> None:
        """Add an edge for each name that a piece's own code uses."""
        source = self.reach.sources.of_globals(scope)
        local = self.static.targets.of(piece.imports, source)
        self.static.imports(node, piece, local)
        self.static.loads(node, piece.late, source)
        for function, module in piece.import_calls:
            self._import_call(node, function, module, scope, local)
        self.reach.note_subclasses(node, piece)
        chains = {**piece.names, **piece.annotations} if "annotation" in self.reach.acting else piece.names
        for chain in chains:
            if chain[0] in cells:
                self._found(node, follow(chain, Resolved(chain[:1], cells[chain[0]], {}, chain[0])), "cell ")
            elif chain[0] in names.read:
                self._chain(node, chain, scope, "")
        for chain in named(piece.texts):
            if chain[0] in scope and chain not in chains and not _is_loose(scope[chain[0]]):
                self._chain(node, chain, scope, "")
        self._given(node, piece, scope)

    def _given(self, node: Node, piece: Piece, scope: Scope) -> None:
        """Add an edge for each function that is passed to a distribution's function. The signatures of these functions
        count too, since the distribution's function may read the annotations."""
        for argument in piece.given:
            value = plain_function(scope.get(argument.name)) or scope.get(argument.name)
            if is_a(value, types.FunctionType) and self.owners.holds_project(value):
                taker = resolve(argument.function, scope)
                if taker is not None and self.owners.is_of_distribution(taker.value):
                    target = self.thing(value, signature=True)
                    if target is not None:
                        node.edges[f"given {argument.name}"] = target

    def _import_call(
        self, node: Node, function: Chain, module: str, scope: Scope, local: dict[str, list[Target]]
    ) -> None:
        resolved = resolve(function, scope)
        value = resolved.value if resolved is not None else getattr(builtins, function[0], None)
        if self.reach.widens(value) or imports_by_name(function, local):
            self.static.import_by_name(node, module)
        elif function[0] not in local:
            self._chain(node, function, scope, "")

    def chains(self, node: Node, chains: Iterable[Chain], scope: Scope, prefix: str = "") -> None:
        """Add an edge to the object of each chain of names (`helpers.clean`). Chains begin in `scope`, the globals of a
        module."""
        for chain in chains:
            self._chain(node, chain, scope, prefix)

    def _chain(self, node: Node, chain: Chain, scope: Scope, prefix: str) -> None:
        resolved = resolve(chain, scope)
        if resolved is not None:
            self._found(node, resolved, prefix)
        elif hasattr(builtins, chain[0]):
            value = getattr(builtins, chain[0])
            if not self._widen(node, value, chain[0], scope) and is_a(value, types.FunctionType):
                node.edges[chain[0]] = self.named(vars(builtins), chain[0], value)
        else:
            node.edges[prefix + chain[0]] = self.reach.missing(chain[0])

    def _found(self, node: Node, found: Resolved, prefix: str) -> None:
        label = prefix + ".".join(found.used)
        value = found.value
        if self._widen(node, value, label, found.scope):
            return
        if is_a(value, types.ModuleType) and self.homes.of_module(value.__name__) == "project":
            node.edges[label] = self._module(value)
            self.reach.note_whole(node, node.edges[label])
        elif found.scope:
            node.edges[label] = self.named(found.scope, found.name, value)
        else:
            self.value(node, label, value, f"{node.name}.{found.name}")

    def _widen(self, node: Node, value: object, label: str, scope: Scope) -> bool:
        widened = self.reach.widens(value) if callable(value) or is_a(value, dict | types.ModuleType) else None
        if widened == "bundle":
            node.edges[label] = self.reach.bundle()
            self.reach.note_whole(node, node.edges[label], label)
        elif widened == "module":
            node.edges[label] = self.scope_module(scope)
            self.reach.note_whole(node, node.edges[label], label)
        return widened is not None

    def written(self, node: Node, name: str, scope: Scope) -> str:
        """Return the text of the statements that bind a global name or use it at import. Add an edge for each name in
        these statements."""
        return self.statements.written(node, name, scope)

    # Values

    def named(self, scope: Scope, name: str, value: object) -> Node:
        """Return the node of the value of a global name."""
        if is_a(value, types.ModuleType) or self._is_defined(value):
            target = self.thing(value)
            assert target is not None
            return target
        if name.startswith("__") and name.endswith("__"):
            return self._own_name(scope, name, value)
        at = origin(self.reach.sources, scope, name, value)
        home = self.homes.of_module(at.module)
        if home in ("standard", "ours") or (home == "other" and type(value) not in PLAIN):
            return self.reach.symbol(f"{at.module}.{at.name}", at.module)
        title = self.reach.title(at.source, at.scope, at.name)
        key = ("constant", id(at.scope), at.name)
        return self.reach.graph.node(key, title, "constant", lambda node: self._fill_named(node, at, value), value)

    def _is_defined(self, value: object) -> bool:
        """Return whether a value is a function or class, and its definition describes it completely."""
        plain = plain_function(value) or value
        if not is_thing(plain):
            return self.owners.is_symbol(plain)
        if is_a(plain, types.FunctionType) and self.homes.of_code(plain.__code__, plain.__globals__) == "project":
            return not plain.__closure__ or self._reads_cells(plain)
        if is_a(plain, type) and self.owners.of_class(plain) == "project":
            return True
        return is_at_home(plain)

    def _reads_cells(self, function: types.FunctionType) -> bool:
        states = self.reach.is_notebook(function.__globals__)
        cells = [cell for cell in cells_of(function).values() if not is_thing(cell)]
        return not any(self.read.encode(cell, states=states).unread for cell in cells)

    def _own_name(self, scope: Scope, name: str, value: object) -> Node:
        """Return the node of a name that every module has, such as `__name__`. The value of `__name__` is taken to be
        the name under which the module's file would be imported."""
        if name == "__name__" and is_a(value, str):
            value = self.homes.module_name(value)
        elif name == "__file__" and is_a(value, str):
            value = os.path.abspath(value)
        elif name in OWN_NAMES:
            value = None
        title = self.reach.title(self.reach.sources.of_globals(scope), scope, name)
        node = self.reach.graph.leaf(
            ("own", id(scope), name), title, "constant", "", shown(value, self.reach.project.roots)
        )
        node.own = self.values_of(node, value).digest
        return node

    def _fill_named(self, node: Node, at: Origin, value: object) -> None:
        node.in_notebook = self.reach.is_notebook(at.scope)
        encoded = self.values_of(node, value)
        node.own = encoded.digest
        node.text = shown(value, self.reach.project.roots)
        if at.source is not None:
            node.where = at.source.where_all(at.source.top.binders.get(at.name, []))
        if self.homes.of_module(at.module) == "other":
            node.edges["home"] = self.reach.symbol(f"{at.module}.{at.name}", at.module)
        elif encoded.unread or is_thing(value):
            self.statements.add(node, at, value, encoded)

    def values_of(self, node: Node, value: object, label: str = "", title: str = "") -> Encoded:
        """Return a value's digest, and add an edge for each function, class and module in the value."""
        encoded = self.read.encode(value, states=node.in_notebook)
        for index, thing in enumerate(encoded.things):
            target = self.thing(thing)
            if target is not None:
                node.edges[f"{label} {index}"] = target
                self.reach.note_whole(node, target)
        if encoded.changing is not None:
            self.reach.never(node, f"`{title or node.name}` is {encoded.changing}, which changes while it is used")
        return encoded

    def value(self, node: Node, label: str, value: object, title: str) -> Encoded | None:
        """Add an edge to a value without a global name, and return the value's digest. For a function, class or module,
        return None."""
        if is_thing(value):
            target = self.thing(value)
            if target is not None:
                node.edges[label] = target
            return None
        inner = Node(title, "constant", text=shown(value, self.reach.project.roots), in_notebook=node.in_notebook)
        encoded = self.values_of(inner, value)
        inner.own = encoded.digest
        node.edges[label] = inner
        for name, each in self.owners.wrapped(value) if encoded.unread else ():
            wrapped = self.thing(each, signature=True)
            if wrapped is not None:
                inner.edges[f"wraps {name}"] = wrapped
        return encoded


def _is_loose(value: object) -> bool:
    """Return whether names in strings never refer to this value. This is so for functions and modules, which no library
    looks up by names in strings."""
    return is_a(value, types.FunctionType | types.ModuleType) or plain_function(value) is not None


def _file_of_module(name: str) -> str | None:
    """Return the file of a top-level module without importing the module. The result doesn't depend on whether the
    module is loaded, since it must be the same in tracer and worker."""
    spec = importlib.util.find_spec(name)
    return spec.origin if spec is not None else None
