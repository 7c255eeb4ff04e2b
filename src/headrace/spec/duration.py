"""Durations as people write them, such as `1h30m`."""

from __future__ import annotations

import re

from headrace.errors import DefinitionError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MOST_S = 10_000 * 365.25 * 86400
"""The longest duration in seconds: 10,000 years."""
MOST_TEXT = 100
"""The longest text of a duration, in characters."""
_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def seconds(text: str | float, *, name: str = "timeout") -> float:
    """Return a duration in seconds, from a number of seconds or from a text such as `90s`, `1h30m`, `7d`.

    `name` is the name of the option for an error message. A value that is no duration raises `DefinitionError`.

    >>> seconds("1h30m"), seconds(45)
    (5400.0, 45.0)
    """
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise DefinitionError(f"`{name}` is {text!r}", hint='give seconds, or words such as "90s", "1h30m", "7d"')
    if not isinstance(text, str):
        if not -MOST_S <= text <= MOST_S:  # false for NaN too
            raise DefinitionError(f"`{name}` is {_brief(text)}", hint="give a number of seconds, 10,000 years at most")
        return float(text)
    terms = _TERM.findall(text) if len(text) <= MOST_TEXT else []
    if text.lstrip().startswith("-"):
        raise DefinitionError(f"`{name}` is {_brief(text)}", hint="give a time that isn't negative")
    if not terms or _TERM.sub("", text).strip():
        raise DefinitionError(f"`{name}` is {_brief(text)}", hint='give it with its unit, such as "90s", "1h30m", "7d"')
    total = sum(float(count) * _SECONDS[unit] for count, unit in terms)
    if total > MOST_S:
        raise DefinitionError(f"`{name}` is {_brief(text)}", hint="give 10,000 years at most")
    return total


def _brief(value: str | float) -> str:
    """Return a value as an error message shows it, with a long value cut short.

    For a huge integer, only the number of its bits is shown, because Python refuses to print more than 4,300 digits.
    """
    if isinstance(value, int) and abs(value) > MOST_S:
        return f"a number of {value.bit_length():,} bits"
    return repr(value) if not isinstance(value, str) or len(value) <= MOST_TEXT else f"{value[:20]!r}..."
