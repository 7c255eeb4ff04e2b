"""The graph that a pipeline traces to: nodes, and where their arguments come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from headrace.spec.artifact import Ref
from headrace.spec.noun import Row


class Const(Struct, frozen=True, array_like=True, gc=False, tag="c"):
    """An argument given as a value; its bytes are inline, or in the store."""

    ref: Ref


class Out(Struct, frozen=True, array_like=True, gc=False, tag="o"):
    """An argument that another task gives: its output, or the part at `path` (positions within parts)."""

    task: str
    path: tuple[int, ...] = ()


class Many(Struct, frozen=True, array_like=True, gc=False, tag="m"):
    """A list, tuple or dictionary with handles somewhere inside; `names` are the dictionary's keys."""

    shape: Literal["list", "tuple", "dict"]
    items: tuple[Const | Out | Many | Secret, ...]
    names: tuple[str, ...] = ()


class Secret(Struct, frozen=True, array_like=True, gc=False, tag="s"):
    """A reference to a secret, resolved in the worker that needs it and nowhere else."""

    name: str


Arg = Const | Out | Many | Secret


class Node(Row, frozen=True):
    """One call of a stage in a pipeline: one task, or a mapped task whose width is that of its lists.

    `stage` is the stage's `function`. `args` pair each parameter with its argument; those named in `over` are lists to
    map over. `when` must be true for the task to run; tasks in `after` must have ended first. `line` is where the
    user's code made the call, `pipelines.py:31`.
    """

    name: str
    stage: str
    args: tuple[tuple[str, Arg], ...] = ()
    over: tuple[str, ...] = ()
    when: Out | None = None
    after: tuple[str, ...] = ()
    allow_failures: int = 0
    always: bool = False
    line: str = ""


def outs(arg: Arg) -> list[Out]:
    """Return every output that an argument needs, without recursion."""
    if isinstance(arg, Out):
        return [arg]
    found: list[Out] = []
    if not isinstance(arg, Many):
        return found
    rest: list[Arg] = [arg]
    while rest:
        match rest.pop():
            case Out() as out:
                found.append(out)
            case Many(items=items):
                rest.extend(reversed(items))
            case _:
                pass
    return found


def constants(arg: Arg) -> Iterator[Ref]:
    """Go over the artifacts that stand in an argument."""
    match arg:
        case Const(ref=ref):
            yield ref
        case Many(items=items):
            for item in items:
                yield from constants(item)
        case _:
            pass


def secrets(arg: Arg) -> set[str]:
    """Return the names of all secrets that an argument refers to."""
    match arg:
        case Secret(name=name):
            return {name}
        case Many(items=items):
            return {name for item in items for name in secrets(item)}
        case _:
            return set()
