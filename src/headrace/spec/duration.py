"""Times as people write them."""

from __future__ import annotations

import math
import re

from headrace.errors import DefinitionError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def seconds(text: str | float, *, name: str = "timeout") -> float:
    """Read a time in seconds from a number of seconds or from words such as `90s`, `1h30m`, `7d`.

    >>> seconds("1h30m"), seconds(45)
    (5400.0, 45.0)
    """
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise DefinitionError(f"`{name}` is {text!r}", hint='give seconds, or words such as "90s", "1h30m", "7d"')
    if not isinstance(text, str):
        if not math.isfinite(text):
            raise DefinitionError(f"`{name}` is {text!r}", hint="give a number of seconds")
        return float(text)
    terms = _TERM.findall(text)
    if not terms or _TERM.sub("", text).strip():
        raise DefinitionError(f"`{name}` is {text!r}", hint='give it with its unit, such as "90s", "1h30m", "7d"')
    return sum(float(count) * _SECONDS[unit] for count, unit in terms)
