"""Arguments of what Headrace brings along, held against their types: what can't be meant is told in our words."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from headrace.define.call import stands_for
from headrace.define.type_check import in_words, misfit
from headrace.errors import DefinitionError

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
    """Have the arguments of a function that calls stages looked at first.

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
