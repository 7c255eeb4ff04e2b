"""The arguments of `headrace run NAME --month 3`: the pipeline's name, and its parameters as the user wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headrace.cli.complete import named_pipelines
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
        UsageError: the pipeline's name is missing, a parameter is given twice or malformed, a parameter that is a text
            has no value, or an argument is neither the name nor a parameter.
    """
    names: list[str] = []
    options: list[tuple[str, str]] = []
    alone: list[str] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        option = _OPTION.fullmatch(word)
        if option is None:
            names.append(word)
            continue
        name, value = option.group(1).replace("-", "_"), option.group(2)
        if value is None and rest and not _is_option(rest[-1]):
            value = rest.pop()
        elif value is None:
            value = "true"
            alone.append(name)
        options.append((name, value))
    options += [_pair(pair) for pair in pairs]
    if not names:
        raise UsageError("the pipeline's name is missing", hint=_FORM.format(command))
    if len(names) > 1:
        raise UsageError(f"`{names[1]}` is not expected here: it follows no option", hint=_FORM.format(command))
    _refuse_texts(names[0], alone)
    return names[0], _unique(options)


def _refuse_texts(pipeline: str, alone: Sequence[str]) -> None:
    """Raise an error if one of the parameters `alone` takes a text: they were given without a value. The types are read
    from the pipeline's file, without importing it."""
    for found in named_pipelines([pipeline]) if alone else ():
        for name in alone:
            if name in found.texts:
                raise UsageError(
                    f"parameter `{name}` of pipeline `{found.name}` is a text, and is given without a value",
                    hint=f"give it as `--{name.replace('_', '-')} VALUE`: an option without a value is `true`",
                )


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
