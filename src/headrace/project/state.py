"""A project's state: its ledger, its store, and the views of them."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from headrace.ledger.database.address import is_shared, unknown
from headrace.ledger.database.inspection import Inspected, inspect
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.tracking import TrackingViews
from headrace.place.share import grant
from headrace.project.project import Project
from headrace.spec.fleet import HOME
from headrace.store.open_store import open_store as open_address
from headrace.store.regions import Everywhere
from headrace.store.store import Store


def views(project: Project) -> TrackingViews:
    """Return the read views of the project's ledger."""
    return TrackingViews(ledger_address(project), project=_owner(project))


def ledger_address(project: Project) -> str:
    """Return the ledger's URL; a file's path in it starts from the project's folder.

    Raises:
        ConfigError: it is no URL: a file of that name would be made wherever the command is given.
    """
    url = project.ledger_url
    if "://" not in url:
        raise unknown(url)
    if not url.startswith("sqlite:///"):
        return url
    return f"sqlite:///{project.root / url.removeprefix('sqlite:///')}"


def ledger_path(project: Project) -> Path:
    """Return the ledger's file, of a ledger that is one."""
    return Path(ledger_address(project).removeprefix("sqlite:///"))


def ledger_is_shared(project: Project) -> bool:
    """Return whether a server keeps the ledger."""
    return is_shared(ledger_address(project))


def inspect_ledger(project: Project) -> Inspected:
    """Look over a ledger that a server keeps, which is made if it isn't there."""
    return inspect(ledger_address(project), project=_owner(project))


def open_ledger(project: Project) -> Ledger:
    """Open the project's ledger, which is made if it isn't there."""
    project.make_home()
    return Ledger(ledger_address(project), project=_owner(project), pools=project.pools(), share=grant)


def _owner(project: Project) -> str:
    """Return the name that a ledger which others might use too has to know; the one in the state folder is its own."""
    return project.name if project.config.ledger.url else ""


def open_store(project: Project, region: str = HOME) -> Store:
    """Open the store of a region.

    Raises:
        ConfigError: it is of a kind that this release has no code for, or there is no such region.
    """
    address = project.region(region).store
    return open_address(address, local=project.local(region) if address.is_remote else None)


def stores(project: Project) -> dict[str, Store]:
    """Open the stores of all regions, by the region's name: first that of the project's own store."""
    return {region.name: open_store(project, region.name) for region in project.regions()}


def reading_store(project: Project) -> Store:
    """Return the stores of all regions as one to read from, whichever of them has what is asked for."""
    found = stores(project)
    return Everywhere(tuple(found.values())) if len(found) > 1 else found[HOME]


def user() -> str:
    """Name the operating system's user, who stands for whoever gives commands."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
