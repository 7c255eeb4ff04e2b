"""Code that is reached by an import inside of a function, read from its source: nothing is imported to look at it.

Whether such a module is loaded depends on what ran before, so it is never looked at as loaded: the same digest comes
out in every process. Its constants count as written.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from typing import NamedTuple

from headrace.define.code.graph import Node, digest
from headrace.define.code.names import global_names
from headrace.define.code.normal import Chain, Imported, Piece
from headrace.define.code.reach import Reach, installed_path
from headrace.define.code.roots import file_of
from headrace.define.code.source import Source


class Target(NamedTuple):
    """What an import gives: a module of the project (`path`; `folder` for a package), or a name elsewhere."""

    module: str
    path: str | None = None
    folder: str | None = None
    name: str | None = None


class Static:
    """Reads modules of the project from their source."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach

    # Imports

    def targets(self, imported: list[Imported], package: str) -> dict[str, list[Target]]:
        """Give what each name that imports bind stands for; two where a `try` has two imports of one name."""
        found: dict[str, list[Target]] = {}
        for each in imported:
            found.setdefault(each.name, []).append(self.target(each, package))
        return found

    def target(self, imported: Imported, package: str) -> Target:
        """Give what an import stands for."""
        module = absolute(imported.module, imported.level, package)
        at = self.locate(module)
        if imported.attribute is None or imported.attribute == "*":
            return at
        return self.inside(at, imported.attribute)

    def inside(self, at: Target, name: str) -> Target:
        """Give what a name of a module stands for: what the module binds, else a module inside of it."""
        if at.name is not None or (at.path is None and at.folder is None):
            return at
        if at.path is not None:
            source = self.reach.sources.at(at.path)
            if source is not None and name in source.top.binders:
                return at._replace(name=name)
        inner = self._in_folder(at.folder, name, f"{at.module}.{name}") if at.folder is not None else None
        return inner or at._replace(name=name)

    def locate(self, module: str) -> Target:
        """Find a module by its name: in the project, or else only by name."""
        loaded = sys.modules.get(module)
        path = file_of(loaded) if loaded is not None else None
        if path is not None and self.reach.project.roots.place(path) is not None:
            return _module(module, path)
        if loaded is not None and self.reach.homes.of_module(module) != "project":
            return Target(module)
        for folder in self._folders():
            found = self._in_folder(folder, module.replace(".", os.sep), module)
            if found is not None:
                return found
        return Target(module)

    def _folders(self) -> list[str]:
        roots = self.reach.project.roots
        imported_from = [os.path.abspath(each) for each in sys.path]
        inside = [each for each in imported_from if roots.place(os.path.join(each, "_.py")) is not None]
        return list(dict.fromkeys([*inside, *roots.roots]))

    def _in_folder(self, folder: str, relative: str, module: str) -> Target | None:
        base = os.path.join(folder, relative)
        for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
            if os.path.isfile(path) and self.reach.project.roots.place(path) is not None:
                return _module(module, path)
        if os.path.isdir(base) and self.reach.project.roots.place(os.path.join(base, "_.py")) is not None:
            return Target(module, folder=base)
        return None

    # Nodes

    def follow(self, chain: Chain, at: Target) -> tuple[str, Node | None]:
        """Give the node that a chain leads to from what its first name stands for, and how much of it led there."""
        used = 1
        while at.name is None and used < len(chain) and (at.path is not None or at.folder is not None):
            at = self.inside(at, chain[used])
            used += 1
        return ".".join(chain[:used]), self.node(at, chain[used:])

    def node(self, at: Target, rest: Chain = ()) -> Node | None:
        """Give the node of what an import stands for."""
        if at.path is None and at.folder is None:
            return self._elsewhere(at.module, rest)
        if at.path is None:
            return self.reach.missing(at.module)
        if at.name is None:
            return self.module(at.path)
        return self.name(at.path, at.name)

    def _elsewhere(self, module: str, rest: Chain) -> Node:
        home = self.reach.homes.of_module(module)
        if home != "other" or module in sys.modules:
            loaded = sys.modules.get(module)
            value = vars(loaded).get(rest[0]) if loaded is not None and rest else None
            if value is not None and self.reach.widens(value) == "bundle":
                return self.reach.bundle()
            return self.reach.symbol(module, module)
        path = installed_path(module) or installed_path(module.partition(".")[0])
        if path is None:
            return self.reach.missing(module)
        return self.reach.symbol(module, module, path)

    def name(self, path: str, name: str) -> Node:
        """Give the node of what a module binds to a name."""
        source = self.reach.sources.at(path)
        title = f"{source.place.module}.{name}" if source is not None and source.place else name
        return self.reach.graph.node(("static", path, name), title, "constant", lambda node: self._fill(node, path, name))

    def module(self, path: str) -> Node:
        """Give the node of a whole module."""
        source = self.reach.sources.at(path)
        title = source.place.module if source is not None and source.place else path
        return self.reach.graph.node(("static", path), title, "module", lambda node: self._fill_module(node, path))

    def _fill(self, node: Node, path: str, name: str) -> None:
        source = self.reach.sources.at(path)
        if source is None:
            node.own = digest("unread", self.reach.sources.text(path) or "")
            return
        statements = source.top.statements(name)
        if not statements:
            self._fill_unbound(node, source, path, name)
            return
        node.kind = _kind(statements)
        node.where = source.where_all(statements)
        if node.kind == "constant" and not _is_literal(statements):
            self.reach.note(f"`{node.name}` is imported while a function runs: it counts as written")
        self._add(node, source, path, statements)

    def _fill_unbound(self, node: Node, source: Source, path: str, name: str) -> None:
        """A name that a module doesn't bind itself comes from `import *`, or is made while the module is loaded."""
        node.kind = None
        node.own = f"unbound {name}"
        stars = [each for each in source.top.stars if each.attribute == "*"]
        for index, each in enumerate(stars):
            at = self.target(each, package_of(source))
            inner = self.inside(at, name)
            found = self.node(inner if inner.path else at)
            if found is not None:
                node.edges[f"* {index}"] = found
        if not stars:
            self.reach.note(f"`{node.name}` is made while its module is loaded: all of the module counts")
            node.edges["module"] = self.module(path)

    def _fill_module(self, node: Node, path: str) -> None:
        source = self.reach.sources.at(path)
        if source is None:
            node.own = digest("unread", self.reach.sources.text(path) or "")
            return
        node.where = source.where_all(source.tree.body)
        self._add(node, source, path, source.tree.body)

    def _add(self, node: Node, source: Source, path: str, statements: list[ast.stmt]) -> None:
        piece = source.piece(statements, StaticNames(self, source))
        node.own = digest("written", self.reach.text(piece))
        self.edges(node, piece, source, path, self._global_names(source, statements))

    def _global_names(self, source: Source, statements: list[ast.stmt]) -> frozenset[str]:
        found: set[str] = set()
        code = source.code_of
        for each in statements:
            inner = code(each) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else None
            if inner is not None:
                found |= global_names(inner).read
                found |= {chain.id for decorator in each.decorator_list for chain in _names(decorator)}  # type: ignore[attr-defined]
            else:
                found |= {name.id for name in _names(each)}
        return frozenset(found)

    def edges(self, node: Node, piece: Piece, source: Source, path: str, names: frozenset[str]) -> None:
        """Add an edge for each name that a piece of an unloaded module uses."""
        local = self.targets(piece.imports, package_of(source))
        self.imports(node, piece, local)
        chains = {**piece.names, **piece.outer, **piece.defaults, **piece.annotations}
        if "annotation" in self.reach.acting:
            chains |= piece.signature
        for chain in chains:
            if chain[0] in local:
                continue
            if chain[0] not in names and chain not in piece.outer and chain not in piece.defaults:
                continue
            if chain[0] in source.top.binders:
                self._edge(node, chain, source, path)
            elif hasattr(builtins, chain[0]):
                self._builtin(node, chain, path)
            elif source.top.stars:
                node.edges[chain[0]] = self.name(path, chain[0])

    def _edge(self, node: Node, chain: Chain, source: Source, path: str) -> None:
        only = source.top.imported(chain[0])
        if only is None:
            node.edges[chain[0]] = self.name(path, chain[0])
            return
        for index, target in enumerate(self.targets(only, package_of(source))[chain[0]]):
            label, found = self.follow(chain, target)
            if found is not None:
                node.edges[f"{label} {index}" if index else label] = found

    def _builtin(self, node: Node, chain: Chain, path: str) -> None:
        widened = self.reach.widens(getattr(builtins, chain[0]))
        if widened == "bundle":
            self.reach.note(f"`{chain[0]}` in `{node.name}`: all Python of the project counts")
            node.edges[chain[0]] = self.reach.bundle()
        elif widened == "module":
            self.reach.note(f"`{chain[0]}` in `{node.name}`: all of its module counts")
            node.edges[chain[0]] = self.module(path)

    def imports(self, node: Node, piece: Piece, local: dict[str, list[Target]]) -> None:
        """Add an edge for each use of what a piece imports; a module that is imported and not used counts whole."""
        chains = {**piece.names, **piece.outer, **piece.defaults}
        for name, targets in local.items():
            used = [chain for chain in chains if chain[0] == name] or [(name,)]
            for chain in used:
                for index, target in enumerate(targets):
                    label, found = self.follow(chain, target)
                    if found is not None:
                        node.edges[f"import {label} {target.module} {index}"] = found
                        self._note_whole(node, found)

    def _note_whole(self, node: Node, found: Node) -> None:
        if found.kind == "module":
            self.reach.note(f"`{found.name}` is used as a value in `{node.name}`: all of it counts")
        elif found.kind == "bundle":
            self.reach.note(f"a computed import in `{node.name}`: all Python of the project counts")


