"""Functions that open a project's state: its ledger, its stores, and views of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from headrace.errors import BlobMissing, LedgerError, StoreUnreachable, absent
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
    """Return the views through which the project's ledger is read."""
    return TrackingViews(ledger_address(project), project=_owner(project))


def ledger_address(project: Project) -> str:
    """Return the ledger's URL. If the settings give a relative path of a SQLite file, the URL has the path with the
    project's folder before it.

    Raises:
        ConfigError: the setting isn't a URL. A plain path isn't allowed, because it would mean a different file in each
            current folder.
    """
    url = project.ledger_url
    if "://" not in url:
        raise unknown(url)
    if not url.startswith("sqlite:///"):
        return url
    return f"sqlite:///{project.root / url.removeprefix('sqlite:///')}"


def ledger_path(project: Project) -> Path:
    """Return the path of the file of a SQLite ledger."""
    return Path(ledger_address(project).removeprefix("sqlite:///"))


def ledger_is_shared(project: Project) -> bool:
    """Return whether the ledger is on a server."""
    return is_shared(ledger_address(project))


def inspect_ledger(project: Project) -> Inspected:
    """Inspect a ledger on a server, and return the findings. The ledger is created if it doesn't exist."""
    return inspect(ledger_address(project), project=_owner(project))


def open_ledger(project: Project) -> Ledger:
    """Open and return the project's ledger. It is created if it doesn't exist."""
    project.make_home()
    return Ledger(ledger_address(project), project=_owner(project), pools=project.pools(), share=grant)


def _owner(project: Project) -> str:
    """Return the name of the ledger's owner. For a ledger that the settings name, this is the project's name, so that
    the ledger refuses projects of other names.

    For the ledger in the state folder, the name is empty, because no other project uses that ledger.
    """
    return project.name if project.config.ledger.url else ""


def open_store(project: Project, region: str = HOME) -> Store:
    """Open and return the store of a region.

    Raises:
        ConfigError: this release doesn't support this kind of store, or there is no such region.
    """
    address = project.region(region).store
    return open_address(address, local=project.local(region) if address.is_remote else None)


def stores(project: Project) -> dict[str, Store]:
    """Open the stores of all regions, and return them by the region's name. The project's own store is the first."""
    return {region.name: open_store(project, region.name) for region in project.regions()}


def reading_store(project: Project) -> Store:
    """Return one store that reads each blob from whichever region's store has it. If a blob is missing but may be in a
    region that isn't in the settings, the error says so."""
    return Everywhere(tuple(stores(project).values()), lambda error: _explained(project, error))


def absent_regions(project: Project, regions: Iterable[str]) -> set[str]:
    """Return those of the regions that aren't in the settings."""
    return set(regions) - {region.name for region in project.regions()}


def _explained(project: Project, error: BlobMissing) -> BlobMissing:
    """Return the error to raise for a missing blob. Its message says so if the blob was erased, or if it may be in a
    region that the settings lack. In these two cases the store isn't damaged, so the command's exit code is 2."""
    try:
        with views(project) as ledger:
            erased = ledger.erasure_of(error.generation)
            regions = absent_regions(project, ledger.regions(error.generation))
    except LedgerError:
        return error
    if erased is not None:
        _, erasure = erased
        when = datetime.fromtimestamp(erasure.at).astimezone()
        explained = BlobMissing(
            f"the blob `{error.generation[:12]}` was erased on {when:%Y-%m-%d}: {erasure.why}",
            hint=f"`headrace erasures {erasure.erasure}` lists what was erased then",
            generation=error.generation,
        )
        explained.exit_code = StoreUnreachable.exit_code
        return explained
    if not regions:
        return error
    message, hint = absent(error.message, regions)
    explained = BlobMissing(message, hint=hint, generation=error.generation)
    explained.exit_code = StoreUnreachable.exit_code
    return explained
