"""Upkeep of a project's state: deleting what no run needs, and checking that all is there that should be."""

from __future__ import annotations

import shutil
import time

from headrace.app.project import Project
from headrace.app.state import open_ledger, open_store
from headrace.record.fsck import Checked, Checker, Problem
from headrace.record.gc import Collected, Collector

__all__ = ["Checked", "Collected", "Problem", "check", "collect"]

FOLDERS = ("logs", "scratch")
"""What a store keeps of a run outside of digests."""


def collect(project: Project, *, keep_runs: int | None, keep_s: float | None, dry_run: bool) -> Collected:
    """Delete what no run names; with `keep_runs` or `keep_s`, forget the runs past them first, and what they printed.

    Raises:
        LedgerError: another collector is at work.
    """
    store = open_store(project)
    with open_ledger(project) as ledger, Collector(ledger, store, store.spool) as collector:
        found = collector.collect(keep_runs=keep_runs, keep_s=keep_s, now=time.time(), dry_run=dry_run)
    if not dry_run:
        for run in found.runs:
            for folder in FOLDERS:
                shutil.rmtree(store.root / folder / run, ignore_errors=True)
    return found


def check(project: Project, *, deep: bool, repair: bool) -> Checked:
    """Check ledger and store; `deep` reads every blob, `repair` keeps what is damaged from being reused.

    Raises:
        LedgerError: the collector is at work.
    """
    with open_ledger(project) as ledger:
        return Checker(ledger, open_store(project)).check(deep=deep, repair=repair, now=time.time())
