"""Computes where to draw the nodes of a graph: in layers from top to bottom, with few crossings and straight edges.

The steps are those of Sugiyama et al. (1981). Nodes are ranked by the longest path. Each layer is ordered by the mean
place of the nodes' neighbours. Then the nodes get their horizontal places. Edges that span several layers run through
waypoints, which all edges from one source share. The horizontal places are the least squares fit to the places of the
neighbours, given the order (isotonic regression).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SWEEPS = 8

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The centres of the nodes, in units of a node's width and of a layer,
    and the path of each edge through the layers."""

    places: Mapping[str, Point]
    ways: Mapping[tuple[str, str], Sequence[Point]]
    width: float
    layers: int


@dataclass(slots=True)
class _Vertex:
    """A node, or a waypoint of edges if `name` is None."""

    name: str | None
    rank: int
    above: list[_Vertex] = field(default_factory=list)
    below: list[_Vertex] = field(default_factory=list)
    order: int = 0
    x: float = 0.0


def draw(nodes: Sequence[str], edges: Iterable[tuple[str, str]], *, waypoint_width: float = 0.25) -> Drawing:
    """Return the layout of an acyclic graph. Each edge is a pair of a node and a node below it."""
    edges = sorted(set(edges))
    ranks = _ranks(nodes, edges)
    vertices = {name: _Vertex(name, ranks[name]) for name in nodes}
    ways = _connect(vertices, edges)
    layers = _layers(vertices, ways)
    _reduce_crossings(layers)
    _place(layers, waypoint_width)
    left = min((vertex.x - _half(vertex, waypoint_width) for layer in layers for vertex in layer), default=0.0)
    right = max((vertex.x + _half(vertex, waypoint_width) for layer in layers for vertex in layer), default=0.0)
    return Drawing(
        places={name: (vertex.x - left, float(vertex.rank)) for name, vertex in vertices.items()},
        ways={edge: [(vertex.x - left, float(vertex.rank)) for vertex in way] for edge, way in ways.items()},
        width=right - left,
        layers=len(layers),
    )


def _ranks(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each node. A node is one layer below the lowest node that it needs. If a node needs no other
    node, it is one layer above the highest node that needs it."""
    below: dict[str, list[str]] = {name: [] for name in nodes}
    waits = dict.fromkeys(nodes, 0)
    for source, target in edges:
        below[source].append(target)
        waits[target] += 1
    sources = [name for name in nodes if not waits[name]]
    ranks = dict.fromkeys(nodes, 0)
    ready = list(reversed(sources))
    while ready:
        name = ready.pop()
        for target in below[name]:
            ranks[target] = max(ranks[target], ranks[name] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    for name in sources:
        ranks[name] = min((ranks[target] for target in below[name]), default=1) - 1
    return ranks


def _connect(vertices: Mapping[str, _Vertex], edges: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[_Vertex]]:
    """Join the vertices of neighbouring layers, and return the path of each edge."""
    ways = {}
    trunks: dict[str, list[_Vertex]] = {}
    for source, target in sorted(edges, key=lambda edge: vertices[edge[1]].rank):
        first, last = vertices[source], vertices[target]
        trunk = trunks.setdefault(source, [first])
        while trunk[-1].rank < last.rank - 1:
            waypoint = _Vertex(None, trunk[-1].rank + 1)
            _join(trunk[-1], waypoint)
            trunk.append(waypoint)
        way = trunk[: last.rank - first.rank]
        _join(way[-1], last)
        ways[source, target] = [*way, last]
    return ways


def _join(upper: _Vertex, lower: _Vertex) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _layers(vertices: Mapping[str, _Vertex], ways: Mapping[tuple[str, str], Sequence[_Vertex]]) -> list[list[_Vertex]]:
    """Return the vertices of each layer: first the nodes, then the waypoints."""
    every = {id(vertex): vertex for vertex in vertices.values()}
    every |= {id(vertex): vertex for way in ways.values() for vertex in way}
    layers: list[list[_Vertex]] = [[] for _ in range(max((each.rank for each in every.values()), default=-1) + 1)]
    for vertex in every.values():
        layers[vertex.rank].append(vertex)
    for layer in layers:
        _number(layer)
    return layers


def _number(layer: Sequence[_Vertex]) -> None:
    for order, vertex in enumerate(layer):
        vertex.order = order


def _reduce_crossings(layers: list[list[_Vertex]]) -> None:
    """Sort the vertices of each layer by the mean place of each vertex's neighbours in the layer before it. Go through
    the layers downward and upward in turns, and keep the order with the fewest crossings."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            layer.sort(key=lambda vertex: _mean(vertex.above if down else vertex.below, vertex.order))
            _number(layer)
        count = _crossings(layers)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept
        _number(layer)


def _mean(neighbours: Sequence[_Vertex], default: float) -> float:
    return sum(each.order for each in neighbours) / len(neighbours) if neighbours else default


def _crossings(layers: Sequence[Sequence[_Vertex]]) -> int:
    """Return how many pairs of edges cross: the inversions among the lower ends,
    with edges sorted by their upper ends."""
    count = 0
    for layer in layers:
        seen: list[int] = []
        for vertex in layer:
            lower = sorted(each.order for each in vertex.below)
            count += sum(len(seen) - bisect_left(seen, order + 1) for order in lower)
            for order in lower:
                insort(seen, order)
    return count


def _place(layers: Sequence[Sequence[_Vertex]], waypoint_width: float) -> None:
    """Set each vertex's horizontal place, as near to its neighbours as the order and the widths allow."""
    for layer in layers:
        for vertex in layer:
            vertex.x = float(vertex.order)
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            if layer:
                _fit(layer, waypoint_width, _wishes(layer, down=down, both=sweep > SWEEPS))


def _wishes(layer: Sequence[_Vertex], *, down: bool, both: bool) -> list[float]:
    wishes = []
    for vertex in layer:
        near = vertex.above if down else vertex.below
        near = [*vertex.above, *vertex.below] if both or not near else near
        wishes.append(sum(each.x for each in near) / len(near) if near else vertex.x)
    return wishes


def _fit(layer: Sequence[_Vertex], waypoint_width: float, wishes: Sequence[float]) -> None:
    """Move a layer's vertices as near to the wished places as possible while their order and distances are kept."""
    offsets = [0.0]
    for left, right in itertools.pairwise(layer):
        offsets.append(offsets[-1] + _half(left, waypoint_width) + _half(right, waypoint_width))
    blocks: list[tuple[float, float, int]] = []  # the mean of a block that moves as one, its weight, its size
    for vertex, wish, offset in zip(layer, wishes, offsets, strict=True):
        weight = 1.0 if vertex.name is not None else 4.0  # straight edges matter more than centred nodes
        mean, size = wish - offset, 1
        while blocks and blocks[-1][0] >= mean:
            before, before_weight, before_size = blocks.pop()
            mean = (mean * weight + before * before_weight) / (weight + before_weight)
            weight, size = weight + before_weight, size + before_size
        blocks.append((mean, weight, size))
    means = [mean for mean, _, size in blocks for _ in range(size)]
    for vertex, mean, offset in zip(layer, means, offsets, strict=True):
        vertex.x = mean + offset


def _half(vertex: _Vertex, waypoint_width: float) -> float:
    return 0.5 if vertex.name is not None else waypoint_width / 2
