"""The interface between the code that fills a node and the code that follows the node's names to other nodes."""

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
"""Prefix of the names of edges that matter only while a module is loaded, not while the stage runs."""


class Follow(Protocol):
    """Follows names and values; each method that takes a node adds edges to it."""

    reach: ReachedCode

    def thing(self, value: object, *, signature: bool = False) -> Node | None:
        """Return the node of a function, class or module; None for anything else."""

    def values_of(self, node: Node, value: object, label: str = "", title: str = "") -> Encoded:
        """Return a value's digest, and add an edge for each function, class and module in the value."""

    def value(self, node: Node, label: str, value: object, title: str) -> Encoded | None:
        """Add an edge to a value without a global name, and return the value's digest. For a function, class or module,
        return None."""

    def uses(self, node: Node, piece: Piece, scope: Scope, names: Globals, cells: Scope) -> None:
        """Add an edge for each name that a piece's own code uses."""

    def chains(self, node: Node, chains: Iterable[Chain], scope: Scope, prefix: str = "") -> None:
        """Add an edge to the object of each chain of names (`helpers.clean`). Chains begin in `scope`, the globals of a
        module."""

    def written(self, node: Node, name: str, scope: Scope) -> str:
        """Return the text of the statements that bind a global name or use it at import. Add an edge for each name in
        these statements."""

    def scope_module(self, scope: Scope) -> Node:
        """Return the node of a whole module of the project. `scope` are the module's globals."""
