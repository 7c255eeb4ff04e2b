"""Upkeep of a project's state: deleting what no run needs, and checking that all is there that should be."""

from __future__ import annotations

import shutil
import time
from collections.abc import Set
from pathlib import Path

from headrace.errors import ConfigError, LedgerDamaged
from headrace.ledger.ledger import Ledger
from headrace.ledger.upkeep.fsck import Checked, Checker, Problem, damaged
from headrace.ledger.upkeep.garbage import Collected
from headrace.ledger.upkeep.gc import Collector
from headrace.ledger.upkeep.replay import Replayed, replay
from headrace.ledger.upkeep.retention import Keep
from headrace.project.project import LEDGER, STORE, Project
from headrace.project.state import ledger_is_shared, ledger_path, open_ledger, stores, views
from headrace.spec.duration import seconds
from headrace.store.store import Store

__all__ = ["Checked", "Collected", "Keep", "Problem", "Replayed", "check", "collect", "kept", "replayed"]

FOLDERS = ("logs", "scratch", "workers")
"""What a store keeps of a run outside of digests and of the spool."""
YOUNG_S = 3600.0


def collect(project: Project, keep: Keep, *, dry_run: bool) -> Collected:
    """Delete what no run names; where a rule says which runs are kept, forget the others first, and what they printed.

    Raises:
        LedgerError: another collector is at work.
        ConfigError: the store is another ledger's.
    """
    _check_owner(project)
    found_stores = stores(project)
    with open_ledger(project) as ledger, Collector(ledger, found_stores) as collector:
        found = collector.collect(keep, now=ledger.now(), dry_run=dry_run)
        for store in found_stores.values() if not dry_run else ():
            _clear(ledger, store, frozenset(found.runs))
    return found


def _check_owner(project: Project) -> None:
    """Keep a ledger from what another one names: the store in the state folder is that of the ledger beside it."""
    beside, store = project.home / LEDGER, project.home / STORE
    is_same = not ledger_is_shared(project) and ledger_path(project) == beside
    if project.region().store.url == str(store) and not is_same and beside.exists():
        raise ConfigError(
            f"the store `{store}` belongs to the ledger `{beside}`, but the settings name another ledger",
            hint="set `[store] url` beside `[ledger] url`; if that ledger was moved for good, move its file away too",
        )


def kept(
    project: Project, *, runs: int | None, per_pipeline: int | None, keep_s: float | None, everything: bool
) -> Keep:
    """Return the rules of what is kept: those of the command or, where it has none, those of the settings."""
    if everything:
        return Keep()
    if runs is None and per_pipeline is None and keep_s is None:
        section = project.config.gc
        return Keep(
            runs=section.keep_runs,
            per_pipeline=section.keep_runs_per_pipeline,
            seconds=None if section.keep is None else seconds(section.keep, name="keep"),
        )
    return Keep(runs=runs, per_pipeline=per_pipeline, seconds=keep_s)


def _clear(ledger: Ledger, store: Store, forgotten: Set[str]) -> None:
    """Delete what workers have left of runs that are forgotten, or whose driver was killed before they began; of others
    that have ended, what is of no use any more."""
    for folder in FOLDERS:
        for path in _folders(store.local / folder):
            if path.name in forgotten or _is_nobodys(ledger, path):
                shutil.rmtree(path, ignore_errors=True)
    for run in forgotten:
        store.logs.forget(run)


def _is_nobodys(ledger: Ledger, path: Path) -> bool:
    try:
        is_old = time.time() - path.stat().st_mtime > YOUNG_S
    except FileNotFoundError:
        return False  # its run has come to its end meanwhile
    is_useless = not ledger.has(path.name) if path.parent.name == "logs" else ledger.is_over(path.name)
    return is_old and is_useless and ledger.holder(path.name) is None


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def check(project: Project, *, deep: bool, repair: bool) -> Checked:
    """Check ledger and stores; `deep` reads every blob and replays every run, `repair` mends what can be mended.

    Raises:
        LedgerError: the collector is at work.
    """
    try:
        with open_ledger(project) as ledger:
            return Checker(ledger, stores(project)).check(deep=deep, repair=repair, now=time.time())
    except LedgerDamaged as error:  # so badly that it can't be opened, or found on the way
        if ledger_is_shared(project):
            raise  # a server's tables are in no file here
        return damaged(ledger_path(project), error, is_deep=deep)


def replayed(project: Project, run: str | None, *, repair: bool) -> Replayed:
    """Rebuild a run from its events and say where its rows differ; `repair` writes them anew.

    Raises:
        NotFoundError: there is no such run.
    """
    with views(project) as found:
        run_id = found.find(run).run
    with open_ledger(project) as ledger:
        return replay(ledger, run_id, repair=repair)
