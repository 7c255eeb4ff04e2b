"""The normal form of a piece of code, and the names that it uses and changes."""

from __future__ import annotations

import ast
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct, field

from headrace.fingerprint.source.imports import Imported

Chain = tuple[str, ...]
"""A name and the attributes read from it: `helpers.clean` is `("helpers", "clean")`."""

Aside = Literal["doc", "signature", "annotation", "name"]
"""Kinds of text in a piece that count only if some code reads them: docstrings, the annotations of the piece's own
signature, the other annotations inside the piece, and, if the piece is a function, its own name."""


def chain_of(node: ast.AST) -> Chain | None:
    """Return the chain of an expression that is only a name, or attributes read from a name (`helpers.clean`). Return
    None for any other expression."""
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


class Names(Protocol):
    """Tells what the names in a piece refer to, as far as the piece's normal form depends on this."""

    def ours(self, chain: Chain) -> bool:
        """Return whether a decorator is Headrace's."""
        ...

    def type_checking(self, chain: Chain) -> bool:
        """Return whether a name is `typing.TYPE_CHECKING`."""
        ...


class Segment(NamedTuple):
    """A part of a normal form that is an aside, such as a docstring. It enters a digest only if some code may read
    asides of this kind."""

    kind: Aside
    text: str


class Change(NamedTuple):
    """A place where a piece of code changes the value of a name in place.

    `base` is what is changed. `how` is the way: `put` stores an item or attribute; `step` stores an item or attribute
    that is computed from its old value; `call` calls a method or function that is known to change `base`; `bind`
    rebinds the name itself, as `+=` does. `attribute` is the attribute stored, or the method. `function` is the name of
    the function that makes the change.
    """

    base: Chain
    how: Literal["put", "step", "call", "bind"]
    attribute: str | None
    function: str


class Given(NamedTuple):
    """A name that is passed to a function: the function, the argument's position or keyword, and the name itself."""

    function: Chain
    slot: int | str
    name: str


class Piece(Struct, eq=False):
    """The normal form of a piece of code, and the names, strings and imports that the code uses.

    `names` are used by the code itself, `outer` by its decorators and bases, `defaults` by its default arguments (the
    surrounding code evaluates decorators, bases and default arguments). `kept` are used by annotations that are always
    part of the normal form. `signature` are used by the annotations of the piece's own signature, and `annotations` by
    all other annotations; such annotations are part of the normal form only if some code reads them. `words` are all
    names and attributes, and all strings that begin with two underscores. `late` are those of the `imports` that run
    only when a function runs. `texts` are the strings that are passed to calls, since they may contain names.
    """

    segments: list[str | Segment] = field(default_factory=list)
    names: dict[Chain, None] = field(default_factory=dict)
    outer: dict[Chain, None] = field(default_factory=dict)
    defaults: dict[Chain, None] = field(default_factory=dict)
    kept: dict[Chain, None] = field(default_factory=dict)
    annotations: dict[Chain, None] = field(default_factory=dict)
    signature: dict[Chain, None] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    imports: list[Imported] = field(default_factory=list)
    late: list[Imported] = field(default_factory=list)
    import_calls: list[tuple[Chain, str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    texts: dict[str, None] = field(default_factory=dict)

    def text(self, kinds: frozenset[Aside]) -> str:
        """Return the normal form with only these kinds of asides (docstrings, annotations, the function's name)."""
        return "".join(
            segment if isinstance(segment, str) else segment.text
            for segment in self.segments
            if isinstance(segment, str) or segment.kind in kinds
        )
