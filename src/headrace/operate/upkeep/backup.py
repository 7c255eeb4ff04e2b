"""Backups of a project: `headrace backup` and `restore`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import alone
from headrace.ledger.transfer.backup import BackedUp, Backups, Snapshot
from headrace.ledger.transfer.transfer import Imported, Importer, Progress
from headrace.operate.upkeep.transfer import head, looking
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, stores
from headrace.store.open_store import open_store as open_address
from headrace.store.store import Store

__all__ = ["BackedUp", "Restored", "Snapshot", "back_up", "check_place", "open_backups", "restore", "snapshots"]


class Restored(Struct, frozen=True, kw_only=True):
    """What came back, of which snapshot."""

    snapshot: Snapshot
    imported: Imported


def back_up(project: Project, url: str | None, *, keep: int | None, deep: bool, progress: Progress) -> BackedUp:
    """Make a backup of ledger and blobs, while runs go on; with `keep`, let go all but the newest snapshots then.

    Raises:
        ConfigError: there is no such place.
    """
    backups, found = open_backups(project, url), stores(project)
    check_place(project, backups, found.values())
    count = keep or project.config.backup.keep
    with open_ledger(project) as ledger, alone(ledger, "headrace backup") as lease:
        done = backups.add(ledger, found, head(project), lease, deep=deep, progress=progress)
        if count is not None:
            forgotten, deleted = backups.keep(count, lease, schema=SCHEMA)
            done = replace(done, forgotten=forgotten, deleted=deleted)
    return done


def snapshots(project: Project, url: str | None) -> list[Snapshot]:
    """Return the backups that there are, the oldest first."""
    return open_backups(project, url).snapshots()


def restore(project: Project, url: str | None, *, name: str | None, merge: bool, progress: Progress) -> Restored:
    """Bring a snapshot back into a project without runs; with `merge`, into one that has some.

    Raises:
        UsageError: the project has runs already.
        NotFoundError: there is no such backup.
    """
    backups = open_backups(project, url)
    snapshot = backups.find(name)
    with (
        backups.archive(snapshot, schema=SCHEMA) as archive,
        open_ledger(project) as ledger,
        alone(ledger, "headrace restore") as lease,
    ):
        if not merge and ledger.is_begun():
            raise UsageError(
                f"the ledger `{ledger.name}` has runs already",
                hint="`--merge` adds the backup's runs, and goes on with a restore that was interrupted; otherwise move"
                " the state folder away, or set HEADRACE_HOME to another",
            )
        store = open_store(project)
        importer = Importer(ledger, archive, store, lease, progress, look=looking(store))
        imported = importer.bring(backups.blobs)
    return Restored(snapshot=snapshot, imported=imported)


def check_place(project: Project, backups: Backups, found: Iterable[Store]) -> None:
    """Refuse a place where what is of no use to the backups would be deleted, though others need it, or one that would
    be lost with what is backed up.

    Raises:
        UsageError: this place is one of those.
    """
    place = _real(backups.store.url)
    for store in found:
        own = _real(store.url)
        if f"{place}/".startswith(f"{own}/"):
            within = "" if place == own else "in "
            raise UsageError(
                f"`{backups.store.url}` is {within}a store of the project's own",
                hint="name another place: a backup there would be lost with it, and is no run's",
            )
    if place == _real(str(project.root)) or f"{place}/".startswith(f"{_real(str(project.home))}/"):
        what = "the project's own folder" if place == _real(str(project.root)) else "in the project's state folder"
        raise UsageError(
            f"`{backups.store.url}` is {what}", hint="name another place: a backup there would be lost with it"
        )
    for each in backups.snapshots():
        if each.project != project.name:
            raise UsageError(
                f"`{backups.store.url}` has backups of project `{each.project}`, and this one is `{project.name}`",
                hint="give each project a place of its own; if it was renamed, `[project] name` says its name",
            )


def _real(url: str) -> str:
    """Return a folder's path without links in it, by which the same folder is told; a URL as it is."""
    return url.rstrip("/") if "://" in url else os.path.realpath(url)


def _check_folder(project: Project, folder: Path) -> None:
    """Refuse a path that is no folder and can't become one, and a folder that holds other things."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not there.is_dir():
        raise UsageError(f"`{there}` is not a folder", hint="name a folder, or the URL of one")
    own = _real(str(folder)) == _real(str(project.root)) or _real(str(folder)).startswith(_real(str(project.home)))
    if there == folder and not own and not (folder / "blobs").is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"`{folder}` holds other things than backups", hint="name an empty folder, or one that isn't there yet"
        )


def open_backups(project: Project, url: str | None = None) -> Backups:
    """Open the backups where the settings have them, or here.

    Raises:
        ConfigError: there is no such place.
        UsageError: it is no folder that could hold them.
    """
    address = project.backup(url)
    if not address.is_remote:
        _check_folder(project, Path(address.url))
    return Backups(open_address(address, local=project.home / "local" / "backup" if address.is_remote else None))
