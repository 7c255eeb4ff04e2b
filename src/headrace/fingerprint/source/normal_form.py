"""A piece of code in normal form, with the names it uses: no comments, no formatting, docstrings and annotations apart.

The normal form is a text that two pieces of code share when they do the same for sure. Docstrings and annotations lie
in it as segments of their own, since only who reads the code knows whether they act.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from headrace.fingerprint.source.code_piece import Chain, Change, Given, Names, Piece, Segment, chain_of
from headrace.fingerprint.source.imports import imports_of

ANY_DEPTH = 50_000
"""The parser has bounded the depth of a tree already; Python frames for it are cheap and are not on the C stack."""

MUTATORS = frozenset(
    {"append", "appendleft", "extend", "extendleft", "insert", "remove", "pop", "popleft", "popitem", "clear", "sort"}
    | {"reverse", "rotate", "add", "discard", "update", "setdefault", "difference_update", "intersection_update"}
    | {"symmetric_difference_update", "subtract", "write", "writelines", "send", "throw", "put", "put_nowait", "fill"}
    | {"resize", "setflags", "itemset", "__setitem__", "__delitem__", "__setattr__", "__iadd__", "__next__"}
)
"""Methods that change what they are called on."""

CHANGERS = frozenset(
    {"next", "heappush", "heappop", "heapify", "heapreplace", "heappushpop"}
    | {"insort", "insort_left", "insort_right", "shuffle"}
)
"""Functions that change their first argument."""

SETTERS = frozenset({"setattr", "delattr", "setitem", "delitem"})
"""Functions that set something of their first argument, whatever it is."""


IMPORTERS = frozenset({"import_module", "__import__"})


def piece(nodes: Sequence[ast.AST], names: Names) -> Piece:
    """Bring statements, or an expression, into normal form."""
    writer = _Writer(names)
    with deep():
        for node in nodes:
            writer.top(node)
    writer.piece.segments = _joined(writer.piece.segments)
    for chain in (*writer.piece.names, *writer.piece.outer):
        writer.piece.words.update(chain)
    return writer.piece


def _joined(segments: list[str | Segment]) -> list[str | Segment]:
    """Give segments with those that always count joined to as few as can be."""
    joined: list[str | Segment] = []
    texts: list[str] = []
    for each in segments:
        if isinstance(each, str):
            texts.append(each)
        else:
            joined += ["".join(texts), each]
            texts.clear()
    return [*joined, "".join(texts)]


@contextmanager
def deep() -> Iterator[None]:
    """Let functions recurse as deep as a syntax tree is."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, ANY_DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def is_idle(node: ast.stmt) -> bool:
    """Say whether a statement does nothing: `pass`, or a constant by itself, such as a docstring."""
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
        self._function_name = ""
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

    def top(self, node: ast.AST) -> None:
        self._visit(node)

    # How each kind of node is written

    def _visit(self, node: ast.AST) -> None:
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
                self._visit(value)
            else:
                self._out.append(f"{value!r};")
        self._out.append(")")

    def _list(self, name: str, values: list[Any]) -> None:
        if name in ("body", "orelse", "finalbody"):
            self._body(values)
            return
        self._out.append("[")
        for each in values:
            if isinstance(each, ast.AST):
                self._visit(each)
            else:
                self._out.append(f"{each!r},")
        self._out.append("]")

    def _body(self, statements: list[ast.stmt]) -> None:
        self._out.append("{")
        for each in statements:
            if not is_idle(each):
                self._visit(each)
            elif isinstance(each, ast.Expr) and isinstance(text := getattr(each.value, "value", None), str):
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
            self._visit(node.value)
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
        if function is not None:
            self._note_call(function, node)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            self._note_base(node.func.value, "call", node.func.attr)
        if function == ("getattr",) or function == ("hasattr",):
            read = self._literal_getattr(node)
            if read is not None:
                self._sink[function] = None
                self._sink[read] = None
                self.piece.words.add(read[-1])
                sink, self._sink = self._sink, {}
                self._plain(node)
                sink.update((chain, None) for chain in self._sink if chain != read[:-1])
                self._sink = sink
                return
        if self._imports_literally(function, node):
            sink, self._sink = self._sink, {}
            self._plain(node)
            sink.update((chain, None) for chain in self._sink if chain != function)
            self._sink = sink
            return
        self._plain(node)

    def _imports_literally(self, function: Chain | None, node: ast.Call) -> bool:
        """Note `import_module("name")`, whose function is no computed import then."""
        first = node.args[0] if node.args else None
        if function is None or function[-1] not in IMPORTERS or len(node.args) + len(node.keywords) != 1:
            return False
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            return False
        self.piece.import_calls.append((function, first.value))
        return True

    def _literal_getattr(self, node: ast.Call) -> Chain | None:
        if len(node.args) < 2:
            return None
        base, attribute = chain_of(node.args[0]), node.args[1]
        if base is None or not isinstance(attribute, ast.Constant) or not isinstance(attribute.value, str):
            return None
        return (*base, attribute.value)

    def _note_call(self, function: Chain, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        if len(function) > 1 and function[-1] in MUTATORS:
            self.piece.changes.append(Change(function[:-1], "call", function[-1], self._function_name))
        if function[-1] in CHANGERS and first is not None:
            self._note_base(first, "call", function[-1])
        elif function[-1] in SETTERS and first is not None:
            self._note_base(first, "step", function[-1])
        for position, each in enumerate(node.args):
            if isinstance(each, ast.Name):
                self.piece.given.append(Given(function, position, each.id))
        for keyword in node.keywords:
            if keyword.arg is not None and isinstance(keyword.value, ast.Name):
                self.piece.given.append(Given(function, keyword.arg, keyword.value.id))

    # Functions and classes

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        is_top = self._depth == 0
        decorators = [each for each in node.decorator_list if not self._is_ours(each)]
        self._out.append(f"(def {node.__class__.__name__} ")
        self._out.append(Segment("name", node.name) if is_top else node.name)
        self._out.append(" [")
        self._from_outside(decorators, is_top)
        self._out.append("]")
        self._type_parameters(node)
        keep = self._in_class or bool(decorators)
        self._arguments(node.args, keep, is_top)
        self._aside(node.returns, keep, is_top)
        name, self._function_name = self._function_name, node.name
        self._inside(lambda: self._body(node.body))
        self._function_name = name
        self._out.append(")")

    def _lambda(self, node: ast.Lambda) -> None:
        self._out.append("(lambda ")
        self._arguments(node.args, False, self._depth == 0)
        self._inside(lambda: self._visit(node.body))
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
        decorators = [each for each in node.decorator_list if not self._is_ours(each)]
        self._out.append(f"(class {node.name} [")
        self._from_outside(decorators, is_top)
        self._out.append("]")
        self._type_parameters(node)
        self._from_outside([*node.bases, *node.keywords], is_top)
        in_class, self._in_class = self._in_class, True
        self._depth += 1
        self._body(node.body)
        self._depth -= 1
        self._in_class = in_class
        self._out.append(")")

    def _type_parameters(self, node: ast.AST) -> None:
        for each in getattr(node, "type_params", ()):
            self._visit(each)

    def _from_outside(self, nodes: list[Any], is_top: bool) -> None:
        sink = self._sink
        self._sink = self.piece.outer if is_top else sink
        for each in nodes:
            self._visit(each)
        self._sink = sink

    def _is_ours(self, decorator: ast.expr) -> bool:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        chain = chain_of(called)
        return chain is not None and self._names.ours(chain)

    def _arguments(self, node: ast.arguments, keep: bool, is_top: bool) -> None:
        for name in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            value = getattr(node, name)
            self._out.append(f"{name}:")
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    self._out.append(f"{each.arg},")
                    self._aside(each.annotation, keep, is_top)
        sink = self._sink
        self._sink = self.piece.defaults if is_top else sink
        self._list("defaults", node.defaults)
        self._list("kw_defaults", node.kw_defaults)
        self._sink = sink

    def _aside(self, annotation: ast.expr | None, keep: bool, is_top: bool) -> None:
        """Write an annotation: into the text where it is kept, else beside it."""
        if annotation is None:
            return
        sink, out = self._sink, self._out
        self._sink = self.piece.kept if keep else self.piece.signature if is_top else self.piece.annotations
        self._out = []
        for each in _strings_in(annotation):
            self._visit(each)
        self._out = []
        self._visit(annotation)
        text = ":" + "".join(each if isinstance(each, str) else each.text for each in self._out)
        self._sink, self._out = sink, out
        self._out.append(text if keep else Segment("signature" if is_top else "annotation", text))

    # Statements that change things

    def _annotated(self, node: ast.AnnAssign) -> None:
        keep = self._in_class
        self._out.append("(Assign " if node.value is not None else "(AnnAssign ")
        self._out.append("[")
        self._visit(node.target)
        self._out.append("]")
        self._aside(node.annotation, keep, False)
        if node.value is not None:
            self._visit(node.value)
            self._note_store(node.target, node.value)
        self._out.append(")")

    def _assign(self, node: ast.Assign) -> None:
        for each in node.targets:
            self._note_store(each, node.value)
        self._plain(node)

    def _augmented(self, node: ast.AugAssign) -> None:
        self._note_change(node.target, "step")
        target = chain_of(node.target)
        if target is not None:
            # `x += 1` reads `x` though its context is Store
            self._sink[target] = None
        self._plain(node)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._note_store(node.target, node.iter)
        self._plain(node)

    def _with(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._note_store(node.optional_vars, node.context_expr)
        self._plain(node)

    def _delete(self, node: ast.Delete) -> None:
        self._out.append("(Delete ")
        rest: list[ast.expr] = list(reversed(node.targets))
        while rest:
            each = rest.pop()
            if isinstance(each, ast.Tuple | ast.List):
                rest.extend(reversed(each.elts))
                continue
            self._note_change(each, "step")
            self._visit(each)
        self._out.append(")")

    def _note_store(self, target: ast.expr, value: ast.expr) -> None:
        rest = [target]
        while rest:
            each = rest.pop()
            if isinstance(each, ast.Tuple | ast.List):
                rest.extend(each.elts)
            elif isinstance(each, ast.Starred):
                rest.append(each.value)
            elif isinstance(each, ast.Attribute | ast.Subscript):
                root = root_of(each)
                reads = any(isinstance(inner, ast.Name) and inner.id == root for inner in ast.walk(value))
                self._note_change(each, "step" if reads else "put")

    def _note_change(self, target: ast.expr, how: Literal["put", "step"]) -> None:
        if isinstance(target, ast.Attribute):
            self._note_base(target.value, how, target.attr)
        elif isinstance(target, ast.Subscript):
            self._note_base(target.value, how, None)
        elif isinstance(target, ast.Name) and how == "step":
            self.piece.changes.append(Change((target.id,), "bind", None, self._function_name))

    def _note_base(self, base: ast.expr, how: Literal["put", "step", "call"], attribute: str | None) -> None:
        chain = chain_of(base)
        if chain is None:
            root = root_of(base)
            chain = (root,) if root is not None else None
        if chain is not None:
            self.piece.changes.append(Change(chain, how, attribute, self._function_name))

    # Imports, and what is not run

    def _if(self, node: ast.If) -> None:
        chain = chain_of(node.test)
        if chain is not None and chain[-1] == "TYPE_CHECKING" and self._names.type_checking(chain):
            for each in node.orelse:
                if not is_idle(each):
                    self._visit(each)
            return
        self._plain(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        imported = imports_of(node)
        self.piece.imports.extend(imported)
        if self._in_function:
            self.piece.late.extend(imported)
        self._plain(node)


def root_of(node: ast.expr) -> str | None:
    """Give the name at the root of `a.b[c].d(e)`."""
    inner: ast.AST = node
    while True:
        match inner:
            case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Call(func=ast.Attribute(value=value)):
                inner = value
            case ast.Call(func=ast.Name(id="vars"), args=[value]):
                inner = value
            case ast.Call(func=ast.Name(id="globals")):
                return "globals"
            case ast.Name(id=name):
                return name
            case _:
                return None


def _strings_in(annotation: ast.expr) -> list[ast.expr]:
    """Give what the strings in an annotation say, as far as they are expressions: `list["Row"]` names `Row`."""
    found = []
    for each in ast.walk(annotation):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            try:
                found.append(ast.parse(each.value.strip(), mode="eval").body)
            except (SyntaxError, ValueError):
                continue
    return found
