"""What a network that `train.torch` trained may name: only PyTorch's own modules and functions.

A `Network` holds the name of the class or function that makes its module, as text. Whoever asks the network to predict
imports that name and calls it. So under `safe_only` a name is accepted only if it is the exact name of a class that
`torch.nn` offers, or, as an argument, of a function that `torch.nn.functional` defines. Names are looked up in these
two modules alone. No module that an artifact names is imported, and a name can't lead to an attribute of another
object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.codec.classes import describe, library_named, name_of
from headrace.errors import CodecError

NAMED = "headrace.stages.train._torch.module.Named"
MADE = "headrace.stages.train.Made"
LESSON = "headrace.stages.train.Lesson"
NETWORK = "headrace.stages.train.Network"

PLAIN = (type(None), bool, int, float, str)
TENSORS = {"torch.Tensor", "torch.nn.parameter.Parameter"}
DEFINED_IN = ("torch.nn.functional", "torch._C._nn")
"""Modules whose functions `torch.nn.functional` offers. The second is compiled: it defines `gelu`, for example."""


def check_named(named: Any) -> None:
    """Refuse a name of a class or function that isn't PyTorch's own."""
    _checked_fields(named)
    if not (_is_module(named.name) or _is_function(named.name)):
        raise _refused(f"has the argument `{named.name}`")


def check_made(made: Any) -> None:
    """Refuse the description of a module, unless PyTorch itself makes this module from plain values and names of its
    own classes and functions."""
    _checked_fields(made)
    if not _is_module(made.factory):
        raise _refused(f"is made by `{made.factory}`")
    for value in (*made.args, *made.kwargs.values()):
        if not (_is_plain(value) or name_of(type(value)) == NAMED):
            raise CodecError(
                f"an argument of the network's module is a `{describe(type(value))}`, which is not known to be safe",
                hint="pass numbers, texts, and classes or functions of `torch.nn`",
            )


def check_lesson(lesson: Any) -> None:
    """Refuse the description of a network's input and output, unless it consists of names and plain values."""
    _checked_fields(lesson)
    if not _is_plain([lesson.classes, lesson.categories]):
        raise CodecError("the network's classes or categories are not plain values")


def check_network(network: Any) -> None:
    """Refuse a network unless its parts have the classes that they should have. The parts themselves were checked when
    they were loaded."""
    _checked_fields(network)
    is_whole = name_of(type(network.made)) == MADE and name_of(type(network.lesson)) == LESSON
    if not is_whole or any(describe(type(each)) not in TENSORS for each in network.state.values()):
        raise CodecError("a part of the network has a class that no such part can have")


CHECKS: dict[str, Callable[[Any], None]] = {
    NAMED: check_named,
    MADE: check_made,
    LESSON: check_lesson,
    NETWORK: check_network,
}
"""Class, by the name that artifacts record -> function that checks the fields of its objects."""


def _checked_fields(value: Any) -> None:
    """Raise `CodecError` unless the fields of a struct have the types that its class declares. A struct itself checks
    its types only when it is made from text."""
    try:
        msgspec.convert(msgspec.structs.asdict(value), type(value), strict=True)
    except msgspec.ValidationError as error:
        raise CodecError(f"a field of the network's `{type(value).__name__}` is invalid: {error}") from error


def _refused(what: str) -> CodecError:
    return CodecError(
        f"the network {what}, which `torch.nn` doesn't offer",
        hint="commands, pages and servers make only modules of `torch.nn`; in Python, `headrace.load` loads this too",
    )


def _is_module(name: str) -> bool:
    """Return whether `name` is the `module:qualname` of a subclass of `Module` that `torch.nn` offers."""
    torch: Any = library_named("torch")
    module, _, inner = name.partition(":")
    kind = vars(torch.nn).get(inner) if inner in torch.nn.modules.__all__ else None
    return (
        isinstance(kind, type)
        and issubclass(kind, torch.nn.Module)
        and (kind.__module__, kind.__qualname__) == (module, inner)
    )


def _is_function(name: str) -> bool:
    """Return whether `name` is the `module:qualname` of a public function that `torch.nn.functional` offers."""
    torch: Any = library_named("torch")
    module, _, inner = name.partition(":")
    function = None if inner.startswith("_") else vars(torch.nn.functional).get(inner)
    is_there = (getattr(function, "__module__", None), getattr(function, "__qualname__", None)) == (module, inner)
    return callable(function) and not isinstance(function, type) and is_there and module in DEFINED_IN


def _is_plain(value: object) -> bool:
    """Return whether a value consists of None, numbers, texts, and lists, tuples and dictionaries of them."""
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())
    return type(value) in PLAIN
