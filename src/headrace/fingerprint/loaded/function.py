"""A loaded function: its definition in normal form, the objects that its names refer to, and the values that it
holds."""

from __future__ import annotations

import types
from collections.abc import Iterable

from headrace.fingerprint.graph import Node
from headrace.fingerprint.loaded.mutable_state import Changing
from headrace.fingerprint.names import LiveNames, global_names, resolve
from headrace.fingerprint.ports import IMPORT_TIME, Follow, Scope
from headrace.fingerprint.source.code_piece import Piece
from headrace.fingerprint.source.files import Found, Source
from headrace.spec.code import NAMED, digest


def fill_function(
    follow: Follow, node: Node, function: types.FunctionType, source: Source | None, *, signature: bool
) -> None:
    """Fill the node of a function of the project. With `signature`, the annotations of its own parameters count."""
    definition = source.find(function.__code__) if source is not None else None
    if source is None or definition is None:
        _fill_without_source(follow, node, function, source)
        return
    scope = function.__globals__
    piece = source.piece([definition.node], LiveNames(scope, follow.reach.homes))
    docs = read_by_others(follow, piece, scope)
    name = NAMED not in function.__dict__
    node.own = digest("function", follow.reach.text(piece, signature=signature, docs=docs, name=name))
    node.where = source.where(definition.node)
    cells = cells_of(function)
    follow.uses(node, piece, scope, global_names(function.__code__), cells)
    outer_edges(follow, node, piece, scope, source.evaluated_in(definition))
    if signature or "annotation" in follow.reach.acting:
        follow.chains(node, known(piece.signature, scope), scope, IMPORT_TIME)
    unread = carried(follow, node, function)
    if "default" in unread:
        follow.chains(node, piece.defaults, scope, IMPORT_TIME)
    if "cell" in unread:
        _around_edges(follow, node, source, definition, scope)
    Changing(follow.reach).check(node, function, source, definition, piece)


def _fill_without_source(follow: Follow, node: Node, function: types.FunctionType, source: Source | None) -> None:
    if source is not None or follow.reach.sources.has_text(function.__code__, function.__globals__):
        follow.reach.never(node, f"the source of `{node.name}` changed since it was imported")
    else:
        follow.reach.note(f"`{node.name}` has no source: its compiled code counts")
    node.own = digest("code", code_text(function.__code__))
    names = global_names(function.__code__).read
    follow.chains(node, [(name,) for name in sorted(names)], function.__globals__)
    carried(follow, node, function)


def carried(follow: Follow, node: Node, function: types.FunctionType, prefix: str = "") -> set[str]:
    """Add an edge for each value that a function object holds besides its code: in cells, defaults and attributes.
    Return the kinds (`cell`, `default`, `attribute`) of the values that can't be read."""
    unread = set()
    for label, name, value in _carried(function):
        encoded = follow.value(node, f"{prefix}{label} {name}", value, f"{node.name}.{prefix}{name}")
        if encoded is not None and encoded.unread:
            unread.add(label)
            kinds = ", ".join(sorted(set(encoded.unread)))
            follow.reach.note(f"`{node.name}.{prefix}{name}` has no readable value ({kinds}): its source text counts")
    return unread


def _carried(function: types.FunctionType) -> Iterable[tuple[str, str, object]]:
    for name, value in cells_of(function).items():
        yield "cell", name, value
    code = function.__code__
    defaults = function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    for name, value in zip(names, defaults, strict=False):
        yield "default", name, value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield "default", name, value
    for name, value in function.__dict__.items():
        if not name.startswith("__headrace_"):
            yield "attribute", name, value


def cells_of(function: types.FunctionType) -> Scope:
    """Return the values that a function closes over, by name."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return cells


def outer_edges(follow: Follow, node: Node, piece: Piece, scope: Scope, around: types.CodeType | None) -> None:
    """Add an edge for each global name in a piece's decorators, bases and annotations. Decorators and bases are
    evaluated by the code `around` the piece.

    If the piece is inside a function, its decorators and bases may also have names of local variables. These get no
    edge here: their values are found through closures.
    """
    inside = around is not None and around.co_name != "<module>"
    names = global_names(around).read if inside and around is not None else None
    outer = [chain for chain in piece.outer if names is None or chain[0] in names]
    follow.chains(node, outer, scope, IMPORT_TIME)
    follow.chains(node, known(piece.kept, scope), scope, IMPORT_TIME)


def known(chains: Iterable[tuple[str, ...]], scope: Scope) -> list[tuple[str, ...]]:
    """Return those `chains` whose first name is in `scope`. The chain of `helpers.clean` is `("helpers", "clean")`."""
    return [chain for chain in chains if chain[0] in scope]


def read_by_others(follow: Follow, piece: Piece, scope: Scope) -> bool:
    """Return whether a decorator or base that belongs to a distribution may read the piece's docstring. This is assumed
    if the module of the decorator or base contains `__doc__`."""
    for chain in piece.outer:
        resolved = resolve(chain, scope)
        if resolved is not None and follow.reach.reads_docs(resolved.value):
            return True
    return False


def _around_edges(follow: Follow, node: Node, source: Source, found: Found, scope: Scope) -> None:
    """If a value of a closure can't be read, add an edge to the text of the function around the closure."""
    around = source.node(found.around) if found.around is not None else None
    if around is None or found.around is None:
        return
    piece = source.piece([around], LiveNames(scope, follow.reach.homes))
    inner = Node(f"{node.name} (around)", None)
    inner.own = digest("around", follow.reach.text(piece))
    node.edges[f"{IMPORT_TIME} around"] = inner
    follow.uses(inner, piece, scope, global_names(found.around), {})


def code_text(code: types.CodeType) -> str:
    """Return a text of compiled code, for a function whose source isn't available."""
    return repr(_code_parts(code))


def _code_parts(code: types.CodeType) -> tuple[object, ...]:
    constants = [
        _code_parts(constant) if isinstance(constant, types.CodeType) else _constant(constant)
        for constant in code.co_consts
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code.hex(), code.co_argcount, code.co_kwonlyargcount, code.co_flags, names, constants)


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(repr, value))})"
    return repr(value)