class StaticNames:
    """The names of an unloaded module, as far as normal forms depend on them."""

    def __init__(self, static: Static, source: Source) -> None:
        self._static = static
        self._source = source

    def ours(self, chain: Chain) -> bool:
        """Say whether a name was imported from Headrace."""
        imported = self._source.top.imported(chain[0])
        return bool(imported) and all(each.module.partition(".")[0] == "headrace" for each in imported or ())

    def type_checking(self, chain: Chain) -> bool:
        """Say whether a name was imported from `typing`."""
        imported = self._source.top.imported(chain[0])
        return bool(imported) and all(each.module in ("typing", "typing_extensions") for each in imported or ())


def absolute(module: str, level: int, package: str) -> str:
    """Give the absolute name of a module that is imported from inside of a package."""
    if not level:
        return module
    base = package.split(".") if package else []
    base = base[: len(base) - (level - 1)] if level > 1 else base
    return ".".join([*base, module] if module else base)


def package_of(source: Source) -> str:
    """Give the package that a source's relative imports start from."""
    if source.place is None:
        return ""
    if source.place.relative.endswith("__init__.py"):
        return source.place.module
    return source.place.module.rpartition(".")[0]


def _module(module: str, path: str) -> Target:
    folder = os.path.dirname(path) if os.path.basename(path) == "__init__.py" else None
    return Target(module, path, folder)


def _kind(statements: list[ast.stmt]) -> str:
    return "constant"


def _is_literal(statements: list[ast.stmt]) -> bool:
    return True


def _names(node: ast.AST) -> list[ast.Name]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Name)]
