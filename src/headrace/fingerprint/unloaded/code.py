"""Reads the code that an import inside a function reaches, from its source and without importing it.

Whether the imported module is already loaded depends on what ran before in the process. So that the digest is the same
everywhere, the module is always read as if it weren't loaded. Its constants count by their source text.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import FunctionType

from headrace.fingerprint.graph import Node
from headrace.fingerprint.names import StaticNames, global_names
from headrace.fingerprint.ports import IMPORT_TIME
from headrace.fingerprint.reached_code import ReachedCode, installed_path
from headrace.fingerprint.source.code_piece import Chain, Piece
from headrace.fingerprint.source.files import DEFINITIONS, Source
from headrace.fingerprint.source.imports import Imported, absolute
from headrace.fingerprint.source.names_in_strings import named
from headrace.fingerprint.source.normal_form import IMPORTERS
from headrace.fingerprint.unloaded.import_effects import Loading
from headrace.fingerprint.unloaded.target import Target, Targets, package_of
from headrace.spec.code import PartKind, digest


class Static:
    """Reads modules of the project from their source."""

    def __init__(self, reach: ReachedCode) -> None:
        self.reach = reach
        self.targets = Targets(reach)
        self.loading = Loading(reach, self.targets)

    # Nodes

    def follow(self, chain: Chain, at: Target) -> tuple[str, Node | None]:
        """Follow a chain of names (`a.b.c`) as far as possible. Return the part that was followed, as a text such as
        `a.b`, and the node that it leads to. `at` is the target of the chain's first name."""
        used = 1
        while at.name is None and used < len(chain) and at.is_project:
            at = self.targets.inside(at, chain[used])
            used += 1
        return ".".join(chain[:used]), self.node(at, chain[used:])

    def node(self, at: Target, rest: Chain = ()) -> Node | None:
        """Return the node of the target `at`, or None. `rest` are the attributes that are read from the target."""
        if not at.is_project:
            return self._elsewhere(at, rest)
        if at.path is None:
            return self.reach.missing(f"{at.module}.{at.name}") if at.name else self._folder(at)
        return self._whole(at.path) if at.name is None else self._name(at.path, at.name)

    def _elsewhere(self, at: Target, rest: Chain) -> Node:
        name = at.name or (rest[0] if rest else None)
        dotted = f"{at.module}.{at.name}" if at.name else at.module
        if name is not None and self.reach.widens_by_name(at.module, name):
            return self.reach.bundle()
        top = at.module.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("builtins", "headrace"):
            return self.reach.symbol(dotted, at.module)
        path = installed_path(at.module) or installed_path(top)
        return self.reach.symbol(dotted, at.module, path) if path is not None else self.reach.missing(at.module)

    def _folder(self, at: Target) -> Node:
        return self.reach.graph.leaf(("folder", at.folder), at.module, None, f"folder {at.module}")

    def _name(self, path: str, name: str) -> Node:
        return self.reach.graph.node(
            ("static", path, name), f"{self._title(path)}.{name}", "constant", lambda node: self._fill(node, path, name)
        )

    def _whole(self, path: str) -> Node:
        return self.reach.graph.node(
            ("static", path), self._title(path), "module", lambda node: self._fill_whole(node, path)
        )

    def _title(self, path: str) -> str:
        place = self.reach.project.roots.place(path)
        return place.module if place is not None else path

    def _fill(self, node: Node, path: str, name: str) -> None:
        source = self.reach.sources.at(path)
        statements = source.top.statements(name) if source is not None else []
        if source is None or not statements:
            self._fill_unbound(node, source, path, name)
            return
        node.kind = _kind(statements)
        node.where = source.where_all(statements)
        if node.kind == "constant":
            node.text = ast.unparse(statements[0])[:200]
            if not _is_literal(statements):
                self.reach.note(
                    f"`{self._title(path)}` is imported while a function runs: the source text of its constants counts"
                )
        self._check_loaded(node, source, path, name)
        self._add(node, source, path, statements)

    def _fill_unbound(self, node: Node, source: Source | None, path: str, name: str) -> None:
        """Fill the node of a name that no statement of its module binds. Such a name comes from `import *`, or is made
        in some other way."""
        node.kind = None
        node.own = digest("unbound", name)
        stars = source.top.stars if source is not None else []
        for index, star in enumerate(stars):
            at = self.targets.all(star, source)[0]
            inner = self.targets.inside(at, name) if at.is_project else at
            target = self.node(inner)
            if target is not None:
                node.edges[f"* {index}"] = target
        if not stars:
            self.reach.note(f"`{node.name}` is made while its module is loaded: all of the module counts")
            node.edges["module"] = self._whole(path)

    def _fill_whole(self, node: Node, path: str) -> None:
        source = self.reach.sources.at(path)
        if source is None:
            node.own = digest("unread", self.reach.file_digest(path))
            return
        node.where = source.where_all(source.tree.body)
        self._add(node, source, path, source.tree.body)

    def _check_loaded(self, node: Node, source: Source, path: str, name: str) -> None:
        """If the module at `path` is already loaded and `name` is a function in it, check that the source still
        compiles to this function. If it doesn't, record that outputs may not be reused."""
        for scope in self.loaded.get(path, ()):
            value = scope.get(name)
            is_here = isinstance(value, FunctionType) and value.__code__.co_filename == path
            if is_here and isinstance(value, FunctionType) and source.find(value.__code__) is None:
                self.reach.never(node, f"the source of `{node.name}` changed since it was imported")

    @cached_property
    def loaded(self) -> dict[str, list[dict[str, object]]]:
        """The globals of loaded modules, by file."""
        scopes: dict[str, list[dict[str, object]]] = {}
        for module in list(sys.modules.values()):
            scope: dict[str, object] = getattr(module, "__dict__", {})
            path = scope.get("__file__")
            if isinstance(path, str):
                scopes.setdefault(path, []).append(scope)
        return scopes

    # What a piece of an unloaded module uses

    def _add(self, node: Node, source: Source, path: str, statements: list[ast.stmt]) -> None:
        piece = source.piece(statements, StaticNames(source.top))
        node.own = digest("written", self.reach.text(piece, docs=self._docs_read(piece, source)))
        local = self.targets.of(piece.imports, source)
        self.imports(node, piece, local)
        self.loads(node, piece.late, source)
        read, bound = _global_names(source, statements)
        for name in sorted(bound - set(local) if node.kind != "module" else ()):
            self.reach.never(node, f"`{node.name}` changes the global `{name}` while it runs")
        self._check_changes(node, piece, source, local, read)
        for function, module in piece.import_calls:
            self._import_call(node, function, module, source, path)
        self.reach.note_subclasses(node, piece)
        chains = {**piece.names, **piece.outer, **piece.defaults, **piece.kept}
        texts = [chain for chain in named(piece.texts) if chain[0] in source.top.binders and chain[0] not in read]
        for chain in texts if node.kind != "module" else ():
            self._edge(node, chain, source, path)
        if "annotation" in self.reach.acting:
            chains |= {**piece.signature, **piece.annotations}
        for chain in chains:
            is_outside = chain in piece.outer or chain in piece.defaults or chain in piece.kept
            if chain[0] not in local and (chain[0] in read or is_outside):
                self._edge(node, chain, source, path)

    def _check_changes(
        self, node: Node, piece: Piece, source: Source, local: Mapping[str, list[Target]], read: frozenset[str]
    ) -> None:
        if node.kind not in ("function", "class"):
            return
        for change in piece.changes:
            name = change.base[0]
            grows = change.how == "call" and change.attribute in GROWS
            if name in source.top.binders and source.top.imported(name) is None and (grows or change.how == "step"):
                self.reach.never(node, f"`{node.name}` changes `{name}` while it runs")
            elif change.how in ("put", "step") and change.attribute is not None and (name in local or name in read):
                targets = local.get(name) or self.targets.of(source.top.imported(name) or [], source).get(name)
                targets = targets or [Target("", source.path, None, name)]
                if any(map(self._is_code, targets)):
                    self.reach.never(
                        node, f"`{node.name}` changes `{'.'.join((*change.base, change.attribute))}` while it runs"
                    )

    def _is_code(self, at: Target) -> bool:
        """Return whether an import's target is a module of the project, or a class or function in one."""
        source = self.reach.sources.at(at.path) if at.path is not None else None
        binders = source.top.binders.get(at.name or "", []) if source is not None else []
        return source is not None and (at.name is None or any(isinstance(binder, DEFINITIONS) for binder in binders))

    def _docs_read(self, piece: Piece, source: Source) -> bool:
        for chain in piece.outer:
            for imported in source.top.imported(chain[0]) or ():
                at = self.targets.locate(absolute(imported.module, imported.level, package_of(source)))
                if not at.is_project and self.reach.file_reads_docs(installed_path(at.module)):
                    return True
        return False

    def _edge(self, node: Node, chain: Chain, source: Source, path: str) -> None:
        if chain[0] not in source.top.binders:
            self._unbound_edge(node, chain, source, path)
            return
        only = source.top.imported(chain[0])
        if only is None:
            node.edges[chain[0]] = self._name(path, chain[0])
            return
        for index, target in enumerate(self.targets.of(only, source)[chain[0]]):
            label, target_node = self.follow(chain, target)
            if target_node is not None:
                node.edges[f"{label} {index}"] = target_node
                self.reach.note_whole(node, target_node)

    def _unbound_edge(self, node: Node, chain: Chain, source: Source, path: str) -> None:
        value = getattr(builtins, chain[0], None)
        widened = self.reach.widens(value) if value is not None else None
        if widened == "bundle":
            node.edges[chain[0]] = self.reach.bundle()
            self.reach.note_whole(node, node.edges[chain[0]], chain[0])
        elif widened == "module":
            node.edges[chain[0]] = self._whole(path)
            self.reach.note_whole(node, node.edges[chain[0]], chain[0])
        elif source.top.stars:
            node.edges[chain[0]] = self._name(path, chain[0])

    def _import_call(self, node: Node, function: Chain, module: str, source: Source, path: str) -> None:
        imported = source.top.imported(function[0]) or []
        is_builtin = function == ("__import__",) and function[0] not in source.top.binders
        if is_builtin or imports_by_name(function, self.targets.of(imported, source)):
            self.import_by_name(node, module)
        else:
            self._edge(node, function, source, path)

    def import_by_name(self, node: Node, module: str) -> None:
        """Add an edge to a module that is imported by its name, given as a literal."""
        at = self.targets.locate(module)
        target = self.node(at)
        if target is not None:
            node.edges[f"import_module {module}"] = target
            self.reach.note_whole(node, target)

    def imports(self, node: Node, piece: Piece, local: dict[str, list[Target]]) -> None:
        """Add an edge for each use of a name that a piece imports. If the piece imports a module but doesn't use its
        name, the whole module counts."""
        chains = {**piece.names, **piece.outer, **piece.defaults}
        dotted = {".".join(chain[:length]) for chain in chains for length in range(1, len(chain) + 1)}
        importers = {function[0] for function, _ in piece.import_calls}
        for name, targets in local.items():
            if not name:
                targets = [each for each in targets if each.module not in dotted]
            if name in importers and not any(chain[0] == name for chain in chains):
                continue
            used = [chain for chain in chains if chain[0] == name] or [(name,)]
            for chain in used:
                for index, target in enumerate(targets):
                    label, target_node = self.follow(chain, target)
                    if target_node is not None:
                        node.edges[f"import {label} {index}"] = target_node
                        self.reach.note_whole(node, target_node)

    def loads(self, node: Node, imported: Iterable[Imported], source: Source | None) -> None:
        """For modules that are imported while a function runs, add an edge to those statements of the modules that
        affect other code."""
        targets = [at for name in imported for at in self.targets.all(name, source)]
        importer = source.path if source is not None and source.place is not None else None
        for index, (path, statements) in enumerate(self.loading.acting(targets, importer) if targets else ()):
            title = self._title(path)
            node.edges[f"{IMPORT_TIME}load {index}"] = self._body(path, title, statements)
            self.reach.note(f"`{title}` is loaded while a function runs: what its body does to other code counts")

    def _body(self, path: str, title: str, statements: list[ast.stmt]) -> Node:
        key = ("loading", path, *map(id, statements))
        return self.reach.graph.node(key, title, "module", lambda node: self._fill_loading(node, path, statements))

    def _fill_loading(self, node: Node, path: str, statements: list[ast.stmt]) -> None:
        source = self.reach.sources.at(path)
        assert source is not None
        node.where = source.where_all(statements)
        self._add(node, source, path, [statement for statement in statements if not isinstance(statement, DEFINITIONS)])
        for statement in statements:
            if isinstance(statement, DEFINITIONS):
                node.edges[f"define {statement.name}"] = self._name(path, statement.name)


