"""The graph of a traced pipeline: nodes, and where their arguments come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from headrace.spec.artifact import Ref
from headrace.spec.noun import Row


class Const(Struct, frozen=True, array_like=True, gc=False, tag="c"):
    """An argument that is a plain value. Its bytes are in the reference, or in the store."""

    ref: Ref


class Out(Struct, frozen=True, array_like=True, gc=False, tag="o"):
    """An argument that is the output of another task, or the part of that output at `path` (positions within parts)."""

    task: str
    path: tuple[int, ...] = ()


class Many(Struct, frozen=True, array_like=True, gc=False, tag="m"):
    """An argument that is a list, tuple or dictionary with outputs of other tasks inside, at any depth.

    `names` are the keys of a dictionary; they are empty for a list or tuple.
    """

    shape: Literal["list", "tuple", "dict"]
    items: tuple[Const | Out | Many | Secret, ...]
    names: tuple[str, ...] = ()


class Secret(Struct, frozen=True, array_like=True, gc=False, tag="s"):
    """An argument that names a secret. Only the worker that needs the secret gets its value."""

    name: str


Arg = Const | Out | Many | Secret


class Node(Row, frozen=True):
    """One call of a stage in a pipeline: one task, or one mapped task with as many elements as its lists have.

    `stage` is the `function` of the stage. `args` are pairs of a parameter's name and its argument. `over` names the
    parameters whose arguments are lists to map over. `when` is an output that must be true for the task to run. `after`
    names the tasks that must end before this one begins. `allow_failures` is how many elements of a mapped task may
    fail. `line` is the line of the user's code that made the call, such as `pipelines.py:31`.
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
    """Return all outputs of other tasks that an argument contains. Deep nesting is safe: there is no recursion."""
    if isinstance(arg, Out):
        return [arg]
    outputs: list[Out] = []
    if not isinstance(arg, Many):
        return outputs
    rest: list[Arg] = [arg]
    while rest:
        match rest.pop():
            case Out() as out:
                outputs.append(out)
            case Many(items=items):
                rest.extend(reversed(items))
            case _:
                pass
    return outputs


def constants(arg: Arg) -> Iterator[Ref]:
    """Yield the artifact of each plain value in an argument."""
    match arg:
        case Const(ref=ref):
            yield ref
        case Many(items=items):
            for item in items:
                yield from constants(item)
        case _:
            pass


def secrets(arg: Arg) -> set[str]:
    """Return the names of all secrets that an argument contains."""
    match arg:
        case Secret(name=name):
            return {name}
        case Many(items=items):
            return {name for item in items for name in secrets(item)}
        case _:
            return set()
