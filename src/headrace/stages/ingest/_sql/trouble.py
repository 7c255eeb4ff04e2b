"""Turns the errors of a database into errors with a hint for the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from adbc_driver_manager import Error

from headrace.errors import SourceError

_SERVER = re.compile(r"(?:ERROR|FATAL):\s+([^\n]+)")
_BEFORE = re.compile(r"^(?:[A-Z_]+: )?(?:\[[\w ]+\] ?)?(?:(?:Failed to [\w ]+|Execution error \[\w+\]): )?")
_LOST = (
    r"server closed the connection|terminating connection|connection (has been |was )?(lost|closed|reset)|EOF"
    r"|no connection to the server|system is shutting down|starting up|SSL SYSCALL|lost sync"
)
Hints = Sequence[tuple[str, str]]
HINTS: Hints = (
    (r"password authentication failed|no password supplied|role .* does not exist", "check the user, and the secret"),
    (r"database .* does not exist", "check the name of the database at the end of the URL"),
    (
        r"connection to server|could not translate host|[Cc]onnection refused|timeout expired|could not connect",
        "check host and port, and whether the server runs",
    ),
    (
        _LOST,
        "nothing of this read was kept; when the database is back, run again or resume the run",
    ),
    (
        r"operator does not exist|could not determine data type",
        "a parameter may be of another type than the column: cast it in the query, such as `:day::date`",
    ),
    (r"no such table|no such column|does not exist|syntax error|incomplete input|near \"", "correct the query"),
    (r"invalid byte sequence", "the database holds a text that isn't UTF-8: correct it, or `convert_from` its bytes"),
    (
        r"permission denied|readonly|read-only",
        "the database is opened for reading only; ask for the right to read the tables of the query",
    ),
    (r"is locked|is busy", "another program writes to the database; run again later"),
    (r"not a database|malformed", "check the path: that file isn't an SQLite database, or is damaged"),
    (r"parameter count mismatch", "write each parameter as `:name`"),
)


@contextmanager
def telling(shown: str, hints: Hints = HINTS) -> Iterator[None]:
    """Turn a driver's errors in the `with` block into `SourceError`; `shown` is the database's name in the message.
    `hints` are patterns of messages, each with its hint."""
    try:
        yield
    except (Error, OSError, pa.ArrowException) as error:
        text = words(str(error))
        raise SourceError(f"the database `{shown}` says: {text}", hint=hint_for(f"{text}\n{error}", hints)) from error


def words(text: str) -> str:
    """Return the core of a driver's message, without error codes and the repeated query.

    >>> words("NOT_FOUND: Failed to prepare query: ERROR:  relation \\"x\\" does not exist\\nLINE 1: ...")
    'relation "x" does not exist'
    """
    if found := _SERVER.search(text):
        return found[1].strip()
    return _BEFORE.sub("", text.strip().partition("\n")[0]).strip().rstrip(".")


def hint_for(text: str, hints: Hints = HINTS) -> str:
    """Return the hint for a driver's message."""
    return next((hint for pattern, hint in hints if re.search(pattern, text)), "see what the database says")
