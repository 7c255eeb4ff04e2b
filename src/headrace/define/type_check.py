"""Checks by type whether a value or an output fits a parameter."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

_STREAMS = (collections.abc.Iterator, collections.abc.Iterable)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_SETS = (collections.abc.Set, collections.abc.Iterable, collections.abc.Collection)
_ORIGINS: dict[type, tuple[Any, ...]] = {
    list: (*_LISTS, collections.abc.MutableSequence),
    tuple: _LISTS[1:],
    set: (set, collections.abc.MutableSet, *_SETS),
    frozenset: (frozenset, *_SETS),
}
_CONTAINERS = frozenset((*_ORIGINS, *_MAPS, *_STREAMS, *(each for kinds in _ORIGINS.values() for each in kinds)))
_UNIONS = (typing.Union, types.UnionType)
_WORDS = {str: "text", bool: "True or False", int: "a whole number", float: "a number", types.NoneType: "None"}
_MOST_NAMED = 5
"""At most this many types of a union are named."""


def fits(given: Any, wanted: Any) -> bool:
    """Return whether a value of type `given` may be passed to a parameter of type `wanted`.

    If two types can't be compared, they count as fitting. The rules are those of type checkers: a bare `dict` is a
    `dict[Any, Any]`, and `Any` fits everything, also inside other types. A table and a stream of record batches fit
    each other: the worker converts between them.
    """
    given, wanted = _unaliased(given), _unaliased(wanted)
    if _is_open(given) or _is_open(wanted) or given == wanted or _tabular(given, wanted):
        return True
    if _is_plain(given) and _is_plain(wanted):
        return issubclass(given, wanted) or (wanted is float and issubclass(given, int))
    if is_union(given):
        return all(fits(each, wanted) for each in typing.get_args(given))
    if is_union(wanted):
        return any(fits(given, each) for each in typing.get_args(wanted))
    origin = typing.get_origin(wanted)
    if _is_bare(given) and isinstance(origin, type):
        return issubclass(given, origin)
    pairs = _pairs(given, wanted)
    if pairs is not None:
        return all(fits(inner, hint) for inner, hint in pairs)
    return _is_subtype(given, float | int if wanted is float else wanted)


def misfit(value: object, wanted: Any, given: Callable[[object], Any] = lambda _: None) -> tuple[object, Any] | None:
    """Return the part of a value that doesn't fit the type `wanted`, and the type wanted for that part. Return None if
    the whole value fits.

    The part is the value itself or an element inside it: every element is checked. `given` returns the type of a
    placeholder for a value, such as a handle, and None for a real value. If two types can't be compared, they count as
    fitting.
    """
    stands_for = given(value)
    if stands_for is not None:
        return None if fits(stands_for, wanted) else (value, wanted)
    if _is_open(wanted):
        return None
    if _is_plain(wanted):
        good = isinstance(value, wanted) or (wanted is float and isinstance(value, int)) or _like_number(value, wanted)
        return None if good else (value, wanted)
    if typing.get_origin(wanted) is typing.Literal:
        good = any(value == each and type(value) is type(each) for each in typing.get_args(wanted))
        return None if good else (value, wanted)
    if is_union(wanted):
        good = any(misfit(value, each, given) is None for each in typing.get_args(wanted))
        return None if good else (value, wanted)
    parts = _parts(value, wanted)
    if parts is None:
        return None if _is_bearable(value, wanted) else (value, wanted)
    for items, hint in parts:
        mismatch = _misfit_in(items, hint, given)
        if mismatch is not None:
            return mismatch
    return None


def admits(value: object, wanted: Any) -> bool:
    """Return whether a value may be passed to a parameter of type `wanted`. If its type can't be compared with
    `wanted`, return True."""
    return misfit(value, wanted) is None


def _misfit_in(items: Iterable[object], wanted: Any, given: Callable[[object], Any]) -> tuple[object, Any] | None:
    """Return the first misfit among items, or None. If `wanted` is a plain class, only one item of each class is
    checked."""
    by_class = _is_plain(wanted)
    seen: set[type] = set()
    for item in items:
        if by_class and type(item) in seen:
            continue
        mismatch = misfit(item, wanted, given)
        if mismatch is not None:
            return mismatch
        if given(item) is None:
            seen.add(type(item))
    return None


def _parts(value: object, wanted: Any) -> list[tuple[Iterable[object], Any]] | None:
    """Return the items of a built-in container, with the type wanted for them; None if `wanted` is no such container.

    beartype checks all other values. It isn't used here, because it checks only one random element of a list.
    """
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    kind = type(value)
    if isinstance(value, dict):
        return [(value.keys(), args[0]), (value.values(), args[1])] if origin in _MAPS and len(args) == 2 else None
    if isinstance(value, tuple) and origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return [(value, args[0])]
        return [([item], hint) for item, hint in zip(value, args, strict=True)] if len(value) == len(args) else None
    if kind in (list, tuple, set, frozenset) and len(args) == 1:
        return [(typing.cast("Iterable[object]", value), args[0])] if origin in _ORIGINS[kind] else None
    return None


def element(hint: Any) -> Any:
    """Return the type of the elements if `hint` is a list type, else None."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _LISTS:
        return Any
    if origin in _LISTS and args:
        return args[0]
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return args[0]
    return None


def is_union(hint: Any) -> bool:
    """Return whether a type is a union, such as `int | None`."""
    return typing.get_origin(hint) in _UNIONS


