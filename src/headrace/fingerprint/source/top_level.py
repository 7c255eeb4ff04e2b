"""The top level of a module: for each name, the statements that bind it and those that use it; and the module's
imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from headrace.fingerprint.source.code_piece import chain_of
from headrace.fingerprint.source.imports import Imported, imports_of


class TopLevel:
    """An index of a module's statements, by the names that they bind or use."""

    def __init__(self, tree: ast.Module) -> None:
        self.binders: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, list[Imported]] = {}
        self.stars: list[Imported] = []
        self._users: dict[str, list[ast.stmt]] = {}
        self._registered: dict[str, list[ast.stmt]] = {}
        self._decorated: dict[str, list[ast.stmt]] = {}
        self._values: set[str] = set()
        self._made: set[str] = set()
        for statement in tree.body:
            self._add(statement)

    def imported(self, name: str) -> list[Imported] | None:
        """Return the imports that bind a name. Return None if the name isn't imported, or is also bound in another
        way."""
        return None if name in self._made else self.imports.get(name)

    def statements(self, name: str) -> list[ast.stmt]:
        """Return the statements that bind a name, and those that use it at import, since they may change its value.

        A definition with the decorator `@name.register` uses the name in this sense. A definition with the decorator
        `@name` does so only if the name is bound by an assignment.
        """
        binders = self.binders.get(name, [])
        others = [*self._users.get(name, []), *self._registered.get(name, [])] if binders else []
        if name in self._values:
            others += self._decorated.get(name, [])
        by_id = {id(each): each for each in (*binders, *others)}
        return sorted(by_id.values(), key=lambda each: (each.lineno, each.col_offset))

    def _add(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bind(statement.name, statement)
            self._made.add(statement.name)
            for decorator in statement.decorator_list:
                self._read(decorator, statement, as_user=False)
                chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator) or ("",)
                users = self._registered if len(chain) > 1 else self._decorated
                users.setdefault(chain[0], []).append(statement)
            return
        if not _is_main_guard(statement):
            self._read(statement, statement, as_user=True)

    def _read(self, node: ast.AST, statement: ast.stmt, *, as_user: bool) -> None:
        rest: list[ast.AST] = [node]
        while rest:
            current = rest.pop()
            if isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._bind(current.name, statement)
                self._made.add(current.name)
                continue
            if isinstance(current, ast.If) and is_type_checking(current.test):
                rest.extend(current.orelse)
                continue
            if isinstance(current, ast.Import | ast.ImportFrom):
                self._import(current, statement)
            elif isinstance(current, ast.Name):
                self._name(current, statement, as_user=as_user)
            elif isinstance(current, ast.ExceptHandler) and current.name:
                self._bind(current.name, statement)
            rest.extend(ast.iter_child_nodes(current))

    def _name(self, node: ast.Name, statement: ast.stmt, *, as_user: bool) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id, statement)
            self._made.add(node.id)
            self._values.add(node.id)
        elif as_user and statement not in self._users.setdefault(node.id, []):
            self._users[node.id].append(statement)

    def _bind(self, name: str, statement: ast.stmt) -> None:
        if statement not in self.binders.setdefault(name, []):
            self.binders[name].append(statement)

    def _import(self, node: ast.Import | ast.ImportFrom, statement: ast.stmt) -> None:
        for imported in imports_of(node):
            if imported.attribute == "*":
                self.stars.append(imported)
            elif imported.name:
                self.imports.setdefault(imported.name, []).append(imported)
                self._bind(imported.name, statement)


def executed(statement: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that run when its module is imported. Nodes inside functions are left out."""
    rest = [statement]
    while rest:
        node = rest.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            defaults = (*node.args.defaults, *node.args.kw_defaults)
            inner = [*getattr(node, "decorator_list", ()), *(default for default in defaults if default is not None)]
        elif isinstance(node, ast.If) and (is_type_checking(node.test) or _is_main_guard(node)):
            inner = list(node.orelse)
        else:
            inner = list(ast.iter_child_nodes(node))
        rest.extend(reversed(inner))


def is_type_checking(test: ast.expr) -> bool:
    """Return whether a condition consists of the name `TYPE_CHECKING`, or of an attribute with this name."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_main_guard(statement: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__":`, whose body doesn't run when the module is
    imported."""
    if not isinstance(statement, ast.If) or not isinstance(statement.test, ast.Compare):
        return False
    return isinstance(statement.test.left, ast.Name) and statement.test.left.id == "__name__" and not statement.orelse
