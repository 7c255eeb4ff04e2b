"""From handles to artifacts: what a task's arguments came to, once the tasks before it have ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from headrace.run.task import Inputs, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out, outs

_LABEL_LIMIT = 32
_TRUTHS = {
    b"true": True,
    b"false": False,
    b'{"$":["numpy.bool",true]}': True,  # what comparing NumPy's numbers gives, in exact JSON
    b'{"$":["numpy.bool",false]}': False,
}
_PLAIN = re.compile(r"-?[A-Za-z0-9_][A-Za-z0-9_.+-]*")


class Unmappable(ValueError):
    """What `.map()` was given can't be mapped over; the message says why."""


def follow(ref: Ref, path: tuple[int, ...]) -> Ref:
    """Give the part of an artifact at a path of positions."""
    for position in path:
        parts = ref.parts or ()
        if position >= len(parts):
            raise Unmappable(f"the output has {len(parts)} parts, not {position + 1}")
        ref = parts[position]
    return ref


def truth(ref: Ref) -> bool | None:
    """Say whether a boolean artifact is true; None where it isn't a boolean."""
    return _TRUTHS.get(ref.inline or b"") if ref.codec == "json" else None


def resolve(task: Task, tasks: Mapping[str, Task]) -> Inputs:
    """Give a task's arguments with each handle replaced by its artifact; one whose task was skipped is dropped."""
    found = []
    over = task.node.over if task.parent is not None else ()
    for name, arg in task.node.args:
        if any(not tasks[out.task].good for out in outs(arg)):
            continue
        value = _value(arg, tasks)
        found.append((name, _elements(name, value)[task.index] if name in over else value))
    return tuple(found)


def lists(task: Task, tasks: Mapping[str, Task]) -> dict[str, Sequence[Arg]]:
    """Give the lists that a mapped task is spread over, by parameter.

    Raises:
        Unmappable: one is no list, or their lengths differ.
    """
    args = dict(task.node.args)
    columns = {name: _elements(name, _value(args[name], tasks)) for name in task.node.over}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
        raise Unmappable(f"the lists that `{task.name}` maps over differ in length: {told}")
    return columns


def labels(name: str, columns: Mapping[str, Sequence[Arg]]) -> list[str]:
    """Name the elements of a mapped task: by their values where these are short and differ, else by number."""
    rows = list(zip(*columns.values(), strict=True))
    texts = [_label(columns, row) for row in rows]
    if None not in texts and len(set(texts)) == len(texts):
        return [f"{name}[{text}]" for text in texts]
    return [f"{name}[#{index}]" for index in range(len(rows))]


def _label(columns: Mapping[str, Sequence[Arg]], row: Sequence[Arg]) -> str | None:
    words = []
    for param, arg in zip(columns, row, strict=True):
        if not isinstance(arg, Const) or arg.ref.codec != "json" or arg.ref.inline is None:
            return None
        text = arg.ref.inline.decode()
        plain = text[1:-1] if text.startswith('"') else text
        if len(text) > _LABEL_LIMIT or not _PLAIN.fullmatch(plain):
            return None
        words.append(f"{param}={plain}")
    return ",".join(words)


def _value(arg: Arg, tasks: Mapping[str, Task]) -> Arg:
    """Replace the handles in an argument. Nesting is as deep as the user wrote it, so recursion is safe here."""
    match arg:
        case Out(task=name, path=path):
            ref = tasks[name].out
            assert ref is not None
            return Const(follow(ref, path))
        case Many(shape=shape, items=items, names=names):
            return Many(shape, tuple(_value(item, tasks) for item in items), names)
        case _:
            return arg


def _elements(name: str, arg: Arg) -> Sequence[Arg]:
    match arg:
        case Many(shape="list" | "tuple", items=items):
            return items
        case Const(ref=ref) if ref.parts is not None and ref.names is None:
            return tuple(Const(part) for part in ref.parts)
        case Const(ref=ref):
            raise Unmappable(f"`{name}` is a `{ref.type}`, which can't be mapped over")
        case _:
            raise Unmappable(f"`{name}` is no list, so it can't be mapped over")