def shown(hint: Any) -> str:
    """Return a type as text, as it is written in code: `pyarrow.Table`, `list[int]`. Of a long union, return the first
    types.

    >>> shown(list[int | float | str | bytes | bool | complex] | None)
    'list[int | float | str | bytes | bool | ...] | None'
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is inspect.Parameter.empty or hint is Any:
        return "Any"
    inner = ["None" if each is types.NoneType else "..." if each is Ellipsis else shown(each) for each in args]
    if is_union(hint):
        return " | ".join(inner if len(inner) <= _MOST_NAMED else [*inner[:_MOST_NAMED], "..."])
    if args and origin in _CONTAINERS:
        return f"{origin.__qualname__}[{', '.join(inner)}]"
    if isinstance(hint, type) and not typing.get_args(hint):
        return (
            hint.__qualname__
            if hint.__module__ == "builtins"
            else f"{hint.__module__.split('.')[0]}.{hint.__qualname__}"
        )
    return str(hint).replace("typing.", "")


def in_words(hint: Any) -> str:
    """Return a type in plain words, for the hint of an error.

    >>> in_words(tuple[str, ...] | None), in_words(typing.Literal["null", "stop"])
    ('several of text or None', "'null' or 'stop'")
    >>> in_words(list[str | int] | None)
    'several, each text or a whole number, or None'
    >>> in_words(int | str | bool | bytes | list | dict | set | None)
    'a whole number or text or True or False or a `bytes` or several of a value or one of 2 more, or None'
    """
    args = typing.get_args(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, args))
    if is_union(hint):
        words = [in_words(each) for each in args if each is not types.NoneType]
        if len(words) > _MOST_NAMED + 1:
            words[_MOST_NAMED:] = [f"one of {len(words) - _MOST_NAMED} more"]
        text = " or ".join(words)
        if types.NoneType not in args:
            return text
        return f"{text}, or None" if " or " in text else f"{text} or None"
    if typing.get_origin(hint) is tuple and args[-1] is not Ellipsis:
        return f"({', '.join(map(in_words, args))})"
    if element(hint) is not None:
        words_of_each = in_words(element(hint))
        return f"several, each {words_of_each}" if " or " in words_of_each else f"several of {words_of_each}"
    if typing.get_origin(hint) in _MAPS:
        return f"a dictionary of {in_words(args[0])} to {in_words(args[1])}"
    return "a value" if hint is Any else f"a `{shown(hint).rpartition('.')[2]}`"


def _is_open(hint: Any) -> bool:
    return hint is Any or hint is inspect.Parameter.empty or hint is object or isinstance(hint, typing.TypeVar)


def _is_plain(hint: Any) -> bool:
    return isinstance(hint, type) and not typing.get_args(hint) and not getattr(hint, "_is_protocol", False)


def _unaliased(hint: Any) -> Any:
    """Return the class for a bare alias such as `typing.Dict`, and every other type unchanged."""
    origin = typing.get_origin(hint)
    return origin if origin and not typing.get_args(hint) and not isinstance(hint, types.GenericAlias) else hint


def _is_bare(hint: Any) -> bool:
    """Return whether a type takes type arguments and has none. A class derived from `dict[str, int]` takes none."""
    if not _is_plain(hint):
        return False
    standard = hint.__module__ == "collections.abc" and hasattr(hint, "__class_getitem__")
    return standard or "__class_getitem__" in vars(hint) or bool(getattr(hint, "__parameters__", ()))


def _pairs(given: Any, wanted: Any) -> list[tuple[Any, Any]] | None:
    """Return the item types of two container types in pairs `(given, wanted)`, or None if beartype must compare the
    containers."""
    source, origin = typing.get_origin(given), typing.get_origin(wanted)
    if source not in _CONTAINERS or origin not in _CONTAINERS or not issubclass(source, origin):
        return None
    inner, hints = typing.get_args(given), typing.get_args(wanted)
    if source is tuple and (origin is not tuple or Ellipsis in hints):
        return [(each, hints[0]) for each in inner if each is not Ellipsis]
    if len(inner) != len(hints) or Ellipsis in inner:
        return None
    return list(zip(inner, hints, strict=True))


def _tabular(given: Any, wanted: Any) -> bool:
    return _is_table(given) and _is_table(wanted)


def _is_table(hint: Any) -> bool:
    """Return whether a type is an Arrow table, reader or iterator of record batches, without importing Arrow."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) in _STREAMS and args:
        return bool(getattr(args[0], "__module__", "").startswith("pyarrow")) and args[0].__name__ == "RecordBatch"
    module, name = getattr(hint, "__module__", ""), getattr(hint, "__name__", "")
    return module.startswith("pyarrow") and name in ("Table", "RecordBatchReader")


def _like_number(value: object, wanted: type) -> bool:
    """Return whether a value is a NumPy number and `wanted` is the Python type that corresponds to it."""
    return (
        wanted in (int, float, bool)
        and type(value).__module__ == "numpy"
        and isinstance(getattr(value, "item", lambda: None)(), wanted)
    )


def _is_subtype(given: Any, wanted: Any) -> bool:
    # beartype.door takes 0.1 s to import, so it is asked only about types that are not plain classes
    from beartype.door import is_subhint  # noqa: PLC0415
    from beartype.roar import BeartypeException  # noqa: PLC0415

    try:
        return bool(is_subhint(_without_none_doubt(given), wanted))
    except (BeartypeException, TypeError):
        return True


def _is_bearable(value: object, wanted: Any) -> bool:
    from beartype.door import is_bearable  # noqa: PLC0415  as above
    from beartype.roar import BeartypeException  # noqa: PLC0415

    try:
        return bool(is_bearable(value, wanted))
    except (BeartypeException, TypeError):
        return True


def _without_none_doubt(hint: Any) -> Any:
    return types.NoneType if hint is None else hint
