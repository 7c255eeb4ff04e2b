"""Whether two traces of a pipeline say the same, though values that are given were kept anew."""

from __future__ import annotations

from collections.abc import Container, Sequence

from msgspec.structs import replace

from headrace.errors import TraceError
from headrace.run.events import Traced
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Node
from headrace.spec.stage import Stage


def unseen(
    known: Sequence[Node], known_stages: Container[str], stages: tuple[Stage, ...], nodes: tuple[Node, ...]
) -> Traced | None:
    """Compare a trace with the nodes that were known in its place, and give what is new.

    Raises:
        TraceError: the trace differs; the message names the node.
    """
    for before, after in zip(known, nodes, strict=False):
        if not same(before, after):
            otherwise = f" ({before.line}) with other arguments" if before.name == after.name else ""
            raise TraceError(
                f"the pipeline traced `{after.name}` ({after.line}) where it had traced `{before.name}`{otherwise}",
                hint="a pipeline's body must do the same each time: use `hr.now()` for the time and `.value()` for"
                " data; `headrace resume RUN --new-code` starts from the code as it is now",
            )
    new_stages = tuple(stage for stage in stages if stage.function not in known_stages)
    new_nodes = nodes[len(known) :]
    return Traced(new_stages, new_nodes) if new_nodes or new_stages else None


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
