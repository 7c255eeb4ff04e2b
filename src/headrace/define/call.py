"""The arguments of a stage call: binding them to parameters, finding handles in them, and mapping over lists."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from headrace.codec.values import File, Folder
from headrace.define.handle import UNKNOWN, Handle
from headrace.define.secret import Secret
from headrace.define.type_check import admits, element, fits
from headrace.errors import TraceError, meant

OPTIONS = ("when", "after", "always", "allow_failures")
"""The names of the arguments that every stage call takes, besides the stage's own parameters."""
_DEEPEST = 50
_PACKAGE = __file__.rpartition("/define/")[0]


class Callee(Protocol):
    """A stage that is called, with its name, its parameters and their types."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def name(self) -> str: ...
    @property
    def signature(self) -> inspect.Signature: ...
    @property
    def hints(self) -> Mapping[str, Any]: ...


def bind(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any], line: str) -> list[tuple[str, Any]]:
    """Return the arguments of a call as pairs of parameter name and value, without defaults.

    Arguments gathered by `*name` are one pair, `("*name", values)`. Each argument gathered by `**name` is a pair of its
    own. `line` is the file and line of the call, for messages.

    Raises:
        TraceError: an argument is missing, or there is no parameter for it.
    """
    try:
        bound = call.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise _unbound(call, args, kwargs, line, str(error)) from None
    pairs: list[tuple[str, Any]] = []
    for name, value in bound.arguments.items():
        match call.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                pairs.append((f"*{name}", value))
            case inspect.Parameter.VAR_KEYWORD:
                pairs.extend(value.items())
            case _:
                pairs.append((name, value))
    return pairs


def _unbound(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any], line: str, problem: str) -> TraceError:
    """Return the error for a call with a missing or an unknown argument. Its hint shows the signature and, for an
    unknown argument, the most similar name, if there is one."""
    takes = f"it takes {call.name}{_text(call.signature)}"
    parameters = call.signature.parameters.values()
    named = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    strange = [] if open_ended else [name for name in kwargs if name not in named]
    if strange:
        hint = f"{meant(strange[0], [*named, *OPTIONS])} {takes}".lstrip()
        return TraceError(f"`{call.name}` has no parameter `{strange[0]}` ({line})", hint=hint)
    missing = [
        each.name
        for place, each in enumerate(parameters)
        if each.name in named and each.default is each.empty and place >= len(args) and each.name not in kwargs
    ]
    if missing:
        return TraceError(f"`{call.name}` needs `{missing[0]}` ({line})", hint=takes)
    return TraceError(f"`{call.name}`: {problem} ({line})", hint=takes)


def _text(signature: inspect.Signature) -> str:
    """Return a signature as its author wrote it: annotations that Python keeps as text are shown without quotes."""
    annotations = [each.annotation for each in signature.parameters.values()] + [signature.return_annotation]
    text = str(signature)
    for annotation in {each for each in annotations if isinstance(each, str)}:
        text = text.replace(repr(annotation), annotation)
    return text


def awaited(value: Any) -> bool:
    """Return whether an argument's value isn't known yet: the argument is a handle, or `holds_handle(value)` is
    true."""
    return isinstance(value, Handle) or (type(value) in (list, tuple, dict) and holds_handle(value))


def holds_handle(value: Any) -> bool:
    """Return whether a list, tuple or dictionary holds a handle, a secret, a file or a folder at any depth up to 50."""
    rest: list[tuple[Any, int]] = [(value, 0)]
    while rest:
        each, depth = rest.pop()
        if isinstance(each, Handle | Secret | File | Folder):
            return True
        if type(each) in (list, tuple, dict) and depth < _DEEPEST:
            items = each.values() if isinstance(each, dict) else each
            rest.extend((item, depth + 1) for item in items if type(item) not in _LEAVES)
    return False


_LEAVES = frozenset((int, float, str, bool, bytes, type(None)))


def check_no_handles(call: Callee, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise an error if a stage that is called outside a pipeline is given a handle.

    Raises:
        TraceError: an argument is a handle, or a list, tuple or dictionary with a handle in it.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, Handle) or (type(value) in (list, tuple, dict) and _holds_only_handle(value)):
            raise TraceError(
                f"stage `{call.name}` was called outside a pipeline, and an argument is a handle ({user_line()})",
                hint="call it inside the pipeline that the handle comes from, or give it a value",
            )


def _holds_only_handle(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, Handle) for item in items)


def hint_of(call: Callee, name: str) -> Any:
    """Return the type that an argument must have, or `UNKNOWN`. `name` is the argument's name as `bind` returns it. An
    argument gathered by `**name` must have the type that annotates `**name`."""
    parameters = call.signature.parameters
    own = name.lstrip("*")
    if own not in parameters:
        own = next((each.name for each in parameters.values() if each.kind is each.VAR_KEYWORD), own)
    return call.hints.get(own, UNKNOWN)


def plain_map(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Call a stage for each element of the mapped lists, and return the list of results.

    This is `.map()` outside a pipeline.

    Raises:
        TraceError: no list is mapped over, or the lists differ in length.
    """
    bound = bind(call, args, kwargs, user_line())
    over = mapped_over(call, bound)
    lengths = {len(value) for name, value in bound if name in over}
    if len(lengths) != 1:
        wrong, hint = "was given no list to map over", "give at least one list for a parameter that takes an element"
        if lengths:
            wrong = f"needs lists of the same length, not of {' and '.join(map(str, sorted(lengths)))} elements"
            hint = "make the lists equally long; a value that all calls share needs no list"
        raise TraceError(f"`{call.name}.map()` {wrong}", hint=hint)
    results = []
    for index in range(lengths.pop()):
        values = {name: value[index] if name in over else value for name, value in bound}
        by_position, by_name = laid_out(call.signature, values)
        results.append(call(*by_position, **by_name))
    return results


