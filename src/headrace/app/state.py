"""A project's state: its ledger, its store, and the views of them."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from headrace.app.project import Project
from headrace.errors import ConfigError
from headrace.place.share import grant
from headrace.record.sqlite import SqliteLedger
from headrace.record.views import Views
from headrace.store.folder import FolderStore


def views(project: Project) -> Views:
    """Give the read views of the project's ledger."""
    return Views(ledger_path(project))


def ledger_path(project: Project) -> Path:
    """Give the ledger's file.

    Raises:
        ConfigError: the project's ledger is of a kind that this release has no code for.
    """
    url = project.ledger_url
    if not url.startswith("sqlite:///"):
        raise ConfigError(
            f"`[ledger] url` is `{url}`, and this release keeps its ledger in SQLite only",
            hint="leave it out, or give sqlite:///path/to/ledger.db",
        )
    return project.root / url.removeprefix("sqlite:///")


def open_ledger(project: Project) -> SqliteLedger:
    """Open the project's ledger, which is made if it isn't there."""
    project.make_home()
    return SqliteLedger(ledger_path(project), pools=project.pools(), share=grant)


def open_store(project: Project) -> FolderStore:
    """Open the project's store.

    Raises:
        ConfigError: it is of a kind that this release has no code for.
    """
    url = project.store_url
    if "://" in url:
        raise ConfigError(
            f"`[store] url` is `{url}`, and this release keeps its store in a folder only", hint="give a folder"
        )
    return FolderStore(project.root / Path(url).expanduser())


def user() -> str:
    """Name the operating system's user, who stands for whoever gives commands."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
