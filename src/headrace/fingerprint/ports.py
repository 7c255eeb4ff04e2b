"""The port between what fills a node and what follows its names on to other nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from headrace.fingerprint.graph import Node
from headrace.fingerprint.names import Globals
from headrace.fingerprint.reached_code import ReachedCode
from headrace.fingerprint.source.code_piece import Chain, Piece
from headrace.fingerprint.values.value import Encoded

Scope = dict[str, Any]
"""A module's globals, or a function's cells by name."""

IMPORT_TIME = "@"
"""Edges whose name starts with this are used while a module is loaded, and not when the stage runs."""


class Follow(Protocol):
    """Follows names and values; each method adds edges to the node that it is given."""

    reach: ReachedCode

    def thing(self, value: object, *, signature: bool = False) -> Node | None:
        """Return the node of a function, class or module."""

    def values_of(self, node: Node, value: object, label: str = "", title: str = "") -> Encoded:
        """Read a value, with an edge for each function, class and module in it."""

    def value(self, node: Node, label: str, value: object, title: str) -> Encoded | None:
        """Add an edge to a value that has no global name; None where it is a function, class or module."""

    def uses(self, node: Node, piece: Piece, scope: Scope, names: Globals, cells: Scope) -> None:
        """Add an edge for each name that a piece's own code uses."""

    def chains(self, node: Node, chains: Iterable[Chain], scope: Scope, prefix: str = "") -> None:
        """Add an edge for each chain, from a module's globals."""

    def written(self, node: Node, name: str, scope: Scope) -> str:
        """Return the text of what binds a global name and uses it at import, with an edge for each of its names."""

    def scope_module(self, scope: Scope) -> Node:
        """Return the node of a whole module of the project, by its globals."""
