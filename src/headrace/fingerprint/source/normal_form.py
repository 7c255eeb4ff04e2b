"""Writes a piece of code in normal form, and collects the names that the code uses. Comments and formatting are left
out.

Two pieces of code have the same normal form only if they certainly do the same. Docstrings and annotations are separate
segments because they matter only if some code reads them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from headrace.fingerprint.source.changes import Changes
from headrace.fingerprint.source.code_piece import Chain, Names, Piece, Segment, chain_of
from headrace.fingerprint.source.imports import imports_of

ANY_DEPTH = 50_000
"""Python's recursion limit while a tree is visited. So high a limit is safe: the parser has already limited the tree's
depth, and Python frames don't use the C stack."""

IMPORTERS = frozenset({"import_module", "__import__"})


def piece(nodes: Sequence[ast.AST], names: Names) -> Piece:
    """Return the normal form of statements, or of an expression."""
    writer = _Writer(names)
    with deep():
        for node in nodes:
            writer.visit(node)
    writer.piece.segments = _joined(writer.piece.segments)
    for chain in (*writer.piece.names, *writer.piece.outer):
        writer.piece.words.update(chain)
    return writer.piece


def _joined(segments: list[str | Segment]) -> list[str | Segment]:
    """Return the segments with neighbouring texts joined, so that only asides remain segments of their own."""
    joined: list[str | Segment] = []
    texts: list[str] = []
    for segment in segments:
        if isinstance(segment, str):
            texts.append(segment)
        else:
            joined += ["".join(texts), segment]
            texts.clear()
    return [*joined, "".join(texts)]


class _Deep:
    """How many contexts of `deep` are open now, in all threads, and the recursion limit before the first of them."""

    lock = Lock()
    count = 0
    before = 0


@contextmanager
def deep() -> Iterator[None]:
    """Within this context, allow functions to recurse as deep as a syntax tree may be nested.

    The recursion limit holds for all threads. So the last context that ends restores the limit, in whatever thread this
    happens.
    """
    with _Deep.lock:
        if not _Deep.count:
            _Deep.before = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_Deep.before, ANY_DEPTH))
        _Deep.count += 1
    try:
        yield
    finally:
        with _Deep.lock:
            _Deep.count -= 1
            if not _Deep.count:
                sys.setrecursionlimit(_Deep.before)


