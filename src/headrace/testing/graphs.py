"""Graphs and values for tests and benchmarks without user code. Their stages are only names.

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
"""A bundle without files."""


def inline(text: str, type: str) -> Ref:
    """Return the reference of a small artifact whose bytes are this JSON text; `type` is the class of the value."""
    data = text.encode()
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type=type, inline=data)


def number(value: int) -> Ref:
    """Return the reference of an artifact that is a whole number."""
    return inline(str(value), "builtins.int")


def truth(value: bool) -> Ref:
    """Return the reference of an artifact that is true or false."""
    return inline("true" if value else "false", "builtins.bool")


def listing(values: Sequence[Ref]) -> Ref:
    """Return the reference of an artifact that is a list of other artifacts."""
    return gather(values)


def numbers(*values: int) -> Many:
    """Return an argument that is a list of whole numbers, to map over."""
    return Many("list", tuple([Const(number(value)) for value in values]))


def stage(name: str, module: str = "sketch", **declared: Any) -> Stage:
    """Return a stage with this name. `declared` are fields of `Stage`.

    The digest of its code is computed from `module` and `name`.
    """
    code = Code(digest=blake3(f"{module}:{name}".encode()).hexdigest())
    return Stage(name=name, function=f"{module}:{name}", code=code, **declared)


class Sketch:
    """A graph that is built call by call, like the trace of a pipeline, from stages that are only names."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.nodes: list[Node] = []
        self._calls: dict[str, int] = {}
        self._told = (0, 0)

    def declare(self, name: str, **declared: Any) -> Stage:
        """Return the stage with this name. If it isn't declared yet, declare it first, with the fields `declared` of
        `Stage`."""
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
        """Add a call of the stage `name`, and return the call's output. If the stage isn't declared yet, declare it
        first."""
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
        """Return the event with the stages and nodes added since the last call, as a tracer reports them."""
        stages, nodes = self._told
        self._told = len(self.stages), len(self.nodes)
        return Traced(tuple(self.stages.values())[stages:], tuple(self.nodes[nodes:]))

    def events(self) -> list[Event]:
        """Return the events at the end of a trace: the event with the stages and nodes added since the last call of
        `traced`, and the event that the trace has ended."""
        return [self.traced(), TraceEnded()]


def chain(length: int) -> Sketch:
    """Return a graph of `length` tasks, in which each task takes the output of the task before it."""
    sketch = Sketch()
    last: Arg = Const(number(0))
    for _ in range(length):
        last = sketch.node("step", x=last)
    return sketch


def fan(width: int) -> Sketch:
    """Return a graph of a first task, `width` tasks that take its output, and a last task that takes all their outputs.

    Each task in the middle also takes a number.
    """
    sketch = Sketch()
    source = sketch.node("source")
    leaves = [sketch.node("leaf", x=source, i=Const(number(index))) for index in range(width)]
    sketch.node("sink", xs=Many("list", tuple(leaves)))
    return sketch


def spread(width: int) -> Sketch:
    """Return a graph with a stage mapped over a list of `width` numbers, and a task that takes all outputs of this
    stage."""
    sketch = Sketch()
    leaves = sketch.node("leaf", over=["i"], i=numbers(*range(width)))
    sketch.node("sink", xs=leaves)
    return sketch
