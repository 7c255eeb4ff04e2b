"""The check for empty arguments. They come from unset shell variables, for example, and are always a mistake: no name
is empty, and an empty prefix would match every run's id."""

from __future__ import annotations

import re
from typing import Any

import click

from headrace.errors import UsageError

_WORD = re.compile(r"[A-Z_|]+")


def refuse_empty(command: click.Command) -> None:
    """Make a command refuse empty arguments. A pipeline's parameters are passed on even if they are empty: the pipeline
    checks them."""
    for each in command.params:
        if isinstance(each, click.Argument) and each.type is not click.UNPROCESSED:
            each.callback = _filled
    for subcommand in command.commands.values() if isinstance(command, click.Group) else ():
        refuse_empty(subcommand)


def empty(parameter: click.Parameter) -> UsageError:
    """Return the error for an argument or option whose value is empty."""
    words = parameter.opts if isinstance(parameter, click.Option) else _WORD.findall(parameter.metavar or "")
    return UsageError(f"{words[0]} is empty", hint="a shell variable may be unset: check its value")


def _filled(_context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if "" in (value if isinstance(value, tuple) else (value,)):
        raise empty(parameter)
    return value
