"""Replaces the outputs of tasks in arguments by artifacts, once those tasks have an output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out

_LABEL_LIMIT = 32
_PLAIN = re.compile(r"-?[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_NAMING = re.compile(r"-?[\w./][\w./+-]*")
LABELS = 2
"""The current scheme of naming the elements of mapped tasks. A run keeps the scheme that it began with, because its
events name elements."""
_TRUTHS = {
    b"true": True,
    b"false": False,
    b'{"$":["numpy.bool",true]}': True,  # the result of comparing NumPy numbers, in exact JSON
    b'{"$":["numpy.bool",false]}': False,
}


class Unmappable(ValueError):
    """The argument of `.map()` can't be mapped over, or an output lacks a requested part. The message says why."""


def follow(ref: Ref, path: tuple[int, ...]) -> Ref:
    """Return a part of an artifact. The path `(2, 0)`, for example, leads to part 2, and then to part 0 of that part.

    Raises:
        Unmappable: the artifact has no such part.
    """
    for position in path:
        parts = ref.parts or ()
        if position >= len(parts):
            raise Unmappable(f"a `{ref.type}` has {len(parts)} parts, so none at {position}")
        ref = parts[position]
    return ref


def truth(ref: Ref) -> bool | None:
    """Return the value of a boolean artifact, or None if the artifact isn't a boolean."""
    return _TRUTHS.get(ref.inline or b"") if ref.codec == "json" else None


def value(arg: Arg, output: Callable[[str], Ref]) -> Arg:
    """Return an argument in which all outputs of tasks are replaced by artifacts. `output` returns a task's output.

    Recursion is safe here, because the nesting is only as deep as the user wrote it.
    """
    match arg:
        case Out(task=name, path=path):
            return Const(follow(output(name), path))
        case Many(shape=shape, items=items, names=names):
            return Many(shape, tuple([value(item, output) for item in items]), names)
        case _:
            return arg


def elements(name: str, arg: Arg) -> Sequence[Arg]:
    """Return the elements of a list that a task maps over.

    Raises:
        Unmappable: the argument is no list.
    """
    match arg:
        case Many(shape="list" | "tuple", items=items):
            return items
        case Const(ref=ref) if ref.parts is not None and ref.names is None:
            return tuple([Const(part) for part in ref.parts])
        case Const(ref=ref):
            raise Unmappable(f"`{name}` is a `{ref.type}`, which can't be mapped over")
        case _:
            raise Unmappable(f"`{name}` isn't a list, so it can't be mapped over")


def columns(
    task: str, args: Mapping[str, Arg], over: Sequence[str], output: Callable[[str], Ref]
) -> dict[str, Sequence[Arg]]:
    """Return the lists that a task maps over, by parameter.

    Raises:
        Unmappable: an argument is no list, or the lists differ in length.
    """
    lists = {name: elements(name, value(args[name], output)) for name in over}
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
        raise Unmappable(f"the lists that `{task}` maps over differ in length: {text}")
    return lists


def labels(name: str, columns: Mapping[str, Sequence[Arg]], how: int = LABELS) -> list[str]:
    """Return the names of a mapped task's elements, such as `fit[depth=4]` or `fit[#0]`.

    An element is named by its value in the first list. If these names aren't unique, the values in the next list are
    added to all names, and so on. An element is named by its number if its values are too long for a name, or are the
    same as those of another element.

    `how` is the naming scheme. In the older scheme 1, all elements are named by number if one of them can't be named by
    its values.
    """
    if how == 1:
        return _all_alike(name, columns)
    words = {param: [_word(arg) for arg in column] for param, column in columns.items()}
    named = [param for param, column in words.items() if any(word is not None for word in column)]
    texts: list[str | None] = []
    for count in range(1, len(named) + 1):
        texts = _texts({param: words[param] for param in named[:count]})
        if None not in texts and len(set(texts)) == len(texts):
            break
    often = Counter(texts)
    width = max(map(len, columns.values()), default=0)
    chosen = texts or [None] * width
    return [f"{name}[#{i}]" if text is None or often[text] > 1 else f"{name}[{text}]" for i, text in enumerate(chosen)]


def _texts(words: Mapping[str, Sequence[str | None]]) -> list[str | None]:
    rows = zip(*words.values(), strict=True)
    return [None if None in row else ",".join(f"{p}={w}" for p, w in zip(words, row, strict=True)) for row in rows]


def _word(arg: Arg) -> str | None:
    """Return a value as text for an element's name, or None if it is too long or of another kind.

    The value may be a number, a boolean, a text or path without blanks, or a file, which is shown by its name.
    """
    if not isinstance(arg, Const):
        return None
    if arg.ref.codec == "file":
        text = arg.ref.names[0] if arg.ref.names else ""
    elif arg.ref.codec in ("json", "text") and arg.ref.inline is not None:
        text = arg.ref.inline.decode("utf-8", "replace")
        text = text[1:-1] if text.startswith('"') else text
    else:
        return None
    return text if len(text) <= _LABEL_LIMIT and _NAMING.fullmatch(text) else None


def _all_alike(name: str, columns: Mapping[str, Sequence[Arg]]) -> list[str]:
    rows = list(zip(*columns.values(), strict=True))
    texts = [_label(columns, row) for row in rows]
    if None not in texts and len(set(texts)) == len(texts):
        return [f"{name}[{text}]" for text in texts]
    return [f"{name}[#{index}]" for index in range(len(rows))]


def _label(columns: Mapping[str, Sequence[Arg]], row: Sequence[Arg]) -> str | None:
    words = []
    for param, arg in zip(columns, row, strict=True):
        if not isinstance(arg, Const) or arg.ref.codec not in ("json", "text") or arg.ref.inline is None:
            return None
        text = arg.ref.inline.decode()
        plain = text[1:-1] if text.startswith('"') else text
        if len(text) > _LABEL_LIMIT or not _PLAIN.fullmatch(plain):
            return None
        words.append(f"{param}={plain}")
    return ",".join(words)
