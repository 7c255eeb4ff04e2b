"""Backups of a project: `headrace backup` and `restore`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import LedgerError, UsageError
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import alone
from headrace.ledger.transfer.backup import BackedUp, Backups, Snapshot
from headrace.ledger.transfer.transfer import Imported, Importer, Progress
from headrace.operate.erasure.backups import mark
from headrace.operate.upkeep.transfer import erase_again, head, looking
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, stores
from headrace.store.open_store import open_store as open_address
from headrace.store.store import Store

__all__ = ["BackedUp", "Restored", "Snapshot", "back_up", "check_place", "open_backups", "restore", "snapshots"]


class Restored(Struct, frozen=True, kw_only=True):
    """The result of a restore: the snapshot, and what was imported from it."""

    snapshot: Snapshot
    imported: Imported


def back_up(project: Project, url: str | None, *, keep: int | None, deep: bool, progress: Progress) -> BackedUp:
    """Make a backup of the ledger and its blobs, and return what was copied. Runs may go on meanwhile.

    Afterwards, all but the newest `keep` snapshots are deleted. If `keep` is None, the number in the settings counts;
    without a number there, no snapshots are deleted. With `deep`, blobs copied earlier are read too, and damaged ones
    are copied again.

    Raises:
        ConfigError: `url` is None, and the settings have no place for backups.
        UsageError: backups can't be kept in this place.
        LedgerError: an older snapshot is damaged. This is raised at the end, when the new one is complete and erased
            persons are gone from all others.
    """
    backups, found = open_backups(project, url), stores(project)
    check_place(project, backups, found.values())
    count = keep or project.config.backup.keep
    with open_ledger(project) as ledger, alone(ledger, "headrace backup") as lease:
        with closing(ledger.connect()) as db, db.troubles():
            mark(db, backups, lease)
        done = backups.add(ledger, found, head(project), lease, deep=deep, progress=progress)
        trouble: LedgerError | None = None
        try:
            done = replace(done, erased=backups.erase(ledger, head(project), lease))
        except LedgerError as error:  # a snapshot is damaged, perhaps one of those that are deleted now
            trouble = error
        if count is not None:
            forgotten, deleted = backups.keep(count, lease, schema=SCHEMA)
            done = replace(done, forgotten=forgotten, deleted=deleted)
        if trouble is not None:
            raise trouble
    return done


def snapshots(project: Project, url: str | None) -> list[Snapshot]:
    """Return the snapshots of a backup, the oldest first."""
    return open_backups(project, url).snapshots()


def restore(project: Project, url: str | None, *, name: str | None, merge: bool, progress: Progress) -> Restored:
    """Copy a snapshot's runs and blobs into a project, and return what was imported.

    `name` is the snapshot's name or the beginning of it; None means the newest. The project must have no runs, unless
    `merge` is given.

    Raises:
        UsageError: the project has runs already.
        NotFoundError: there is no such snapshot.
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
                hint="to add the backup's runs, or to continue a restore that was interrupted, use `--merge`; otherwise"
                " move the state folder away, or set HEADRACE_HOME to another folder",
            )
        store = open_store(project)
        importer = Importer(ledger, archive, store, lease, progress, look=looking(store))
        imported = importer.bring(backups.blobs)
    erase_again(project)
    return Restored(snapshot=snapshot, imported=imported)


def check_place(project: Project, backups: Backups, found: Iterable[Store]) -> None:
    """Raise an error if backups can't be kept in a place.

    Backups delete blobs that they don't need, so the place must not be shared with a store or another project. A backup
    inside the project's state would be lost together with that state.

    Raises:
        UsageError: the place is one of the project's stores or its state folder, or is inside one of them; or the place
            is the project's own folder, or has backups of another project.
    """
    place = _real(backups.store.url)
    for store in found:
        own = _real(store.url)
        if f"{place}/".startswith(f"{own}/"):
            within = "" if place == own else "in "
            raise UsageError(
                f"`{backups.store.url}` is {within}a store that the project uses for its runs",
                hint="name another place: a backup in this one would be lost with the store, or deleted by"
                " `headrace gc`",
            )
    if place == _real(str(project.root)) or f"{place}/".startswith(f"{_real(str(project.home))}/"):
        what = "the project's own folder" if place == _real(str(project.root)) else "in the project's state folder"
        raise UsageError(
            f"`{backups.store.url}` is {what}",
            hint="name another place: a backup in this one would be lost with the folder",
        )
    for each in backups.snapshots():
        if each.project != project.name:
            raise UsageError(
                f"`{backups.store.url}` has backups of project `{each.project}`, and this one is `{project.name}`",
                hint="give each project its own place; if this one was renamed, set `[project] name` to its old name",
            )


def _real(url: str) -> str:
    """Return a folder's path with links resolved, so that equal folders have equal paths. A URL is returned unchanged,
    without a slash at its end."""
    return url.rstrip("/") if "://" in url else os.path.realpath(url)


def _check_folder(project: Project, folder: Path) -> None:
    """Raise an error if backups can't be kept in `folder`: no folder can be created there, or the folder holds other
    things than backups.

    Raises:
        UsageError: backups can't be kept there.
    """
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not there.is_dir():
        raise UsageError(f"`{there}` is not a folder", hint="name a folder, or the URL of one")
    own = _real(str(folder)) == _real(str(project.root)) or _real(str(folder)).startswith(_real(str(project.home)))
    if there == folder and not own and not (folder / "blobs").is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"`{folder}` holds files that aren't backups", hint="name an empty folder, or one that doesn't exist yet"
        )


def open_backups(project: Project, url: str | None = None) -> Backups:
    """Open the backups at `url`, or at the settings' address if `url` is None, and return them.

    Raises:
        ConfigError: `url` is None, and the settings have no address.
        UsageError: the path isn't a folder that can hold backups.
    """
    address = project.backup(url)
    if not address.is_remote:
        _check_folder(project, Path(address.url))
    return Backups(open_address(address, local=project.home / "local" / "backup" if address.is_remote else None))
