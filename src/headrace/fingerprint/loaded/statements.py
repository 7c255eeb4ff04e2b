"""For a value that can't be read, finds the statements that make it. Also finds the code of the project that a
library's object holds."""

from __future__ import annotations

import ast
import functools
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from headrace.fingerprint.graph import Node
from headrace.fingerprint.loaded.object_owner import Owners
from headrace.fingerprint.names import LiveNames, global_names, resolve
from headrace.fingerprint.ports import IMPORT_TIME, Follow, Scope
from headrace.fingerprint.python_objects import instance_dict, is_a, is_thing, plain_function
from headrace.fingerprint.source.files import DEFINITIONS, Source
from headrace.fingerprint.source.names_in_strings import named
from headrace.fingerprint.unloaded.code import Static
from headrace.fingerprint.unloaded.origin import Origin
from headrace.fingerprint.values.value import Encoded
from headrace.spec.code import digest


class Statements:
    """Reads the statements that bind a name, or change its value while modules are loaded. `root_file` is the file of
    the stage."""

    def __init__(self, follow: Follow, owners: Owners, static: Static) -> None:
        self._follow = follow
        self._owners = owners
        self._static = static
        self.root_file: str | None = None

    def add(self, node: Node, at: Origin, value: object, encoded: Encoded) -> None:
        """Add to a node, for a value that can't be read, the text of the statements that make the value. If a decorator
        made the value from a function of the project, only an edge to this function is added."""
        statements = at.source.top.binders.get(at.name, []) if at.source is not None else []
        wrapped = self._owners.wrapped(value)
        for label, each in wrapped:
            target = self._follow.thing(each, signature=True)
            if target is not None:
                node.edges[f"wraps {label}"] = target
        self._add_held(node, value)
        is_decorated = bool(wrapped) and bool(statements) and all(isinstance(each, DEFINITIONS) for each in statements)
        if not is_decorated:
            kinds = ", ".join(sorted(set(encoded.unread))) or type(value).__qualname__
            unseen = ", not what later cells change in it" if node.in_notebook else ""
            self._follow.reach.note(f"`{node.name}` has no readable value ({kinds}): its source text counts{unseen}")
            node.own = digest(
                node.own, self.written(node, at.name, at.scope), *self._written_elsewhere(node, at, value)
            )

    def written(self, node: Node, name: str, scope: Scope) -> str:
        """Return the text of the statements that bind a global name or use it at import. Add an edge for each name in
        these statements."""
        source = self._follow.reach.sources.of_globals(scope)
        if source is None:
            source = next(iter(self._follow.reach.sources.cells_that_bind(name)[-1:]), None)
        statements = source.top.statements(name) if source is not None else []
        if source is None or not statements:
            node.edges["module"] = self._follow.scope_module(scope)
            self._follow.reach.note(f"`{node.name}` is made while its module is loaded: all of the module counts")
            return ""
        return " ".join(self._statement(node, statement, source, scope, {name}) for statement in statements)

    def _add_held(self, node: Node, value: object) -> None:
        """Add an edge for each function and class of the project that is anywhere inside a distribution's object, such
        as a registered handler."""
        known = {id(each) for each in node.edges.values()}
        targets = [self._follow.thing(each, signature=True) for each in held(value, self._owners.is_project)]
        for index, target in enumerate(targets):
            if target is not None and id(target) not in known:
                node.edges[f"holds {index}"] = target

    def _written_elsewhere(self, node: Node, at: Origin, value: object) -> Iterator[str]:
        """Yield the text of each statement in another module that uses a value while that module is loaded. Add an edge
        for each name in the statement."""
        if at.source is None or self.root_file is None:
            return
        for file, statement in self._static.loading.elsewhere(self.root_file, at.source.path):
            source = self._follow.reach.sources.at(file)
            assert source is not None
            for scope in self._static.loaded.get(file, ()):
                piece = source.piece([statement], LiveNames(scope, self._follow.reach.homes))
                resolved = {chain[0]: resolve(chain, scope) for chain in {**piece.names, **piece.outer}}
                names = {name for name, each in resolved.items() if each is not None and each.value is value}
                if names:
                    yield self._statement(node, statement, source, scope, names)

    def _statement(self, node: Node, statement: ast.stmt, source: Source, scope: Scope, names: set[str]) -> str:
        """Return the text of a statement that makes or changes a value. Add an edge for each name in the statement,
        except for `names`."""
        piece = source.piece([statement], LiveNames(scope, self._follow.reach.homes))
        code = source.code_of(statement) if isinstance(statement, DEFINITIONS) else None
        if code is not None:
            self._follow.uses(node, piece, scope, global_names(code), {})
        chains = piece.outer if code is not None else {**piece.names, **piece.outer, **piece.defaults}
        local = self._static.targets.of(piece.imports, source)
        self._static.imports(node, piece, local)
        chains = {**chains, **dict.fromkeys(named(piece.texts))}
        others = [chain for chain in chains if chain[0] in scope and chain[0] not in local and chain[0] not in names]
        self._follow.chains(node, others, scope, IMPORT_TIME)
        return self._follow.reach.text(piece)


MOST_HELD = 2_000
"""The most objects that are searched inside one object."""
PLAIN = (str, bytes, int, float, complex, bool, type(None), types.ModuleType)


def held(value: object, is_wanted: Callable[[object], bool]) -> Iterator[object]:
    """Yield the functions and classes inside an object, and the classes of the instances inside it. Leave out those for
    which `is_wanted` returns False."""
    seen: set[int] = set()
    rest = deque(_inside(value))
    while rest and len(seen) < MOST_HELD:
        item = rest.popleft()
        item = plain_function(item) or item
        if id(item) in seen or is_a(item, PLAIN):
            continue
        seen.add(id(item))
        thing = item if is_a(item, type | types.FunctionType) else type(item)
        if is_wanted(thing):
            yield thing
        if not is_thing(item):
            rest.extend(_inside(item))


def _inside(value: Any) -> Iterator[object]:
    """Yield the values that an object holds. Leave out values that can be read only by running code of the object's
    class."""
    if is_a(value, dict):
        yield from dict.values(value)
    elif is_a(value, list | tuple):
        yield from value
    elif is_a(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif is_a(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    yield from instance_dict(value).values()