def is_idle(node: ast.stmt) -> bool:
    """Return whether a statement does nothing: `pass`, or a constant on its own, such as a docstring."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


_UNREAD = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_FIELDS = {
    kind: tuple(name for name in kind._fields if name not in _UNREAD)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


class _Writer:
    """Writes a normal form, node by node."""

    def __init__(self, names: Names) -> None:
        self.piece = Piece()
        self._out: list[str | Segment] = self.piece.segments
        self._sink = self.piece.names
        self._names = names
        self._in_class = False
        self._depth = 0
        self._in_function = 0
        self._calls = 0
        self._changes = Changes(self.piece)
        self._handlers: dict[type[ast.AST], Callable[[Any], None]] = {
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.Lambda: self._lambda,
            ast.ClassDef: self._class,
            ast.AnnAssign: self._annotated,
            ast.Assign: self._assign,
            ast.AugAssign: self._augmented,
            ast.Delete: self._delete,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.withitem: self._with,
            ast.If: self._if,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
        }

    # How each class of node is written

    def visit(self, node: ast.AST) -> None:
        """Write a node with the method for its class."""
        handler = self._handlers.get(node.__class__)
        if handler is not None:
            handler(node)
        else:
            self._plain(node)

    def _plain(self, node: ast.AST, skip: str = "") -> None:
        kind = node.__class__
        self._out.append(f"({kind.__name__} ")
        for name in _FIELDS[kind]:
            if name == skip:
                continue
            value = getattr(node, name)
            if value.__class__ is list:
                self._list(name, value)
            elif isinstance(value, ast.AST):
                self.visit(value)
            else:
                self._out.append(f"{value!r};")
        self._out.append(")")

    def _list(self, name: str, values: list[Any]) -> None:
        if name in ("body", "orelse", "finalbody"):
            self._body(values)
            return
        self._out.append("[")
        for value in values:
            if isinstance(value, ast.AST):
                self.visit(value)
            else:
                self._out.append(f"{value!r},")
        self._out.append("]")

    def _body(self, statements: list[ast.stmt]) -> None:
        self._out.append("{")
        for statement in statements:
            if not is_idle(statement):
                self.visit(statement)
            elif isinstance(statement, ast.Expr) and isinstance(text := getattr(statement.value, "value", None), str):
                self._out.append(Segment("doc", f"doc {text!r};"))
        self._out.append("}")

    def _name(self, node: ast.Name) -> None:
        self._out.append(f"${node.id} ")
        if node.ctx.__class__ is ast.Load:
            self._sink[(node.id,)] = None

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if value.__class__ is int and value.bit_length() > 10_000:
            self._out.append(f"#{value:x}h ")
            return
        self._out.append(f"#{value!r} ")
        if value.__class__ is str and value.startswith("__"):
            self.piece.words.add(value)
        if value.__class__ is str and self._calls:
            self.piece.texts[value] = None

    def _attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if chain is None:
            self.piece.words.add(node.attr)
            self._out.append(f"(.{node.attr} ")
            self.visit(node.value)
            self._out.append(")")
            return
        self.piece.words.update(chain[1:])
        self._out.append(f"${'.'.join(chain)} ")
        self._sink[chain if node.ctx.__class__ is ast.Load else chain[:-1]] = None

    def _call(self, node: ast.Call) -> None:
        self._calls += 1
        self._called(node)
        self._calls -= 1

    def _called(self, node: ast.Call) -> None:
        function = chain_of(node.func)
        self._changes.called(function, node)
        if function == ("getattr",) or function == ("hasattr",):
            read = _literal_getattr(node)
            if read is not None:
                self._sink[function] = None
                self._sink[read] = None
                self.piece.words.add(read[-1])
                sink, self._sink = self._sink, {}
                self._plain(node)
                sink.update((chain, None) for chain in self._sink if chain != read[:-1])
                self._sink = sink
                return
        if function is not None and (module := _literal_import(function, node)) is not None:
            self.piece.import_calls.append((function, module))  # a literal name, so it isn't a computed import
            sink, self._sink = self._sink, {}
            self._plain(node)
            sink.update((chain, None) for chain in self._sink if chain != function)
            self._sink = sink
            return
        self._plain(node)

    # Functions and classes

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        is_top = self._depth == 0
        decorators = [each for each in node.decorator_list if not _is_ours(each, self._names)]
        self._out.append(f"(def {node.__class__.__name__} ")
        self._out.append(Segment("name", node.name) if is_top else node.name)
        self._out.append(" [")
        self._from_outside(decorators, is_top)
        self._out.append("]")
        for each in getattr(node, "type_params", ()):
            self.visit(each)
        keep = self._in_class or bool(decorators)
        self._arguments(node.args, keep, is_top)
        self._aside(node.returns, keep, is_top)
        name, self._changes.function = self._changes.function, node.name
        self._inside(lambda: self._body(node.body))
        self._changes.function = name
        self._out.append(")")

    def _lambda(self, node: ast.Lambda) -> None:
        self._out.append("(lambda ")
        self._arguments(node.args, False, self._depth == 0)
        self._inside(lambda: self.visit(node.body))
        self._out.append(")")

    def _inside(self, write: Callable[[], None]) -> None:
        in_class, self._in_class = self._in_class, False
        self._depth += 1
        self._in_function += 1
        write()
        self._in_function -= 1
        self._depth -= 1
        self._in_class = in_class

    def _class(self, node: ast.ClassDef) -> None:
        is_top = self._depth == 0
        decorators = [each for each in node.decorator_list if not _is_ours(each, self._names)]
        self._out.append(f"(class {node.name} [")
        self._from_outside(decorators, is_top)
        self._out.append("]")
        for each in getattr(node, "type_params", ()):
            self.visit(each)
        self._from_outside([*node.bases, *node.keywords], is_top)
        in_class, self._in_class = self._in_class, True
        self._depth += 1
        self._body(node.body)
        self._depth -= 1
        self._in_class = in_class
        self._out.append(")")

    def _from_outside(self, nodes: list[Any], is_top: bool) -> None:
        sink = self._sink
        self._sink = self.piece.outer if is_top else sink
        for node in nodes:
            self.visit(node)
        self._sink = sink

    def _arguments(self, node: ast.arguments, keep: bool, is_top: bool) -> None:
        for name in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            value = getattr(node, name)
            self._out.append(f"{name}:")
            for argument in value if isinstance(value, list) else [value]:
                if argument is not None:
                    self._out.append(f"{argument.arg},")
                    self._aside(argument.annotation, keep, is_top)
        sink = self._sink
        self._sink = self.piece.defaults if is_top else sink
        self._list("defaults", node.defaults)
        self._list("kw_defaults", node.kw_defaults)
        self._sink = sink

    def _aside(self, annotation: ast.expr | None, keep: bool, is_top: bool) -> None:
        """Write an annotation. With `keep`, it becomes part of the normal form; else it becomes an aside, a segment of
        its own."""
        if annotation is None:
            return
        sink, out = self._sink, self._out
        self._sink = self.piece.kept if keep else self.piece.signature if is_top else self.piece.annotations
        self._out = []
        for each in _strings_in(annotation):
            self.visit(each)
        self._out = []
        self.visit(annotation)
        text = ":" + "".join(each if isinstance(each, str) else each.text for each in self._out)
        self._sink, self._out = sink, out
        self._out.append(text if keep else Segment("signature" if is_top else "annotation", text))

    # Statements that change things

    def _annotated(self, node: ast.AnnAssign) -> None:
        keep = self._in_class
        self._out.append("(Assign " if node.value is not None else "(AnnAssign ")
        self._out.append("[")
        self.visit(node.target)
        self._out.append("]")
        self._aside(node.annotation, keep, False)
        if node.value is not None:
            self.visit(node.value)
            self._changes.stored(node.target, node.value)
        self._out.append(")")

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._changes.stored(target, node.value)
        self._plain(node)

    def _augmented(self, node: ast.AugAssign) -> None:
        self._changes.changed(node.target, "step")
        target = chain_of(node.target)
        if target is not None:
            # `x += 1` reads `x`, although its context is Store
            self._sink[target] = None
        self._plain(node)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._changes.stored(node.target, node.iter)
        self._plain(node)

    def _with(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._changes.stored(node.optional_vars, node.context_expr)
        self._plain(node)

    def _delete(self, node: ast.Delete) -> None:
        self._out.append("(Delete ")
        rest: list[ast.expr] = list(reversed(node.targets))
        while rest:
            target = rest.pop()
            if isinstance(target, ast.Tuple | ast.List):
                rest.extend(reversed(target.elts))
                continue
            self._changes.changed(target, "step")
            self.visit(target)
        self._out.append(")")

    # Imports, and code that doesn't run

    def _if(self, node: ast.If) -> None:
        chain = chain_of(node.test)
        if chain is not None and chain[-1] == "TYPE_CHECKING" and self._names.type_checking(chain):
            for statement in node.orelse:
                if not is_idle(statement):
                    self.visit(statement)
            return
        self._plain(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        imported = imports_of(node)
        self.piece.imports.extend(imported)
        if self._in_function:
            self.piece.late.extend(imported)
        self._plain(node)


def _strings_in(annotation: ast.expr) -> list[ast.expr]:
    """Return the expressions that the strings in an annotation contain. For `list["Row"]`, this is `Row`. Strings that
    aren't expressions are left out."""
    expressions = []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                expressions.append(ast.parse(node.value.strip(), mode="eval").body)
            except (SyntaxError, ValueError):
                continue
    return expressions


def _is_ours(decorator: ast.expr, names: Names) -> bool:
    chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return chain is not None and names.ours(chain)


def _literal_import(function: Chain, node: ast.Call) -> str | None:
    """Return the name in a call such as `import_module("name")`. Return None for any other call."""
    first = node.args[0] if node.args else None
    if function[-1] not in IMPORTERS or len(node.args) + len(node.keywords) != 1:
        return None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _literal_getattr(node: ast.Call) -> Chain | None:
    """Return the chain `("name", "attribute")` for a call such as `getattr(name, "attribute")`. Return None if the
    attribute isn't a literal."""
    if len(node.args) < 2:
        return None
    base, attribute = chain_of(node.args[0]), node.args[1]
    if base is None or not isinstance(attribute, ast.Constant) or not isinstance(attribute.value, str):
        return None
    return (*base, attribute.value)
