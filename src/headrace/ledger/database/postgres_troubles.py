"""Turns errors of a PostgreSQL server, or of the connection to it, into messages with a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from headrace.errors import ConfigError, LedgerError, LedgerUnreachable
from headrace.ledger.database.address import POSTGRES, masked

# With these, a server that is gone or a network that is cut is noticed within some 15 s instead of libpq's two hours.
DEFAULTS: dict[str, Any] = {
    "application_name": "headrace",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}


def options(url: str) -> dict[str, Any]:
    """Return the connection options that Headrace adds to the options in the URL.

    Raises:
        ConfigError: `url` is not the URL of a PostgreSQL server. The message doesn't quote the wrong part of the URL,
            which may be secret.
    """
    try:
        given = conninfo_to_dict(url)
        broken = any("/" in str(given.get(name, "")) or "@" in str(given.get(name, "")) for name in ("dbname", "port"))
        broken = broken or "@" in str(given.get("host", ""))[1:]  # an `@` in the first place means an abstract socket
    except psycopg.ProgrammingError:
        broken = True
    if broken or not url.startswith(POSTGRES):
        raise ConfigError(
            f"`[ledger] url` can't be read: `{masked(url)}`",
            hint="write postgresql://user@host:port/name?option=value; if there is a password with special characters,"
            " write @ as %40, / as %2F, : as %3A, % as %25; or leave the password out, and give it by PGPASSWORD or"
            " ~/.pgpass",
        ) from None
    return {name: value for name, value in DEFAULTS.items() if name not in given}


def is_passing(error: psycopg.Error) -> bool:
    """Return whether a failed connection may succeed if it is tried again soon. If the server refused the user, the
    database or the settings, return False."""
    return isinstance(error, psycopg.OperationalError) and not any(
        re.search(pattern, str(error)) for pattern, _, _ in REFUSALS
    )


@contextmanager
def troubles(name: str, patience_s: float) -> Iterator[None]:
    """Return a context that turns psycopg's exceptions into our errors, with a hint."""
    try:
        yield
    except psycopg.Error as error:
        raise trouble(error, name, patience_s) from error


def trouble(error: psycopg.Error, name: str, patience_s: float = 0.0) -> LedgerError:
    """Return our error for a psycopg exception, with a message and a hint for the user."""
    if error.sqlstate in STATES:
        what, hint = STATES[error.sqlstate]
        kind = LedgerUnreachable if error.sqlstate in NOT_LET else LedgerError
        return kind(f"the ledger `{name}` {what.format(told=_told(error))}", hint=hint)
    if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        for pattern, what, hint in REFUSALS:
            found = re.search(pattern, str(error))
            if found is not None:
                return LedgerUnreachable(f"the ledger `{name}` {what.format(*found.groups())}", hint=hint)
        waited = f" (tried for {patience_s:g} s)" if patience_s else ""
        return LedgerUnreachable(
            f"the ledger `{name}` can't be reached{waited}: {_told(error)}",
            hint="start its server, and check host and port of `[ledger] url`; then `headrace resume` the run",
        )
    return LedgerError(f"the ledger `{name}` failed: {_told(error)}", hint="see the server's log")


def _told(error: psycopg.Error) -> str:
    """Return the exception's own message, in one line."""
    text = error.diag.message_primary or str(error)
    text = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return text.removeprefix("connection failed: ")


REFUSALS = (
    (
        r'password authentication failed for user "(.*?)"',
        "refuses the password of user `{0}`",
        "give the right one by PGPASSWORD, ~/.pgpass, or the URL (where special characters are percent-encoded)",
    ),
    (
        r"no password supplied",
        "asks for a password",
        "give it by PGPASSWORD, ~/.pgpass, or in the URL",
    ),
    (
        r'database "(.*?)" does not exist',
        "has no database `{0}` on its server",
        "have the server's administrator create it: CREATE DATABASE",
    ),
    (
        r'role "(.*?)" does not exist',
        "has no user `{0}` on its server",
        "name another user in the URL, or have the server's administrator create it: CREATE ROLE ... LOGIN PASSWORD",
    ),
    (
        r"(no pg_hba.conf entry .*)",
        "refuses connections from here: {0}",
        "have the server's administrator allow this host and user in pg_hba.conf",
    ),
    (
        r'definition of service "(.*?)" not found',
        "names a service `{0}` that is not defined here",
        "define it in ~/.pg_service.conf",
    ),
    (
        r"(?i)((?:certificate|SSL|sslmode|sslrootcert).*)",
        "can't be reached by an encrypted connection: {0}",
        "check `sslmode` and `sslrootcert` in the URL against what the server offers",
    ),
)
"""For each refusal to connect: a pattern of the server's message (libpq gives no code), our message, and a hint."""

NOT_LET = ("25006", "42501")
"""The codes in `STATES` that mean that this user lacks a permission."""

STATES = {
    "23505": ("already has the row that this process wanted to add: another process added it first", "try again"),
    "25006": (
        "can't be written to: its server, or this user's session, is read-only",
        "name the primary server in `[ledger] url`, and check `default_transaction_read_only`",
    ),
    "40001": ("had conflicts with other transactions for too long", "try again"),
    "40P01": ("had conflicts with other transactions for too long", "try again"),
    "42501": (
        "doesn't let this user do that: {told}",
        "ask for the rights: CREATE on the schema for the user who creates the tables, ALL on the tables for others",
    ),
    "42P01": ("has lost its tables: {told}", "restore it from a backup"),
    "3F000": (
        "has no schema to make its tables in: {told}",
        "create the schema that `search_path` in the URL's `options` names",
    ),
    "53100": ("can't grow: the server's disk is full", "free some space there, then try again, or resume the run"),
    "53200": ("failed: the server is out of memory", "give it more, then try again, or resume the run"),
    "53300": ("takes no more connections", "raise the server's `max_connections`: a run takes two or three of them"),
    "55P03": (
        "has a row that another session has locked for too long",
        "find the session in pg_stat_activity, or try again",
    ),
    "58030": (
        "can't be read or written: the server's disk gave an error",
        "check that disk, then try again, or resume the run",
    ),
    "XX001": ("is damaged: {told}", "restore it from a backup"),
    "XX002": ("has a damaged index: {told}", "have the server's administrator REINDEX it"),
}
"""For each SQLSTATE error code: our message, and a hint."""
