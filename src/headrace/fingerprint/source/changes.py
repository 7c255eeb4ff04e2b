"""Finds the values that a piece of code changes in place, by itself or by passing them to calls. Values are known by
their names, and only changes that the text of the code shows are found."""

from __future__ import annotations

import ast
from typing import Literal

from headrace.fingerprint.source.code_piece import Chain, Change, Given, Piece, chain_of

MUTATORS = frozenset(
    {"append", "appendleft", "extend", "extendleft", "insert", "remove", "pop", "popleft", "popitem", "clear", "sort"}
    | {"reverse", "rotate", "add", "discard", "update", "setdefault", "difference_update", "intersection_update"}
    | {"symmetric_difference_update", "subtract", "write", "writelines", "send", "throw", "put", "put_nowait", "fill"}
    | {"resize", "setflags", "itemset", "__setitem__", "__delitem__", "__setattr__", "__iadd__", "__next__"}
)
"""Methods that change the object they are called on."""

CHANGERS = frozenset(
    {"next", "heappush", "heappop", "heapify", "heapreplace", "heappushpop"}
    | {"insort", "insort_left", "insort_right", "shuffle"}
)
"""Functions that change their first argument."""

SETTERS = frozenset({"setattr", "delattr", "setitem", "delitem"})
"""Functions that set an item or attribute of their first argument."""


class Changes:
    """Records which values a piece changes, and which names it passes to calls. `function` is the name of the function
    whose body is being read."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self.function = ""

    def called(self, function: Chain | None, node: ast.Call) -> None:
        """Record what a call changes, and which names are passed to it. `function` is the name that is called, or None
        if no plain name is called."""
        if function is not None:
            self._called(function, node)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            self._base(node.func.value, "call", node.func.attr)

    def stored(self, target: ast.expr, value: ast.expr) -> None:
        """Record what an assignment of a value to a target changes."""
        rest = [target]
        while rest:
            current = rest.pop()
            if isinstance(current, ast.Tuple | ast.List):
                rest.extend(current.elts)
            elif isinstance(current, ast.Starred):
                rest.append(current.value)
            elif isinstance(current, ast.Attribute | ast.Subscript):
                root = root_of(current)
                reads = any(isinstance(inner, ast.Name) and inner.id == root for inner in ast.walk(value))
                self.changed(current, "step" if reads else "put")

    def changed(self, target: ast.expr, how: Literal["put", "step"]) -> None:
        """Record that `target` (an item, an attribute or a name) is set or deleted."""
        if isinstance(target, ast.Attribute):
            self._base(target.value, how, target.attr)
        elif isinstance(target, ast.Subscript):
            self._base(target.value, how, None)
        elif isinstance(target, ast.Name) and how == "step":
            self._piece.changes.append(Change((target.id,), "bind", None, self.function))

    def _called(self, function: Chain, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        if len(function) > 1 and function[-1] in MUTATORS:
            self._piece.changes.append(Change(function[:-1], "call", function[-1], self.function))
        if function[-1] in CHANGERS and first is not None:
            self._base(first, "call", function[-1])
        elif function[-1] in SETTERS and first is not None:
            self._base(first, "step", function[-1])
        for position, argument in enumerate(node.args):
            if isinstance(argument, ast.Name):
                self._piece.given.append(Given(function, position, argument.id))
        for keyword in node.keywords:
            if keyword.arg is not None and isinstance(keyword.value, ast.Name):
                self._piece.given.append(Given(function, keyword.arg, keyword.value.id))

    def _base(self, base: ast.expr, how: Literal["put", "step", "call"], attribute: str | None) -> None:
        chain = chain_of(base)
        if chain is None:
            root = root_of(base)
            chain = (root,) if root is not None else None
        if chain is not None:
            self._piece.changes.append(Change(chain, how, attribute, self.function))


def root_of(node: ast.expr) -> str | None:
    """Return the name at the root of an expression, or None if there is no such name. In `a.b[c].d(e)`, it is `a`."""
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
