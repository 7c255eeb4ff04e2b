"""The arguments of a stage call: bound to parameters, searched for handles, spread over lists."""

from __future__ import annotations

import difflib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from headrace.codec.values import File, Folder
from headrace.define.handle import UNKNOWN, Handle
from headrace.define.secret import Secret
from headrace.define.type_check import admits, element, fits
from headrace.errors import TraceError

OPTIONS = ("when", "after", "always", "allow_failures")
"""What every stage call may be given beside the stage's own parameters."""
_DEEPEST = 50
_PACKAGE = __file__.rpartition("/define/")[0]


class Callee(Protocol):
    """What is called: a stage's function, with its parameters and their types."""

    @property
    def name(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def signature(self) -> inspect.Signature: ...
    @property
    def hints(self) -> Mapping[str, Any]: ...


def bind(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any], line: str) -> list[tuple[str, Any]]:
    """Pair arguments with parameters, by name; `*name` and `**name` gather the rest. Defaults are left out.

    Raises:
        TraceError: an argument is missing or superfluous.
    """
    try:
        bound = call.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise _unbound(call, args, kwargs, line, str(error)) from None
    found: list[tuple[str, Any]] = []
    for name, value in bound.arguments.items():
        match call.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                found.append((f"*{name}", value))
            case inspect.Parameter.VAR_KEYWORD:
                found.extend(value.items())
            case _:
                found.append((name, value))
    return found


def _unbound(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any], line: str, problem: str) -> TraceError:
    """Return which argument is missing or superfluous, with the nearest name there is."""
    takes = f"it takes {call.name}{_told(call.signature)}"
    parameters = call.signature.parameters.values()
    named = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    strange = [] if open_ended else [name for name in kwargs if name not in named]
    if strange:
        near = difflib.get_close_matches(strange[0], [*named, *OPTIONS], 1)
        hint = f"did you mean `{near[0]}`? {takes}" if near else takes
        return TraceError(f"`{call.name}` has no parameter `{strange[0]}` ({line})", hint=hint)
    missing = [
        each.name
        for place, each in enumerate(parameters)
        if each.name in named and each.default is each.empty and place >= len(args) and each.name not in kwargs
    ]
    if missing:
        return TraceError(f"`{call.name}` needs `{missing[0]}` ({line})", hint=takes)
    return TraceError(f"`{call.name}`: {problem} ({line})", hint=takes)


def _told(signature: inspect.Signature) -> str:
    """Write a signature as its author did: annotations that are kept as text stand without quotes."""
    texts = [each.annotation for each in signature.parameters.values()] + [signature.return_annotation]
    told = str(signature)
    for text in {each for each in texts if isinstance(each, str)}:
        told = told.replace(repr(text), text)
    return told


def awaited(value: Any) -> bool:
    """Return whether a task will give an argument, or something inside of it."""
    return isinstance(value, Handle) or (type(value) in (list, tuple, dict) and holds_handle(value))


def holds_handle(value: Any) -> bool:
    """Return whether a list, tuple or dictionary has a handle, a secret or a file anywhere inside."""
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
    """Refuse a handle given to a stage that is called outside a pipeline."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Handle) or (type(value) in (list, tuple, dict) and _holds_only_handle(value)):
            raise TraceError(
                f"stage `{call.name}` was called outside a pipeline with a handle ({user_line()})",
                hint="call it inside the pipeline that the handle comes from, or give it a value",
            )


def _holds_only_handle(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, Handle) for item in items)


def plain_map(call: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What `.map()` does outside a pipeline: call the function for each element."""
    bound = bind(call, args, kwargs, user_line())
    over = mapped_over(bound, call.hints)
    lengths = {len(value) for name, value in bound if name in over}
    if len(lengths) != 1:
        raise TraceError(
            f"`{call.name}.map()` needs lists of one length, not of {sorted(lengths) or 'none'}",
            hint="give at least one list for a parameter that takes an element",
        )
    found = []
    for index in range(lengths.pop()):
        values = {name: value[index] if name in over else value for name, value in bound}
        by_position, by_name = laid_out(call.signature, values)
        found.append(call.function(*by_position, **by_name))
    return found


def laid_out(signature: inspect.Signature, bound: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return what was bound as a call takes it: by position what must be, as all that stands before a `*name` which has
    gathered something, and the rest by name."""
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
    """Return the file and line of the user's code that called us, `pipelines.py:31`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def stands_for(value: object) -> Any:
    """Return the type of the value that a handle stands for; a secret or a file is what the stage makes of it."""
    if isinstance(value, Handle):
        return value._headrace_hint
    return Any if isinstance(value, Secret | File | Folder) else None


def mapped_over(bound: Sequence[tuple[str, Any]], hints: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the arguments that a call is mapped over; what `*name` gathers is given to every call, as it is."""
    return tuple(
        name for name, value in bound if not name.startswith("*") and _is_mapped(value, hints.get(name, UNKNOWN))
    )


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
    """What is in a list of `Any` is taken for: it fits no parameter that says what it takes."""


def _of_something(hint: Any) -> Any:
    """Return the type of a list of something where it is one of `Any`, which fits any list: if all that is known of it
    is that it is a list, a call is mapped over it, as the elements may be what the parameter takes."""
    if element(hint) is not Any:
        return hint
    origin = typing.get_origin(hint) or hint
    return origin[_Something, ...] if origin is tuple else origin[_Something]


def admits_list(value: Any, wanted: Any) -> bool:
    """Return whether a list as a whole may stand for a parameter."""
    inner = element(wanted)
    return all(fits(item._headrace_hint, inner) if isinstance(item, Handle) else admits(item, inner) for item in value)
