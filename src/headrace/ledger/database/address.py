"""The address of a ledger: a file's path, or a URL (`sqlite:///path`, `postgresql://user@host/name`).

A password in a URL is for the server only. It is masked in every text that is shown, recorded or raised.
"""

from __future__ import annotations

import os
from pathlib import Path

from headrace.errors import ConfigError
from headrace.spec.redaction import masked as masked_text

Address = str | os.PathLike[str]

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def is_shared(address: Address) -> bool:
    """Return whether a server keeps the ledger, so that drivers of several machines may use it."""
    return os.fspath(address).startswith(POSTGRES)


def file_of(address: Address) -> Path:
    """Return the absolute path of the SQLite file that an address names.

    Raises:
        ConfigError: the address is a URL, but not one that begins with `sqlite:///`.
    """
    text = os.fspath(address)
    if text.startswith(SQLITE):
        return Path(text.removeprefix(SQLITE)).absolute()
    if "://" in text:
        raise unknown(text)
    return Path(text).absolute()


def unknown(address: Address) -> ConfigError:
    """Return the error for an address that belongs to no known kind of ledger."""
    return ConfigError(
        f"`[ledger] url` is `{masked(address)}`, and there is no such kind of ledger",
        hint="give postgresql://user@host/name or sqlite:///path/to/ledger.db, or leave it out",
    )


def refuse_other(ledger: str, owner: str, project: str) -> None:
    """Raise if a ledger belongs to another project: two projects in one ledger would mix their runs, pipelines and
    models.

    Raises:
        ConfigError: the ledger's owner is not this project.
    """
    if owner != project:
        raise ConfigError(
            f"the ledger `{ledger}` belongs to project `{owner}`, but this is project `{project}`",
            hint=f"give this project a database or a schema of its own (`?options=-csearch_path%3D{project}`); if it is"
            f' the same project in another folder, say [project] name = "{owner}"',
        )


def masked(address: Address) -> str:
    """Return an address with its password replaced by `***`.

    >>> masked("postgresql://ann:secret@db.example/rivers?sslmode=require")
    'postgresql://ann:***@db.example/rivers?sslmode=require'
    >>> masked("postgresql://db.example/rivers?user=ann&password=secret")
    'postgresql://db.example/rivers?user=ann&password=***'
    >>> masked("postgresql://db.example:5432/rivers?user=ann&password=sec@ret")
    'postgresql://db.example:5432/rivers?user=ann&password=***'
    >>> masked("postgresql://ann:sec/ret@db.example/rivers")
    'postgresql://ann:***@db.example/rivers'
    >>> masked("ann:secret@db.example/rivers")
    'ann:***@db.example/rivers'
    """
    text = masked_text(os.fspath(address))
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    user, at, place = rest.rpartition("@")  # masked again: here the whole text is known to be one address
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:***" if colon else name
    return scheme + mark + user + at + place
