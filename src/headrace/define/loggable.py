"""What may be logged, and how: names, numbers and steps, checked where they are given."""

from __future__ import annotations

from operator import index
from typing import Any

from headrace.errors import UsageError

NAME_LIMIT = 200
MOST = 1 << 63
_HINT = "log a number, a text, a `headrace.Picture` or a matplotlib figure"


def check_name(name: object) -> None:
    """Refuse what is no name to log under.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(name, str) or not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise UsageError(
            f"a value can't be logged under the name `{str(name)[:60]}`",
            hint=f"use a text such as `train/loss`, of up to {NAME_LIMIT} characters that can be printed",
        )


def number(name: str, value: Any) -> float:
    """Give a value as the number that it is.

    Raises:
        UsageError: it is none, or too large for a 64-bit float.
    """
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"`{name}` can't be logged: the number is too large", hint="log its logarithm") from None
    except (TypeError, ValueError, RuntimeError):
        if getattr(value, "size", None) == 1 and hasattr(value, "item"):  # an array of one element, as a tensor of one
            return number(name, value.item())
        kind = type(value)
        told = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise UsageError(f"`{name}` can't be logged: it is a `{told}`, no single number", hint=_HINT) from None


def whole(name: str, step: Any) -> int:
    """Give a step as the whole number that it is.

    Raises:
        UsageError: it is none, or too large for a 64-bit integer.
    """
    try:
        found = index(step)
    except TypeError:
        raise UsageError(
            f"`{name}` can't be logged at step `{step!r}`: that is no whole number", hint="give a step as an `int`"
        ) from None
    if not -MOST <= found < MOST:
        raise UsageError(f"`{name}` can't be logged at step {found}: it is too large", hint="give a smaller step")
    return found


def counts(name: str, rank: int) -> bool:
    """Say whether values under a name count from the process of this rank."""
    return rank == 0 or name.startswith("rank")
