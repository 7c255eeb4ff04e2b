"""The message of another library's error, in one line."""

from __future__ import annotations

LIMIT = 400


def sentence(error: BaseException) -> str:
    """Return the first line of an error's message. If that line ends in a colon, the next line is added, and so on.

    >>> sentence(ValueError("Cannot use mean strategy with non-numeric data:\\ncould not convert 'x' to float\\nmore"))
    "Cannot use mean strategy with non-numeric data: could not convert 'x' to float"
    >>> sentence(ValueError())
    'ValueError'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = lines.pop(0)
    while lines and told.endswith(":"):
        told = f"{told} {lines.pop(0)}"
    return told if len(told) <= LIMIT else f"{told[: LIMIT - 1]}…"
