"""Arguments of what Headrace brings along, held against their types: what can't be meant is told in our words."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from headrace.define.call import stands_for
from headrace.define.type_check import in_words, misfit
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
    """Refuse an argument that isn't of its parameter's type. What a handle or a secret stands for is of its own type,
    and what `*names` and `**names` gather is anything, as are those that are `apart`.

    Raises:
        DefinitionError: it names the parameter.
    """
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # Python says it of the call itself
    for name, value in given.items():
        kind = signature.parameters[name].kind
        if (
            name not in hints
            or name in apart
            or kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        ):
            continue
        found = misfit(value, hints[name], stands_for)
        if found is not None:
            part, wanted = found
            where = "" if wanted is hints[name] else "a part of "
            raise DefinitionError(f"{where}`{name}` of `{named}` is {part!r:.80}", hint=f"give {in_words(wanted)}")


def held_to_types(named: str, *, apart: Collection[str] = ()) -> Callable[[F], F]:
    """Check the arguments of a function that calls stages before it runs.

    `named` is what errors call it. Those `apart` it looks at itself: it has more to say of them, or they may hold
    secrets, which no error may show.
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


def is_table(kind: Any) -> bool:
    """Return whether a type is Arrow's table; Arrow needn't be imported."""
    return getattr(kind, "__module__", "").startswith("pyarrow") and getattr(kind, "__name__", "") == "Table"


def check_tables(
    stage: str, signature: inspect.Signature, hints: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Refuse what is given for a table and is none.

    Raises:
        UsageError: it names the parameter.
    """
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # Python says it of the call itself
    for name, value in given.items():
        kind, several = hints.get(name), signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        if is_table(kind) or any(is_table(each) for each in typing.get_args(kind)):
            for each_name, each in value.items() if several else [(name, value)]:
                if not (is_table(type(each)) or (each is None and not is_table(kind))):
                    raise UsageError(
                        f"parameter `{each_name}` of `{stage}` takes a `pyarrow.Table`, and was given a"
                        f" `{type(each).__name__}`",
                        hint=_hint(each),
                    )


def _hint(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "pandas":
        return "`pyarrow.Table.from_pandas(frame)` makes one"
    if hasattr(value, "to_arrow"):
        return "its `to_arrow()` makes one"
    fields = [name for name in getattr(value, "_fields", ()) if is_table(type(getattr(value, name)))]
    if fields:
        return f"give one of its fields: {', '.join(f'`.{name}`' for name in fields)}"
    return "give a table: `pyarrow.table({...})` makes one"
