"""Graphs and values for tests and benchmarks that have no user code: stages that exist by name only.

sketch = Sketch()
raw = sketch.node("load")
sketch.node("fit", table=raw, over=["depth"], depth=numbers(4, 6, 8))
machine.step(sketch.traced())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blake3 import blake3

from headrace.run.events import Event, Traced, TraceEnded
from headrace.spec.artifact import Ref, gather
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.graph import Arg, Const, Many, Node, Out
from headrace.spec.stage import Stage

BUNDLE = Bundle(digest="0" * 64, size=0, nonce="00")
"""A bundle that holds nothing."""


def inline(text: str, type: str) -> Ref:
    """Return a small artifact with this JSON text."""
    data = text.encode()
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type=type, inline=data)


def number(value: int) -> Ref:
    """Return an artifact that is a whole number."""
    return inline(str(value), "builtins.int")


def truth(value: bool) -> Ref:
    """Return an artifact that is true or false."""
    return inline("true" if value else "false", "builtins.bool")


def listing(values: Sequence[Ref]) -> Ref:
    """Return an artifact that is a list of others."""
    return gather(values)


def numbers(*values: int) -> Many:
    """Return an argument that is a list of whole numbers, to map over."""
    return Many("list", tuple([Const(number(value)) for value in values]))


def stage(name: str, module: str = "sketch", **declared: Any) -> Stage:
    """Declare a stage of this name; its code is its name."""
    code = Code(digest=blake3(f"{module}:{name}".encode()).hexdigest())
    return Stage(name=name, function=f"{module}:{name}", code=code, **declared)


class Sketch:
    """Wires stages by name, as a trace would."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.nodes: list[Node] = []
        self._calls: dict[str, int] = {}
        self._told = (0, 0)

    def declare(self, name: str, **declared: Any) -> Stage:
        """Declare a stage, with whatever `Stage` takes."""
        return self.stages.setdefault(name, stage(name, **declared))

    def node(
        self,
        name: str,
        *,
        over: Sequence[str] = (),
        when: Out | None = None,
        after: Sequence[Out] = (),
        allow_failures: int = 0,
        always: bool = False,
        **args: Arg,
    ) -> Out:
        """Add a call of a stage, which is declared if it isn't; return a handle to its output."""
        declared = self.declare(name)
        count = self._calls.get(name, 0)
        self._calls[name] = count + 1
        node = Node(
            name=name if count == 0 else f"{name}[{count}]",
            stage=declared.function,
            args=tuple(args.items()),
            over=tuple(over),
            when=when,
            after=tuple([out.task for out in after]),
            allow_failures=allow_failures,
            always=always,
            line=f"sketch.py:{len(self.nodes) + 1}",
        )
        self.nodes.append(node)
        return Out(node.name)

    def traced(self) -> Traced:
        """Return what has been added since the last time, as the tracer reports it."""
        stages, nodes = self._told
        self._told = len(self.stages), len(self.nodes)
        return Traced(tuple(self.stages.values())[stages:], tuple(self.nodes[nodes:]))

    def events(self) -> list[Event]:
        """Return what has been added since the last time, as the end of a trace."""
        return [self.traced(), TraceEnded()]


def chain(length: int) -> Sketch:
    """Return a graph in which each task takes the output of the one before."""
    sketch = Sketch()
    last: Arg = Const(number(0))
    for _ in range(length):
        last = sketch.node("step", x=last)
    return sketch


def fan(width: int) -> Sketch:
    """Return a graph of one task, many that take its output and a number each, and one that takes all of theirs."""
    sketch = Sketch()
    source = sketch.node("source")
    leaves = [sketch.node("leaf", x=source, i=Const(number(index))) for index in range(width)]
    sketch.node("sink", xs=Many("list", tuple(leaves)))
    return sketch


def spread(width: int) -> Sketch:
    """Return a graph of one task that is mapped over a list of numbers, and one that takes all of its outputs."""
    sketch = Sketch()
    leaves = sketch.node("leaf", over=["i"], i=numbers(*range(width)))
    sketch.node("sink", xs=leaves)
    return sketch
