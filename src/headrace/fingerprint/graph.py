"""The code that a stage's function reaches, as a graph: a node for each object, and an edge for each name that refers
to another object."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from msgspec import Struct, field

from headrace.spec.code import Part, PartKind, digest

SEPARATOR = "\x1f"


class Node(Struct, eq=False):
    """One object that is reached. `own` is the text or digest of the object alone. `edges` lead from the names in it to
    other nodes.

    A node without a kind (a name of the standard library) isn't shown to the user as a part. `never` holds the reasons
    why outputs that depend on this node may not be reused. If the node stands for many files, `files` are its parts.
    `in_notebook` is True for an object of a notebook.
    """

    name: str
    kind: PartKind | None
    own: str = ""
    edges: dict[str, Node] = field(default_factory=dict)
    where: str | None = None
    text: str | None = None
    never: list[str] = field(default_factory=list)
    files: list[Part] = field(default_factory=list)
    in_notebook: bool = False


class Graph:
    """All nodes that are reached from a root. Each node is made only once. New nodes wait in a list to be filled, so no
    recursion is needed."""

    def __init__(self) -> None:
        self._nodes: dict[Hashable, Node] = {}
        self._unfilled: list[tuple[Node, Callable[[Node], None]]] = []
        self._kept: list[object] = []

    def node(
        self, key: Hashable, name: str, kind: PartKind | None, fill: Callable[[Node], None], keep: object = None
    ) -> Node:
        """Return the node of a key. If the key has no node yet, a new node is made, to be filled later by `fill`.
        `keep` is an object to keep alive, so that Python doesn't give its id to another object."""
        if key not in self._nodes:
            node = self._nodes[key] = Node(name, kind)
            self._unfilled.append((node, fill))
            self._kept.append(keep)
        return self._nodes[key]

    def leaf(self, key: Hashable, name: str, kind: PartKind | None, own: str, text: str | None = None) -> Node:
        """Return the node of a key, for an object without edges."""
        if key not in self._nodes:
            self._nodes[key] = Node(name, kind, own=own, text=text)
        return self._nodes[key]

    def fill(self) -> None:
        """Fill every new node, also those that are added while others are filled."""
        while self._unfilled:
            node, fill = self._unfilled.pop()
            fill(node)


def in_order(root: Node, *, without: str = "") -> list[Node]:
    """Return the nodes that a root reaches: first the root, then the nodes nearest to it. The edges of a node are
    followed in the order of their names. Edges whose names begin with `without` aren't followed."""
    order = [root]
    seen = {id(root)}
    for node in order:
        for name, target in sorted(node.edges.items()):
            if id(target) not in seen and not (without and name.startswith(without)):
                seen.add(id(target))
                order.append(target)
    return order


def graph_digest(order: list[Node]) -> str:
    """Return the digest of a whole graph.

    Each node is numbered by its place in `order`. In the digest, an edge is its name and the number of the node that it
    leads to. So cycles are no problem, and the digest changes if two names swap their targets.
    """
    number = {id(node): str(index) for index, node in enumerate(order)}
    texts = []
    for node in order:
        edges = [f"{name}{SEPARATOR}{number[id(target)]}" for name, target in sorted(node.edges.items())]
        texts += [node.kind or "", node.own, str(len(edges)), *edges]
    return digest(*texts, size=32)


def parts(order: list[Node]) -> tuple[Part, ...]:
    """Return the parts to show to the user: first the root, then the other parts, sorted by kind and name.

    For each name in a part, the part's digest includes the name of the object that it refers to. So the part changes if
    two names swap their objects.
    """
    by_name: dict[tuple[str, str], Part] = {}
    for node in order:
        if node.kind is None:
            continue
        stands_for = [f"{name}{SEPARATOR}{target.name}" for name, target in sorted(node.edges.items())]
        own = digest(node.own, *stands_for)
        same = by_name.get((node.kind, node.name))
        if same is not None and same.digest != own:
            own = digest(same.digest, own)
        by_name[node.kind, node.name] = Part(
            name=node.name, kind=node.kind, digest=own, where=node.where, text=node.text
        )
        by_name.update(((part.kind, part.name), part) for part in node.files)
    listed = list(by_name.values())
    return (*listed[:1], *sorted(listed[1:], key=lambda part: (part.kind, part.name)))