def laid_out(signature: inspect.Signature, bound: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return bound arguments as a call takes them: a list of arguments by position, and a dictionary of arguments by
    name.

    The list has the values of positional-only parameters and of `*name`. If `*name` has values, the list also has the
    values of all parameters before it. The dictionary has all other values.
    """
    values = dict(bound)
    rest = next((values.pop(name) for name in bound if name.startswith("*")), ())
    before = []
    for parameter in signature.parameters.values():
        by_position = parameter.kind is parameter.POSITIONAL_ONLY or rest
        if not by_position or parameter.kind is parameter.VAR_POSITIONAL:
            break
        before.append(values.pop(parameter.name, parameter.default))
    return [*before, *rest], values


def user_line() -> str:
    """Return the file and line of the user's code that called Headrace, such as `pipelines.py:31`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def stands_for(value: object) -> Any:
    """Return the type of a handle's value, `Any` for a secret, file or folder, and None for all other values.

    A secret or a file reaches the stage as another type, so its type can't be checked in the call.
    """
    if isinstance(value, Handle):
        return value._headrace_hint
    return Any if isinstance(value, Secret | File | Folder) else None


def mapped_over(call: Callee, bound: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """Return the names of the arguments that a call is mapped over. Arguments gathered by `*name` are never mapped
    over: each element's call gets all of them."""
    return tuple(name for name, value in bound if not name.startswith("*") and _is_mapped(value, hint_of(call, name)))


def _is_mapped(value: Any, wanted: Any) -> bool:
    if isinstance(value, Handle):
        inner = element(value._headrace_hint)
        if inner is None:
            return False
        return wanted is UNKNOWN or not fits(_of_something(value._headrace_hint), wanted)
    if not isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return False
    return wanted is UNKNOWN or element(wanted) is None or (bool(value) and not admits_list(value, wanted))


class _Something:
    """A stand-in type for the elements of a list of `Any`. It fits no parameter with a type annotation."""


def _of_something(hint: Any) -> Any:
    """Return a type such as `list[Any]` with `_Something` in place of `Any`; return all other types unchanged.

    Without this, a list of `Any` would fit every parameter that takes a list, and a call would never be mapped over
    such a list.
    """
    if element(hint) is not Any:
        return hint
    origin = typing.get_origin(hint) or hint
    return origin[_Something, ...] if origin is tuple else origin[_Something]


def admits_list(value: Any, wanted: Any) -> bool:
    """Return whether every element of a list fits the element type of `wanted`, a list type."""
    inner = element(wanted)
    return all(fits(item._headrace_hint, inner) if isinstance(item, Handle) else admits(item, inner) for item in value)
