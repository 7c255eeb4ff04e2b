"""Upkeep of a project's state: deleting what no run needs, and checking that all is there that should be."""

from __future__ import annotations

import shutil
import time
from collections.abc import Set
from pathlib import Path

from headrace.app.project import Project
from headrace.app.state import open_ledger, open_store
from headrace.record.fsck import Checked, Checker, Problem
from headrace.record.gc import Collected, Collector
from headrace.record.sqlite import SqliteLedger
from headrace.store.folder import FolderStore

__all__ = ["Checked", "Collected", "Problem", "check", "collect"]

FOLDERS = ("logs", "scratch", "workers")
"""What a store keeps of a run outside of digests and of the spool."""
YOUNG_S = 3600.0


def collect(project: Project, *, keep_runs: int | None, keep_s: float | None, dry_run: bool) -> Collected:
    """Delete what no run names; with `keep_runs` or `keep_s`, forget the runs past them first, and what they printed.

    Raises:
        LedgerError: another collector is at work.
    """
    store = open_store(project)
    with open_ledger(project) as ledger, Collector(ledger, store, store.spool) as collector:
        found = collector.collect(keep_runs=keep_runs, keep_s=keep_s, now=time.time(), dry_run=dry_run)
        if not dry_run:
            _clear(ledger, store, frozenset(found.runs))
    return found


def _clear(ledger: SqliteLedger, store: FolderStore, forgotten: Set[str]) -> None:
    """Delete what workers have left of runs that are forgotten, or whose driver was killed before they began."""
    for folder in FOLDERS:
        for path in _folders(store.root / folder):
            is_old = time.time() - path.stat().st_mtime > YOUNG_S
            nobodys = is_old and not ledger.has(path.name) and ledger.holder(path.name) is None
            if nobodys or path.name in forgotten:
                shutil.rmtree(path, ignore_errors=True)


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def check(project: Project, *, deep: bool, repair: bool) -> Checked:
    """Check ledger and store; `deep` reads every blob, `repair` keeps what is damaged from being reused.

    Raises:
        LedgerError: the collector is at work.
    """
    with open_ledger(project) as ledger:
        return Checker(ledger, open_store(project)).check(deep=deep, repair=repair, now=time.time())
