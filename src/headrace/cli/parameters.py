"""The arguments of `headrace run NAME --month 3`: the pipeline's name, and its parameters as the user wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headrace.errors import UsageError

_OPTION = re.compile(r"--([A-Za-z_][\w-]*)(?:=(.*))?", re.DOTALL)
_NUMBER = re.compile(r"-\.?\d")
_FORM = "`headrace {} NAME [--PARAMETER VALUE]...`; a file's pipeline is `path/to/file.py:name`"


def split(command: str, words: Sequence[str], pairs: Iterable[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the pipeline's name and its parameters.

    `command` is the command's name, for messages. `pairs` are the values of `--param`, each `NAME=VALUE`. An option
    without a value is switched on: `--fast` means `--fast true`.

    >>> split("run", ["flights", "--month", "3", "--dry-run"])
    ('flights', {'month': '3', 'dry_run': 'true'})

    Raises:
        UsageError: the pipeline's name is missing, a parameter is given twice or malformed, or an argument is neither
            the name nor a parameter.
    """
    names: list[str] = []
    options: list[tuple[str, str]] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        option = _OPTION.fullmatch(word)
        if option is None:
            names.append(word)
            continue
        value = option.group(2)
        if value is None:
            value = rest.pop() if rest and not _is_option(rest[-1]) else "true"
        options.append((option.group(1).replace("-", "_"), value))
    options += [_pair(pair) for pair in pairs]
    if not names:
        raise UsageError("the pipeline's name is missing", hint=_FORM.format(command))
    if len(names) > 1:
        raise UsageError(f"`{names[1]}` is not expected here: it follows no option", hint=_FORM.format(command))
    return names[0], _unique(options)


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"`--param {text}` isn't `NAME=VALUE`", hint="such as `--param month=3`")
    return name, value


def _unique(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise UsageError(
                f"parameter `{name}` is given twice: {values[name]!r} and {value!r}", hint="leave one of them out"
            )
        values[name] = value
    return values
