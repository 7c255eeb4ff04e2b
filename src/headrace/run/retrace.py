"""Whether two traces of a pipeline say the same, though values that are given were kept anew."""

from __future__ import annotations

from msgspec.structs import replace

from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Node


def same(before: Node, after: Node) -> bool:
    """Say whether two nodes are the same call: values count by what they are, not by the generation that holds them."""
    return before == after or _bare(before) == _bare(after)


def _bare(node: Node) -> Node:
    return replace(node, args=tuple([(name, _identified(arg)) for name, arg in node.args]))


def _identified(arg: Arg) -> Arg:
    match arg:
        case Const(ref=ref):
            return Const(Ref(digest=ref.identity, size=ref.size, codec=ref.codec, type=ref.type))
        case Many(shape=shape, items=items, names=names):
            return Many(shape, tuple([_identified(item) for item in items]), names)
        case _:
            return arg
