"""Checks the arguments of Headrace's own stages and functions against the types of the parameters, with messages in
plain words."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from headrace.define.call import stands_for
from headrace.define.handle import named_fields
from headrace.define.type_check import in_words, is_union, misfit
from headrace.errors import DefinitionError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def check_arguments(
    named: str,
    signature: inspect.Signature,
    hints: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    apart: Collection[str] = (),
) -> None:
    """Raise an error if an argument isn't of its parameter's type.

    `named` is the function's name for messages. A handle is checked by the type of its value; secrets and files always
    fit. Arguments gathered by `*names` and `**names`, and parameters named in `apart`, aren't checked.

    Raises:
        DefinitionError: an argument has the wrong type. The message names its parameter.
    """
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # the call itself will raise Python's own error
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if (
            name not in hints
            or name in apart
            or kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        ):
            continue
        mismatch = misfit(value, hints[name], stands_for)
        if mismatch is not None:
            part, wanted = mismatch
            raise DefinitionError(unfit(part, value, f"`{name}` of `{named}`"), hint=to_give(part, wanted))


def unfit(part: object, value: object, named: str) -> str:
    """Return the message for an argument that doesn't fit the parameter `named`. `part` is what doesn't fit: the whole
    argument `value`, or a part of it."""
    return f"{'' if part is value else 'a part of '}{named} is {part!r:.80}"


def held_to_types(named: str, *, apart: Collection[str] = ()) -> Callable[[F], F]:
    """Return a decorator that checks a function's arguments against their types before the function runs.

    The decorator is for functions that call stages. `named` is the function's name for messages. Parameters in `apart`
    aren't checked: the function checks them itself, or they may hold secrets, which no error may show.
    """

    def wrap(function: F) -> F:
        signature = inspect.signature(function)
        hints = functools.cache(lambda: typing.get_type_hints(function))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            check_arguments(named, signature, hints(), args, kwargs, apart)
            return function(*args, **kwargs)

        return typing.cast(F, call)

    return wrap


def takes_table(hint: Any) -> bool:
    """Return whether `hint` is `pyarrow.Table` or a union with it, such as `pyarrow.Table | None`."""
    return _is_table(hint) or (is_union(hint) and any(map(_is_table, typing.get_args(hint))))


def _is_table(kind: Any) -> bool:
    """Return whether a type is `pyarrow.Table`, without importing Arrow."""
    return getattr(kind, "__module__", "").startswith("pyarrow") and getattr(kind, "__name__", "") == "Table"


def check_tables(
    stage: str, signature: inspect.Signature, hints: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Raise an error if a parameter takes a `pyarrow.Table` and its argument is something else.

    Raises:
        UsageError: an argument isn't a table. The message names its parameter.
    """
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # the call itself will raise Python's own error
    for name, value in arguments.items():
        hint, several = hints.get(name), signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        if takes_table(hint):
            for each_name, each in value.items() if several else [(name, value)]:
                check_table(stage, each_name, each, hint)


def check_table(stage: str, name: str, value: object, wanted: Any, more: str = "") -> None:
    """Raise an error if a value isn't a table. If the parameter's type `wanted` is wider than `pyarrow.Table`, None is
    accepted too. `more` is added to the error's hint.

    Raises:
        UsageError: the value isn't a table. The message names the parameter.
    """
    if not (_is_table(type(value)) or (value is None and not _is_table(wanted))):
        raise UsageError(
            f"parameter `{name}` of `{stage}` takes a `pyarrow.Table`, and was given a `{type(value).__name__}`",
            hint=_hint(value) + more,
        )


def one_of_its_fields(names: Sequence[str]) -> str:
    """Return the hint of an error: instead of the value that was given, one of its fields `names` is needed."""
    listed = ", ".join(f"`.{name}`" for name in names)
    return f"give its field {listed}" if len(names) == 1 else f"give one of its fields: {listed}"


def to_give(value: object, wanted: Any) -> str:
    """Return the hint of an error about a value that doesn't fit its parameter: what to give instead. `wanted` is the
    parameter's type."""
    return _hint(value) if takes_table(wanted) else f"give {in_words(wanted)}"


def _hint(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "pandas":
        return "`pyarrow.Table.from_pandas(frame, preserve_index=False)` makes one"
    if hasattr(value, "to_arrow"):
        return "its `to_arrow()` makes one"
    fields = [name for name in named_fields(type(value)) or () if _is_table(type(getattr(value, name)))]
    return one_of_its_fields(fields) if fields else "give a table: `pyarrow.table({...})` makes one"
