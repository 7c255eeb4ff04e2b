"""Checks what a user sends with a request: parameters of the URL, headers and credentials."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any
from uuid import UUID

from headrace.define.handle import Handle
from headrace.define.secret import Secret
from headrace.errors import DefinitionError, SourceError

LATER = Handle | Secret
"""The types of arguments whose values are known only in the worker. These values are checked in the worker."""

_PLAIN = str | Real | Decimal | UUID | dt.date | dt.time | None
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNFIT = re.compile(r"[^\t\x20-\x7e]")


def check_words(params: Any, headers: Any, auth: Any) -> None:
    """Check that parameters, headers and credentials can be sent. A wrong value could forge another header.

    Raises:
        DefinitionError: a name or a value can't be sent. The message shows no value, because it may be a secret.
    """
    for what, given in (("params", params), ("headers", headers)):
        if not isinstance(given, Mapping):
            raise DefinitionError(
                f"`{what}` is a `{type(given).__name__}`", hint="give a dictionary; its values may be handles"
            )
        for name in given:
            if not isinstance(name, str):
                raise DefinitionError(f"`{what}` has a name that is a `{type(name).__name__}`", hint="names are text")
    for name, value in params.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            _check_parameter(name, each)
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"`{name!r:.80}` is not a name of a header", hint="use letters, digits and `-`")
        _check_header(f"the header `{name}`", value)
    if isinstance(auth, tuple | list):
        if len(auth) != 2 or not all(isinstance(each, str | LATER) for each in auth):
            raise DefinitionError(
                "`auth` is wrong: a pair must be a user and a password", hint='give `("ann", hr.secret("PASSWORD"))`'
            )
    elif auth is not None:
        _check_header("the token in `auth`", auth)


def sent(value: Any) -> Any:
    """Return a parameter's value in a type that httpx takes: times as ISO 8601, other libraries' numbers as text."""
    if isinstance(value, list | tuple):
        return [sent(each) for each in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if _is_truth(value):
        return bool(value)
    return value if type(value) in (str, bool, int, float, type(None)) else str(value)


def telling(params: Any, headers: Any, auth: Any) -> None:
    """Check values that are known only in the worker: those of secrets, and the results of other tasks.

    Raises:
        SourceError: a name or a value can't be sent.
    """
    try:
        check_words(params, headers, auth)
    except DefinitionError as error:
        raise SourceError(error.message, hint=error.hint) from error


def _check_parameter(name: str, value: Any) -> None:
    if not isinstance(value, _PLAIN | LATER) and not _is_truth(value):
        raise DefinitionError(
            f"parameter `{name}` in `params` is a `{type(value).__name__}`, which a URL can't have",
            hint="give a text, a number, a date, a UUID, or a list of those",
        )


def _is_truth(value: Any) -> bool:
    """Return whether a value is a NumPy boolean. This function doesn't import NumPy, because most workers don't need
    it."""
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


def _check_header(what: str, value: Any) -> None:
    if isinstance(value, LATER):
        return
    if not isinstance(value, str):
        raise DefinitionError(f"{what} is a `{type(value).__name__}`", hint="give a text")
    if (unfit := _UNFIT.search(value)) is not None:
        control = "a line break" if unfit[0] in "\r\n" else "a control character"
        told = control if unfit[0].isascii() else "a character that isn't ASCII"
        raise DefinitionError(f"{what} has {told} in it, which HTTP can't send", hint="leave it out, or encode it")