GROWS = frozenset({"append", "extend", "insert", "pop", "popleft", "appendleft", "popitem", "clear", "remove", "add"})
"""Methods that change a list, set or dictionary. A call of such a method counts as a change if the value's type is
unknown."""


def imports_by_name(function: Chain, local: dict[str, list[Target]]) -> bool:
    """Return whether an imported function is `importlib.import_module` or `importlib.__import__`."""
    targets = local.get(function[0], [])
    return any(target.module == "importlib" and (target.name or function[-1]) in IMPORTERS for target in targets)


def _kind(statements: list[ast.stmt]) -> PartKind:
    if all(isinstance(statement, ast.ClassDef) for statement in statements):
        return "class"
    if all(isinstance(statement, DEFINITIONS) for statement in statements):
        return "function"
    return "constant"


def _is_literal(statements: list[ast.stmt]) -> bool:
    """Return whether a constant is bound only once, and to a literal, so that its text determines its value."""
    if len(statements) != 1 or not isinstance(statements[0], ast.Assign | ast.AnnAssign):
        return False
    value = statements[0].value
    allowed = (
        ast.Constant,
        ast.Tuple,
        ast.List,
        ast.Dict,
        ast.Set,
        ast.UnaryOp,
        ast.operator,
        ast.unaryop,
        ast.expr_context,
    )
    return value is not None and all(isinstance(node, allowed) for node in ast.walk(value))


def _global_names(source: Source, statements: list[ast.stmt]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the module's names that `statements` read, and the global names that functions in these statements
    bind."""
    read: set[str] = set()
    bound: set[str] = set()
    for statement in statements:
        code = source.code_of(statement) if isinstance(statement, DEFINITIONS) else None
        if code is not None:
            names = global_names(code)
            read |= names.read
            bound |= names.bound
        else:
            read |= set(_names(statement))
    return frozenset(read), frozenset(bound)


def _names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
